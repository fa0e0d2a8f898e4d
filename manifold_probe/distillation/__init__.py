"""Distillation methods, one file each: the loss as a pure function on tensors, and a module that adds head and weights.

>>> import torch
>>> teacher = torch.randn(16, 6)
>>> method = CoSS(student_width=4, teacher_width=6)  # contains a head from 4 to 6 dimensions
>>> terms = method(torch.randn(16, 4), teacher)  # weighted terms by name: their sum is the training loss
>>> sorted(terms)
['cosine', 'space']
"""

from manifold_probe.distillation.ckd import CKD, ckd_loss
from manifold_probe.distillation.compress import CompRess, compress_loss
from manifold_probe.distillation.cosine import Cosine, cosine_loss
from manifold_probe.distillation.coss import CoSS, coss_loss, space_similarity_loss
from manifold_probe.distillation.dist import DIST, dist_loss
from manifold_probe.distillation.dkd import DKD, dkd_loss
from manifold_probe.distillation.kd import KD, kd_loss
from manifold_probe.distillation.mse import MSE, mse_loss
from manifold_probe.distillation.pkt import PKT, pkt_loss
from manifold_probe.distillation.rkd import RKD, rkd_angle_loss, rkd_distance_loss, rkd_loss
from manifold_probe.distillation.seed import SEED, seed_loss
from manifold_probe.distillation.sp import SP, sp_loss
from manifold_probe.distillation.tintem import CosPress, TinTeM, neighbour_embedding_loss, token_set_loss

__all__ = [
    "CKD",
    "DIST",
    "DKD",
    "KD",
    "MSE",
    "PKT",
    "RKD",
    "SEED",
    "SP",
    "CoSS",
    "CompRess",
    "CosPress",
    "Cosine",
    "TinTeM",
    "ckd_loss",
    "compress_loss",
    "cosine_loss",
    "coss_loss",
    "dist_loss",
    "dkd_loss",
    "kd_loss",
    "mse_loss",
    "neighbour_embedding_loss",
    "pkt_loss",
    "rkd_angle_loss",
    "rkd_distance_loss",
    "rkd_loss",
    "seed_loss",
    "sp_loss",
    "space_similarity_loss",
    "token_set_loss",
]
