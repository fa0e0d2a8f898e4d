"""DKD: "Decoupled Knowledge Distillation" (Zhao, Cui, Song, Qiu & Liang, CVPR 2022, arXiv 2203.08679).

With y the label of a row, p = softmax(t / tau) and q = softmax(s / tau):

    TCKD = KL( (p_y, 1 - p_y) || (q_y, 1 - q_y) )                        label's class against the rest
    NCKD = KL( p without y, renormalised || q without y, renormalised )  among the other classes
    L    = tau^2 mean_i (alpha TCKD_i + beta NCKD_i)

KD is TCKD + (1 - p_y) NCKD: with a confident teacher the other classes have almost no weight. Here beta sets it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from manifold_probe.distillation.method import Method, classification_loss
from manifold_probe.distillation.tensors import class_labels, divergence, same_shape
from manifold_probe.errors import InputError


def dkd_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    """Mean over rows of the two divergences, times the temperature squared.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, C)
        Logits of the same B samples, C at least 2. Half precision is computed in float32. Detach the teacher.
    labels : Tensor, shape (B,)
        Integers in [0, C).
    alpha, beta : float
        Weights of the label's class against the rest, and of the rest among themselves.
    temperature : float

    Returns
    -------
    Tensor, shape ()
        In [0, inf).

    Raises
    ------
    InputError
        Labels that are not one class per row, or logits of a single class.

    Examples
    --------
    >>> teacher = torch.tensor([[2.0, 1.0, 1.0]]).log()  # probabilities .5, .25, .25
    >>> student = torch.zeros(1, 3)
    >>> dkd_loss(student, teacher, torch.tensor([0]), temperature=1.0)  # .5 log 1.5 + .5 log .75, and the rest is equal
    tensor(0.0589)
    """
    target, rest = _parts(student, teacher, labels, temperature)
    return alpha * target + beta * rest


def _parts(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """(target, rest): the two divergences, both times the temperature squared."""
    student, teacher = same_shape(student, teacher, "(B, C)")
    labels = class_labels(labels, student)
    if student.shape[1] < 2:
        raise InputError("decoupled distillation needs the logits of at least 2 classes, got 1")
    # In float64, which costs nothing on logits: a small divergence is a difference of nearly equal numbers.
    binary_student, rest_student = _decoupled(student.double() / temperature, labels)
    binary_teacher, rest_teacher = _decoupled(teacher.double() / temperature, labels)
    target = temperature**2 * divergence(binary_teacher, binary_student).mean()
    rest = temperature**2 * divergence(rest_teacher, rest_student).mean()
    return target.to(student.dtype), rest.to(student.dtype)


def _decoupled(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log probabilities of the label's class and of the rest, (B, 2); and among the other classes, (B, C - 1)."""
    rows, classes = logits.shape
    label = functional.one_hot(labels, classes).bool()
    target, others = logits[label][:, None], logits[~label].view(rows, classes - 1)
    # In logarithms: 1 - p_y of a confident teacher rounds to 0, the sum over the other classes does not.
    binary = torch.cat([target, others.logsumexp(1, keepdim=True)], 1)
    return functional.log_softmax(binary, 1), functional.log_softmax(others, 1)


class DKD(Method):
    """Cross-entropy with the labels plus the two divergences, whose weights rise over the first ``warmup`` epochs.

    Parameters
    ----------
    student_width, teacher_width : int
        Number of classes on either side. A student that ends in features needs a head, such as linear.
    head : str, optional
        Published: none.
    sample : Tensor, shape (n, teacher_width), optional
        For a pca head.
    alpha, beta, temperature : float
        See :func:`dkd_loss`.
    warmup : int
        Epochs until the divergences have their full weight, min(epoch / warmup, 1); 0 for full weight at once.

    Attributes
    ----------
    epoch : int
        Counted from 1, as in the released code; set by ``set_epoch``.

    Examples
    --------
    >>> method = DKD(10, 10)
    >>> method.set_epoch(20)
    >>> sorted(method(torch.randn(8, 10), torch.randn(8, 10), torch.arange(8)))
    ['classification', 'non_target', 'target']
    """

    needs = "logits"
    labels = "needed"

    def __init__(
        self,
        student_width: int,
        teacher_width: int,
        *,
        head: str | None = None,
        sample: Tensor | None = None,
        alpha: float = 1.0,
        beta: float = 8.0,
        temperature: float = 4.0,
        warmup: int = 20,
    ) -> None:
        super().__init__(student_width, teacher_width, head=head, sample=sample)
        self.alpha, self.beta, self.temperature, self.warmup = alpha, beta, temperature, warmup
        self.epoch = 1

    def set_epoch(self, epoch: int) -> None:
        """Set the current epoch, counted from 1."""
        self.epoch = epoch

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Terms from student (B, student_width), teacher (B, teacher_width) and labels (B,)."""
        if labels is None:
            raise InputError("DKD needs labels; give data that has them, or choose kd or dist")
        student, teacher = self.embed(student, teacher)
        target, rest = _parts(student, teacher, labels, self.temperature)
        ramp = min(self.epoch / self.warmup, 1.0) if self.warmup else 1.0
        return classification_loss(student, labels) | {
            "target": ramp * self.alpha * target,
            "non_target": ramp * self.beta * rest,
        }
