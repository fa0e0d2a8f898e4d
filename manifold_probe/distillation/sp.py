"""SP: "Similarity-Preserving Knowledge Distillation" (Tung & Mori, ICCV 2019, arXiv 1907.09682).

    G = X X' with every row divided by its length,       L = |G(S) - G(T)|^2 / B^2         including the diagonal

Zero if the student is a rotated and scaled teacher. The widths may differ, and there is no head.
"""

from __future__ import annotations

from torch import Tensor

from manifold_probe.distillation.method import Method
from manifold_probe.distillation.tensors import products, same_rows, unit


def sp_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over pairs of the squared difference between the row-normalised Gram matrices.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, Ds) and (B, Dt)
        Embeddings of the same B samples. Half precision is computed in float32. Detach the teacher.

    Returns
    -------
    Tensor, shape ()
        In [0, 4 / B]: two unit rows are at most 2 apart. A zero row of G stays zero.

    Examples
    --------
    >>> import torch
    >>> sp_loss(torch.tensor([[1.0], [1.0]]), torch.eye(2))  # rows (.707, .707) against (1, 0) and (0, 1)
    tensor(0.2929)
    """
    student, teacher = same_rows(student, teacher)
    difference = unit(products(student, student)) - unit(products(teacher, teacher))
    return difference.square().mean()


class SP(Method):
    """SP between any widths.

    Parameters
    ----------
    student_width, teacher_width : int
    head : str, optional
        Published: none, at any widths.
    sample : Tensor, shape (n, teacher_width), optional
        For a pca head.
    weight : float

    Examples
    --------
    >>> import torch
    >>> sorted(SP(4, 6)(torch.randn(8, 4), torch.randn(8, 6)))
    ['similarity']
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
        weight: float = 3000.0,
    ) -> None:
        super().__init__(student_width, teacher_width, head=head, sample=sample)
        self.weight = weight

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Terms from student (B, student_width) and teacher (B, teacher_width)."""
        return {"similarity": self.weight * sp_loss(*self.embed(student, teacher))}
