"""CoSS: cosine plus space similarity ("Simple Unsupervised Knowledge Distillation With Space Similarity", Singh &
Wang, ECCV 2024, arXiv 2409.13939).

    L_co = 1/B sum_i (1 - cos(S[i, :], T[i, :]))         rows: direction of a sample
    L_ss = 1/D sum_j (1 - cos(S[:, j], T[:, j]))         columns over the batch, not centred: profile of a dimension
    L    = scale * (L_co + space_weight * L_ss)

At zero loss the rows determine S up to a factor per sample, the columns up to a factor per dimension; together up to
one global factor, if the batch's non-zero entries are connected. The paper uses negative cosines: its loss is this one
minus ``scale * (1 + space_weight)``. Its code has a default weight of 0.5, its scripts use 1; the released scale is
142.857 = 1 / (0.07 * 0.1).
"""

from __future__ import annotations

from torch import Tensor

from manifold_probe.distillation.cosine import cosine_loss
from manifold_probe.distillation.gather import gather as gather_rows
from manifold_probe.distillation.method import Method
from manifold_probe.distillation.tensors import cosines, same_shape


def space_similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over dimensions of one minus the cosine between the student's and the teacher's column over the batch.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, D)
        Embeddings of the same B samples. Half precision is computed in float32. Detach the teacher.

    Returns
    -------
    Tensor, shape ()
        In [0, 2]. A column of zeros counts as cosine 0 and gets no gradient, so a teacher's dead dimensions raise the
        minimum.

    Examples
    --------
    >>> import torch
    >>> teacher = torch.tensor([[3.0, 1.0], [4.0, 0.0]])
    >>> space_similarity_loss(torch.tensor([[6.0, 0.0], [8.0, 1.0]]), teacher)  # one parallel column, one orthogonal
    tensor(0.5000)
    """
    student, teacher = same_shape(student, teacher)
    return (1 - cosines(student, teacher, dim=0)).mean()


def coss_loss(student: Tensor, teacher: Tensor, space_weight: float = 1.0, scale: float = 1.0) -> Tensor:
    """The CoSS loss: ``scale * (cosine_loss + space_weight * space_similarity_loss)``.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, D)
        Embeddings of the same B samples, the student's after its head if it has one. Detach the teacher.
    space_weight : float
        Weight of the columns, lambda in the paper.
    scale : float
        Multiplies the loss and its gradient.

    Returns
    -------
    Tensor, shape ()
        In [0, 2 * scale * (1 + space_weight)].

    Examples
    --------
    >>> import torch
    >>> teacher = torch.tensor([[3.0, 1.0], [4.0, 2.0]])
    >>> coss_loss(2 * teacher, teacher).abs() < 1e-6  # one factor for all entries: zero loss
    tensor(True)
    >>> uneven = torch.tensor([[1.0], [5.0]]) * teacher  # a factor per row: only the columns change
    >>> cosine_loss(uneven, teacher).abs() < 1e-6, coss_loss(uneven, teacher) > 0.05
    (tensor(True), tensor(True))
    """
    return scale * (cosine_loss(student, teacher) + space_weight * space_similarity_loss(student, teacher))


class CoSS(Method):
    """CoSS with its head: Linear - ReLU - Linear on the student's side, not used at evaluation.

    Parameters
    ----------
    student_width, teacher_width : int
    head : str, optional
        Published: mlp, none where the widths are equal.
    sample : Tensor, shape (n, teacher_width), optional
        For a pca head.
    space_weight, scale : float
        See :func:`coss_loss`.
    gather : bool
        Compute the columns over the joined batch of all processes. Published: over the batch of a process.

    Examples
    --------
    >>> import torch
    >>> sorted(CoSS(4, 6)(torch.randn(8, 4), torch.randn(8, 6)))
    ['cosine', 'space']
    """

    sees_lengths = True
    published_head = "mlp"

    def __init__(
        self,
        student_width: int,
        teacher_width: int,
        *,
        head: str | None = None,
        sample: Tensor | None = None,
        space_weight: float = 1.0,
        scale: float = 1.0,
        gather: bool = False,
    ) -> None:
        super().__init__(student_width, teacher_width, head=head, sample=sample)
        self.space_weight, self.scale, self.gather = space_weight, scale, gather

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Terms from student (B, student_width) and teacher (B, teacher_width)."""
        student, teacher = self.embed(student, teacher)
        if self.gather:
            student, teacher = gather_rows(student), gather_rows(teacher)
        return {
            "cosine": self.scale * cosine_loss(student, teacher),
            "space": self.scale * self.space_weight * space_similarity_loss(student, teacher),
        }
