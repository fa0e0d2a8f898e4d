"""DIST: "Knowledge Distillation from A Stronger Teacher" (Huang, You, Wang, Qian & Xu, NeurIPS 2022, arXiv 2205.10536).

    p = softmax(t / tau),    q = softmax(s / tau)
    inter = mean over rows of 1 - pearson(q_i, p_i)                 correlation over the classes of a sample
    intra = mean over columns of 1 - pearson(q_.c, p_.c)            correlation over the samples of a class
    L     = tau^2 (beta inter + gamma intra)

Correlations require agreement up to scale and shift: like CoSS, but centred and on probabilities. As in the released
code, a correlation divides by the product of the lengths + 1e-8. So the loss of a perfect match is small but not zero,
and a constant column has loss 1; so does every column of a batch of one row.
"""

from __future__ import annotations

from torch import Tensor
from torch.linalg import vector_norm
from torch.nn import functional

from manifold_probe.distillation.method import Method, classification_loss
from manifold_probe.distillation.tensors import detach_zeros, same_shape

EPS = 1e-8


def dist_loss(
    student: Tensor, teacher: Tensor, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0
) -> Tensor:
    """One minus the correlations of predictions over rows and over columns, times the temperature squared.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, C)
        Logits of the same B samples. Half precision is computed in float32. Detach the teacher.
    beta, gamma : float
        Weights of rows and columns.
    temperature : float
        Published: 1 on ImageNet, 4 on CIFAR.

    Returns
    -------
    Tensor, shape ()
        In [0, 2 * (beta + gamma) * temperature ** 2].

    Examples
    --------
    >>> import torch
    >>> teacher = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    >>> dist_loss(teacher + 5, teacher).abs() < 1e-6
    tensor(True)
    >>> dist_loss(-teacher, teacher)  # the two classes swapped: both correlations are -1
    tensor(4.)
    """
    inter, intra = _parts(student, teacher, temperature)
    return beta * inter + gamma * intra


def _parts(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The losses of rows and of columns, both times the temperature squared."""
    student, teacher = same_shape(student, teacher, "(B, C)")
    # In float64: in float32 a constant column minus its mean leaves rounding noise, which is then divided by 1e-8.
    q, p = (functional.softmax(logits.double() / temperature, 1) for logits in (student, teacher))
    inter, intra = (temperature**2 * (1 - _pearson(q, p, dim)).mean() for dim in (1, 0))
    return inter.to(student.dtype), intra.to(student.dtype)


def _pearson(x: Tensor, y: Tensor, dim: int) -> Tensor:
    x, y = (detach_zeros(z - z.mean(dim, keepdim=True), dim) for z in (x, y))
    return (x * y).sum(dim) / (vector_norm(x, dim=dim) * vector_norm(y, dim=dim) + EPS)


class DIST(Method):
    """Cross-entropy with the labels, if given, plus ``weight`` times the two correlation losses.

    Parameters
    ----------
    student_width, teacher_width : int
        Number of classes on either side. A student that ends in features needs a head, such as linear.
    head : str, optional
        Published: none.
    sample : Tensor, shape (n, teacher_width), optional
        For a pca head.
    weight : float
        Of the correlation losses; the cross-entropy has weight 1.
    beta, gamma, temperature : float
        See :func:`dist_loss`.

    Examples
    --------
    >>> import torch
    >>> method = DIST(10, 10)
    >>> sorted(method(torch.randn(8, 10), torch.randn(8, 10), torch.arange(8)))
    ['classification', 'inter', 'intra']
    """

    needs = "logits"
    labels = "optional"

    def __init__(
        self,
        student_width: int,
        teacher_width: int,
        *,
        head: str | None = None,
        sample: Tensor | None = None,
        weight: float = 2.0,
        beta: float = 1.0,
        gamma: float = 1.0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(student_width, teacher_width, head=head, sample=sample)
        self.weight, self.beta, self.gamma, self.temperature = weight, beta, gamma, temperature

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Terms from student (B, student_width), teacher (B, teacher_width) and labels (B,)."""
        student, teacher = self.embed(student, teacher)
        inter, intra = _parts(student, teacher, self.temperature)
        return classification_loss(student, labels) | {
            "inter": self.weight * self.beta * inter,
            "intra": self.weight * self.gamma * intra,
        }
