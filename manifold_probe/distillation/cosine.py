"""Cosine distillation: each row of the student points where the teacher's row points.

    L = 1/B sum_i (1 - cos(S_i, T_i))                    in [0, 2], zero when every S_i = a_i T_i with a_i > 0

A whole ray maps to one point, so the norms are left free and a student at zero loss may have any: this is the
lambda = 0 ablation of CoSS (Singh & Wang, ECCV 2024), and what SimReg-like methods minimise up to a factor.
"""

from __future__ import annotations

import torch
from torch import Tensor

from manifold_probe.errors import InputError

TINY = 1e-12


def cosine_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over rows of one minus the cosine between student and teacher.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, D)
        Embeddings of the same B samples. Half precision is computed in float32. A gradient flows into whatever asks
        for one; detach the teacher, or compute it under ``torch.no_grad``.

    Returns
    -------
    Tensor, shape ()
        In [0, 2]. A zero row has no direction: its cosine counts as 0, and it gets no gradient.

    Examples
    --------
    >>> teacher = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    >>> cosine_loss(torch.tensor([[6.0, 8.0], [0.0, 1.0]]), teacher)  # one parallel row, one orthogonal
    tensor(0.5000)
    """
    student, teacher = _same_shape(student, teacher)
    return (1 - _cosines(student, teacher, dim=1)).mean()


def _same_shape(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float32 or float64, after checking that they are non-empty (B, D) tensors of one shape."""
    if student.ndim != 2 or student.shape != teacher.shape or student.numel() == 0:
        raise InputError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} must be non-empty and of one shape "
            "(B, D); put a head on the student where the widths differ"
        )
    if not (student.is_floating_point() and teacher.is_floating_point()):
        raise InputError(f"student ({student.dtype}) and teacher ({teacher.dtype}) must hold floating-point numbers")
    dtype = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    return student.to(dtype), teacher.to(dtype)


def _cosines(student: Tensor, teacher: Tensor, dim: int) -> Tensor:
    """Cosine between the vectors of two (B, D) tensors along ``dim``; 0 where either of them is zero."""
    return (_unit(student, dim) * _unit(teacher, dim)).sum(dim)


def _unit(vectors: Tensor, dim: int) -> Tensor:
    """Vectors over their length, and zero vectors as they are."""
    # The largest entry goes first, so that squares neither overflow nor vanish. It is a constant to the gradient
    # because the result does not depend on it. A vector at or below TINY is divided by 1 after being set to zero: the
    # true gradient, 1/length, would be up to 1e12 and one dead row would decide the step.
    size = vectors.detach().abs().amax(dim, keepdim=True)
    alive = ~(size <= TINY)  # NaN stays alive, to be seen
    scaled = torch.where(alive, vectors / torch.where(alive, size, 1), 0)
    length = torch.where(alive, scaled.square().sum(dim, keepdim=True), 1).sqrt()
    return scaled / length
