"""Cosine distillation: each student row gets the direction of its teacher row.

    L = 1/B sum_i (1 - cos(S_i, T_i))                    in [0, 2], zero when every S_i = a_i T_i with a_i > 0

The loss does not depend on the norms, so a student at zero loss may have any norms. It is the lambda = 0 ablation of
CoSS (Singh & Wang, ECCV 2024), and up to a factor the loss of methods such as SimReg.
"""

from __future__ import annotations

from torch import Tensor

from manifold_probe.distillation.method import Method
from manifold_probe.distillation.tensors import cosines, same_shape


def cosine_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over rows of one minus the cosine between student and teacher.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, D)
        Embeddings of the same B samples. Half precision is computed in float32. Every tensor with ``requires_grad``
        gets a gradient: detach the teacher, or compute it under ``torch.no_grad``.

    Returns
    -------
    Tensor, shape ()
        In [0, 2]. The cosine of a zero row counts as 0, and the row gets no gradient.

    Examples
    --------
    >>> import torch
    >>> teacher = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    >>> cosine_loss(torch.tensor([[6.0, 8.0], [0.0, 1.0]]), teacher)  # one parallel row, one orthogonal
    tensor(0.5000)
    """
    student, teacher = same_shape(student, teacher)
    return (1 - cosines(student, teacher, dim=1)).mean()


class Cosine(Method):
    """The cosine loss with CoSS's head: CoSS without the columns.

    Parameters
    ----------
    student_width, teacher_width : int
    head : str, optional
        Published: mlp, none where the widths are equal.
    sample : Tensor, shape (n, teacher_width), optional
        For a pca head.

    Examples
    --------
    >>> import torch
    >>> sorted(Cosine(4, 6)(torch.randn(8, 4), torch.randn(8, 6)))
    ['cosine']
    """

    published_head = "mlp"

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Terms from student (B, student_width) and teacher (B, teacher_width)."""
        return {"cosine": cosine_loss(*self.embed(student, teacher))}
