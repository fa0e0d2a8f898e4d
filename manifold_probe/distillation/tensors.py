"""Helpers of the losses: input checks, and unit vectors without overflow or division by zero.

All results are float32 or float64: half precision is promoted, and products are computed outside autocast, because a
cosine rounded to bfloat16 and divided by a temperature of 0.01 is wrong by a factor of e.
"""

from __future__ import annotations

import torch
from torch import Tensor

from manifold_probe.errors import InputError

TINY = 1e-12


def same_shape(student: Tensor, teacher: Tensor, shape: str = "(B, D)") -> tuple[Tensor, Tensor]:
    """Both as float32 or float64, after checking that they are non-empty and of one shape, like "(B, D)"."""
    if student.ndim != len(shape.split(",")) or student.shape != teacher.shape or student.numel() == 0:
        raise InputError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} must be non-empty and of one shape "
            f"{shape}; put a head on the student where the widths differ"
        )
    return as_floats(student, teacher)


def same_rows(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float32 or float64, after checking that they are non-empty (B, D) tensors of any widths."""
    if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher) or 0 in (*student.shape, *teacher.shape):
        raise InputError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} must be non-empty (B, D) tensors of "
            "the same B samples; only the widths may differ"
        )
    return as_floats(student, teacher)


def as_floats(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the wider of their dtypes, float32 at least."""
    if not (student.is_floating_point() and teacher.is_floating_point()):
        raise InputError(f"student ({student.dtype}) and teacher ({teacher.dtype}) must hold floating-point numbers")
    dtype = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    return student.to(dtype), teacher.to(dtype)


def at_least_two(rows: int, what: str = "rows") -> None:
    """Raise InputError for fewer than two rows: a contrastive loss needs negatives."""
    if rows < 2:
        raise InputError(f"a contrastive loss needs at least 2 {what}, got {rows}; make the batch larger")


def class_labels(labels: Tensor, logits: Tensor) -> Tensor:
    """The labels as int64, after checking that each row has one, in 0 to C - 1 for logits (B, C)."""
    rows, classes = logits.shape
    integral = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    if labels.shape != (rows,) or not integral:
        raise InputError(f"labels {tuple(labels.shape)} ({labels.dtype}) must hold one integer for each of {rows} rows")
    if labels.device.type == "cpu":  # on a GPU the check would synchronise; an invalid label fails in the loss itself
        low, high = labels.aminmax()
        if low < 0 or high >= classes:
            raise InputError(
                f"labels from {low} to {high} do not fit the logits of {classes} classes, 0 to {classes - 1}"
            )
    return labels.long()


def unit(vectors: Tensor, dim: int = -1) -> Tensor:
    """Vectors divided by their length; zero vectors stay zero."""
    # Dividing by the largest entry first keeps squares from overflow and underflow. It is detached, because the result
    # does not depend on it. A vector of at most TINY becomes zero without a gradient: the true gradient, 1/length,
    # would be up to 1e12, and one dead row would dominate the step.
    size = vectors.detach().abs().amax(dim, keepdim=True)
    nonzero = ~(size <= TINY)  # true for NaN, which must reach the loss
    scaled = torch.where(nonzero, vectors / torch.where(nonzero, size, 1), 0)
    length = torch.where(nonzero, scaled.square().sum(dim, keepdim=True), 1).sqrt()
    return scaled / length


def detach_zeros(vectors: Tensor, dim: int = -1) -> Tensor:
    """The same values; zero vectors (at most TINY) get no gradient, because it would be huge or NaN."""
    detached = vectors.detach()
    return torch.where(detached.abs().amax(dim, keepdim=True) <= TINY, detached, vectors)


def cosines(student: Tensor, teacher: Tensor, dim: int = -1) -> Tensor:
    """Cosines between vectors of two tensors of one shape along ``dim``; 0 where either vector is zero."""
    return (unit(student, dim) * unit(teacher, dim)).sum(dim)


def products(x: Tensor, y: Tensor) -> Tensor:
    """Inner products of every row of x (..., M, D) with every row of y (..., N, D): (..., M, N)."""
    with torch.autocast(x.device.type, enabled=False):
        return x @ y.mT


def similarities(x: Tensor, y: Tensor) -> Tensor:
    """Cosines of every row of x (..., M, D) with every row of y (..., N, D): (..., M, N)."""
    return products(unit(x), unit(y))


def diagonal(rows: int, like: Tensor) -> Tensor:
    """The mask of the diagonal, (rows, rows) of bool, on the device of ``like``."""
    return torch.eye(rows, dtype=torch.bool, device=like.device)


def divergence(log_teacher: Tensor, log_student: Tensor) -> Tensor:
    """KL(teacher || student) of log probabilities along the last dimension, natural logarithm."""
    return (log_teacher.exp() * (log_teacher - log_student)).sum(-1)
