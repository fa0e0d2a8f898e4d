"""KD: "Distilling the Knowledge in a Neural Network" (Hinton, Vinyals & Dean, 2015, arXiv 1503.02531).

    p = softmax(t / tau),    q = softmax(s / tau),    L = tau^2 mean_i KL(p_i || q_i)

tau^2 keeps the size of the gradient independent of the temperature. Zero if the logits differ by a constant per row.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from manifold_probe.distillation.method import Method, classification_loss
from manifold_probe.distillation.tensors import divergence, same_shape


def kd_loss(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """Mean over rows of the divergence between softened predictions, times the temperature squared.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, C)
        Logits of the same B samples. Half precision is computed in float32. Detach the teacher.
    temperature : float

    Returns
    -------
    Tensor, shape ()
        In [0, inf).

    Examples
    --------
    >>> import torch
    >>> teacher = torch.tensor([[0.0, 3.0]]).log1p()  # probabilities .2 and .8
    >>> kd_loss(torch.zeros(1, 2), teacher, temperature=1.0)  # .2 log .4 + .8 log 1.6
    tensor(0.1927)
    """
    student, teacher = same_shape(student, teacher, "(B, C)")
    # In float64, which costs nothing on logits: a small divergence is a difference of nearly equal numbers.
    log_student, log_teacher = (functional.log_softmax(x.double() / temperature, 1) for x in (student, teacher))
    return temperature**2 * divergence(log_teacher, log_student).mean().to(student.dtype)


class KD(Method):
    """Cross-entropy with the labels, if given, plus ``weight`` times the divergence.

    Parameters
    ----------
    student_width, teacher_width : int
        Number of classes on either side. A student that ends in features needs a head, such as linear.
    head : str, optional
        Published: none.
    sample : Tensor, shape (n, teacher_width), optional
        For a pca head.
    weight : float
        Of the divergence; the cross-entropy has weight 1.
    temperature : float

    Examples
    --------
    >>> import torch
    >>> method = KD(10, 10)
    >>> sorted(method(torch.randn(8, 10), torch.randn(8, 10), torch.arange(8)))
    ['classification', 'distillation']
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
        weight: float = 1.0,
        temperature: float = 4.0,
    ) -> None:
        super().__init__(student_width, teacher_width, head=head, sample=sample)
        self.weight, self.temperature = weight, temperature

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Terms from student (B, student_width), teacher (B, teacher_width) and labels (B,)."""
        student, teacher = self.embed(student, teacher)
        distillation = self.weight * kd_loss(student, teacher, self.temperature)
        return classification_loss(student, labels) | {"distillation": distillation}
