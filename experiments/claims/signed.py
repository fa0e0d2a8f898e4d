"""conv4 without its last ReLU: a student whose features may be negative.

The built-in conv4 ends in a ReLU, so its features are at least 0. TinTeM gives its student no head: it must point where
the teacher's head points, negative coordinates included, which features of at least 0 cannot. (Its paper's students are
vision transformers, which end in a normalisation and have both signs.)
"""

from __future__ import annotations

import torch

from manifold_probe.models import make_student


def conv4(seed: int = 0) -> torch.nn.Module:
    """conv4 up to the last batch norm, its weights drawn from the seed."""
    torch.default_generator.manual_seed(seed)
    student = make_student("conv4")
    student.layers = student.layers[:-1]
    return student


def fields(seed: int) -> dict[str, str]:
    """What the trainer is asked for, to train it."""
    return {"student": f"python:signed:conv4?seed={seed}", "size": "28", "mean": "0.5", "std": "0.5"}
