"""Losses that teach a student its teacher's embedding: one file a method, pure functions on tensors."""

from manifold_probe.distillation.cosine import cosine_loss
from manifold_probe.distillation.coss import coss_loss, space_similarity_loss

__all__ = ["cosine_loss", "coss_loss", "space_similarity_loss"]
