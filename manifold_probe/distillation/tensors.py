"""What the losses share: checks of their input, and directions that neither overflow nor divide by zero.

Everything is float32 or float64 here: half precision is promoted, and products stay out of autocast, because a
cosine rounded to bfloat16 and divided by a temperature of 0.01 is off by a factor of e.
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
    """Refuse a contrast of a row with no other."""
    if rows < 2:
        raise InputError(f"a contrastive loss needs at least 2 {what}, got {rows}; make the batch larger")


def class_labels(labels: Tensor, logits: Tensor) -> Tensor:
    """The labels as int64, after checking that there is one class of the logits (B, C) for every row."""
    rows, classes = logits.shape
    whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    if labels.shape != (rows,) or not whole:
        raise InputError(f"labels {tuple(labels.shape)} ({labels.dtype}) must hold one integer for each of {rows} rows")
    if labels.device.type == "cpu":  # elsewhere the check would wait for the device; there the lookup itself fails
        low, high = labels.aminmax()
        if low < 0 or high >= classes:
            raise InputError(
                f"labels from {low} to {high} do not fit the logits of {classes} classes, 0 to {classes - 1}"
            )
    return labels.long()


def unit(vectors: Tensor, dim: int = -1) -> Tensor:
    """Vectors over their length, and zero vectors as they are."""
    # The largest entry goes first, so that squares neither overflow nor vanish. It is a constant to the gradient
    # because the result does not depend on it. A vector at or below TINY is divided by 1 after being set to zero: the
    # true gradient, 1/length, would be up to 1e12 and one dead row would decide the step.
    size = vectors.detach().abs().amax(dim, keepdim=True)
    alive = ~(size <= TINY)  # NaN stays alive, to be seen
    scaled = torch.where(alive, vectors / torch.where(alive, size, 1), 0)
    length = torch.where(alive, scaled.square().sum(dim, keepdim=True), 1).sqrt()
    return scaled / length


def zeros_held(vectors: Tensor, dim: int = -1) -> Tensor:
    """The same values; those vectors that are zero (TINY at most) get no gradient, which would be huge or NaN."""
    held = vectors.detach()
    return torch.where(held.abs().amax(dim, keepdim=True) <= TINY, held, vectors)


def cosines(student: Tensor, teacher: Tensor, dim: int = -1) -> Tensor:
    """Cosine between the vectors of two tensors of one shape along ``dim``; 0 where either of them is zero."""
    return (unit(student, dim) * unit(teacher, dim)).sum(dim)


def products(x: Tensor, y: Tensor) -> Tensor:
    """Inner products of every row of x (..., M, D) with every row of y (..., N, D): (..., M, N)."""
    with torch.autocast(x.device.type, enabled=False):
        return x @ y.mT


def similarities(x: Tensor, y: Tensor) -> Tensor:
    """Cosines of every row of x (..., M, D) with every row of y (..., N, D): (..., M, N)."""
    return products(unit(x), unit(y))


def diagonal(rows: int, like: Tensor) -> Tensor:
    """The mask of a row with itself, (rows, rows)."""
    return torch.eye(rows, dtype=torch.bool, device=like.device)


def divergence(log_teacher: Tensor, log_student: Tensor) -> Tensor:
    """KL(teacher || student) of log probabilities along the last dimension, natural logarithm."""
    return (log_teacher.exp() * (log_teacher - log_student)).sum(-1)
