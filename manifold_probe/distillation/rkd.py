"""RKD: "Relational Knowledge Distillation" (Park, Kim, Lu & Cho, CVPR 2019, arXiv 1904.05068).

    d_ij = |x_i - x_j| / mean of |x_i - x_j| over pairs i != j
    a_ijk = cos of the angle at x_i between x_j and x_k = (d_ij^2 + d_ik^2 - d_jk^2) / (2 d_ij d_ik)
    L = distance_weight * mean_ij h(d_ij(S) - d_ij(T)) + angle_weight * mean_ijk h(a_ijk(S) - a_ijk(T))

h is the smooth L1 loss: x^2 / 2 below 1 and |x| - 1/2 above. The means are over all B^2 and B^3 entries, including
those with equal indices. Zero if the student is a rotated, shifted and scaled teacher. The widths may differ, and there
is no head.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from manifold_probe.distillation.method import Method
from manifold_probe.distillation.tensors import TINY, diagonal, products, same_rows

VERTICES_AT_ONCE = 16


def rkd_loss(student: Tensor, teacher: Tensor, distance_weight: float = 25.0, angle_weight: float = 50.0) -> Tensor:
    """The weighted sum of :func:`rkd_distance_loss` and :func:`rkd_angle_loss`.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, Ds) and (B, Dt)
        Embeddings of the same B samples. Half precision is computed in float32. Detach the teacher.
    distance_weight, angle_weight : float

    Returns
    -------
    Tensor, shape ()
        In [0, inf).

    Examples
    --------
    >>> teacher = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> rkd_loss(3 * teacher + 1, teacher).round(decimals=6)
    tensor(0.)
    """
    distance, angle = rkd_distance_loss(student, teacher), rkd_angle_loss(student, teacher)
    return distance_weight * distance + angle_weight * angle


def rkd_distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 loss of the distances between all rows, divided by the mean distance of their side.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, Ds) and (B, Dt)
        See :func:`rkd_loss`.

    Returns
    -------
    Tensor, shape ()
        In [0, inf); 0 for a single row. Distances below 1e-6 count as 1e-6 and get no gradient.

    Examples
    --------
    >>> teacher = torch.tensor([[0.0], [1.0], [3.0]])  # distances 1, 2, 3: over their mean .5, 1, 1.5
    >>> rkd_distance_loss(torch.tensor([[0.0], [1.0], [2.0]]), teacher)  # .75, .75, 1.5
    tensor(0.0139)
    """
    student, teacher = same_rows(student, teacher)
    return functional.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher))


def _relative_distances(rows: Tensor) -> Tensor:
    pairs = len(rows) * (len(rows) - 1)
    distances = _squared_distances(rows).clamp(min=TINY).sqrt().masked_fill(diagonal(len(rows), rows), 0)
    return (distances / (distances.sum() / pairs if pairs else 1)).to(rows.dtype)


def rkd_angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 loss of the cosines of the angles in all triples of rows.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, Ds) and (B, Dt)
        See :func:`rkd_loss`. Time grows as B^3, memory as a few times 16 B^2.

    Returns
    -------
    Tensor, shape ()
        In [0, 1.5]; 0 for a single row. Angles with a side between equal rows count as cosine 0 and get no gradient.

    Examples
    --------
    >>> right = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # cosines 0, .707, .707
    >>> equal = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])  # .5, .5, .5
    >>> rkd_angle_loss(right, equal)  # 2 * (.25 + .0429 + .0429) / 2 / 27
    tensor(0.0124)
    """
    student, teacher = same_rows(student, teacher)
    sides, rows = (*_sides(student), *_sides(teacher)), len(student)
    # To keep B^3 numbers out of memory: a few vertices at a time, and the backward pass computes their angles again.
    errors = [
        checkpoint(_angle_errors, slice(i, i + VERTICES_AT_ONCE), *sides, use_reentrant=False, preserve_rng_state=False)
        for i in range(0, rows, VERTICES_AT_ONCE)
    ]
    return torch.stack(errors).sum() / rows**3


def _sides(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances between all rows, and the inverse distances, 0 between equal rows."""
    squares = _squared_distances(rows)
    # The distance of equal rows is rounding noise, which is proportional to the batch's largest distance.
    equal = (squares <= TINY * squares.detach().amax()) | diagonal(len(rows), rows)
    inverse = torch.where(equal, 0, torch.where(equal, 1, squares).rsqrt())
    return squares.to(rows.dtype), inverse.to(rows.dtype)


def _angle_errors(at: slice, *sides: Tensor) -> Tensor:
    """Sum of the errors of the angles at the rows ``at``; ``sides`` are the student's, then the teacher's."""
    student, teacher = _angles(at, *sides[:2]), _angles(at, *sides[2:])
    return functional.smooth_l1_loss(student, teacher, reduction="sum")


def _angles(at: slice, squares: Tensor, inverse: Tensor) -> Tensor:
    """Cosine of the angle at each row of ``at`` between rows j and k, (V, B, B), by the law of cosines."""
    square, inv = squares[at], inverse[at]
    return (square[:, :, None] + square[:, None, :] - squares) * (inv[:, :, None] / 2) * inv[:, None, :]


def _squared_distances(rows: Tensor) -> Tensor:
    """Squared distances (B, B), in float64 and centred: |x|^2 + |y|^2 - 2 xy of close rows cancels in float32."""
    rows = rows.double()
    rows = rows - rows.detach().mean(0)
    inner = products(rows, rows)
    norms = inner.diagonal()
    return norms[:, None] + norms - 2 * inner


class RKD(Method):
    """RKD between any widths.

    Parameters
    ----------
    student_width, teacher_width : int
    head : str, optional
        Published: none, at any widths.
    sample : Tensor, shape (n, teacher_width), optional
        For a pca head.
    distance_weight, angle_weight : float

    Examples
    --------
    >>> sorted(RKD(4, 6)(torch.randn(8, 4), torch.randn(8, 6)))
    ['angle', 'distance']
    """

    sees_lengths = True
    equal_widths = False

    def __init__(
        self,
        student_width: int,
        teacher_width: int,
        *,
        head: str | None = None,
        sample: Tensor | None = None,
        distance_weight: float = 25.0,
        angle_weight: float = 50.0,
    ) -> None:
        super().__init__(student_width, teacher_width, head=head, sample=sample)
        self.distance_weight, self.angle_weight = distance_weight, angle_weight

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Terms from student (B, student_width) and teacher (B, teacher_width)."""
        student, teacher = self.embed(student, teacher)
        return {
            "distance": self.distance_weight * rkd_distance_loss(student, teacher),
            "angle": self.angle_weight * rkd_angle_loss(student, teacher),
        }
