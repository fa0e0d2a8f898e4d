"""PKT: "Learning Deep Representations with Probabilistic Knowledge Transfer" (Passalis & Tefas, ECCV 2018, arXiv
1803.10837).

    K_ij = (cos(x_i, x_j) + 1) / 2,    p_ij = K_ij / sum_j K_ij          including the diagonal
    L    = 1/B^2 sum_ij p_ij(T) log( (p_ij(T) + eps) / (p_ij(S) + eps) )              eps = 1e-7

Zero where all cosines agree. The widths may differ, and there is no head. The cosines divide by length + eps, as in the
released code. The mean over all pairs makes the loss B times smaller than a mean of divergences over rows.
"""

from __future__ import annotations

from torch import Tensor
from torch.linalg import vector_norm

from manifold_probe.distillation.method import Method
from manifold_probe.distillation.tensors import detach_zeros, products, same_rows

EPS = 1e-7


def pkt_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over pairs of the divergence between the rows' similarities, taken as probabilities.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, Ds) and (B, Dt)
        Embeddings of the same B samples. Half precision is computed in float32. Detach the teacher.

    Returns
    -------
    Tensor, shape ()
        Zero for a single row, otherwise in [0, inf) up to eps. A zero row has cosine 0 to all and gets no gradient.

    Examples
    --------
    >>> import torch
    >>> pkt_loss(torch.tensor([[1.0], [1.0]]), torch.eye(2))  # (2/3 log 4/3 + 1/3 log 2/3) / 2
    tensor(0.0283)
    """
    student, teacher = same_rows(student, teacher)
    # In float64: the loss is a small difference of nearly equal numbers, and its default weight is 30,000.
    p, q = _probabilities(teacher.double()), _probabilities(student.double())
    return (p * ((p + EPS) / (q + EPS)).log()).mean().to(student.dtype)


def _probabilities(rows: Tensor) -> Tensor:
    rows = detach_zeros(rows)
    rows = rows / (vector_norm(rows, dim=1, keepdim=True) + EPS)
    kernel = (products(rows, rows) + 1) / 2
    return kernel / kernel.sum(1, keepdim=True)


class PKT(Method):
    """PKT between any widths.

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
    >>> sorted(PKT(4, 6)(torch.randn(8, 4), torch.randn(8, 6)))
    ['similarity']
    """

    equal_widths = False

    def __init__(
        self,
        student_width: int,
        teacher_width: int,
        *,
        head: str | None = None,
        sample: Tensor | None = None,
        weight: float = 30_000.0,
    ) -> None:
        super().__init__(student_width, teacher_width, head=head, sample=sample)
        self.weight = weight

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Terms from student (B, student_width) and teacher (B, teacher_width)."""
        return {"similarity": self.weight * pkt_loss(*self.embed(student, teacher))}
