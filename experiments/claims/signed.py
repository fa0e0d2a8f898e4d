"""conv4 without its last ReLU: a student whose features may be negative.

The built-in conv4 ends in a ReLU, so its features are at least 0. TinTeM's student has no head: it must reproduce the
teacher's head, with negative coordinates, which features of at least 0 cannot. (The students in its paper are vision
transformers, which end in a normalisation and have both signs.)
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
    """Fields of the trainer for this student."""
    return {"student": f"python:signed:conv4?seed={seed}", "size": "28", "mean": "0.5", "std": "0.5"}
