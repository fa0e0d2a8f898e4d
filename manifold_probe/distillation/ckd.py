"""CKD: "Contrastive Knowledge Distillation from A Sample-wise Perspective" (Zhu et al., IEEE TIP 2025, arXiv
2404.14109).

    L_i = -log( exp(cos(t_i, s_i) / tau) / sum_j exp(cos(t_i, s_j) / tau) ),     L = mean of L_i

Teacher rows are the anchors, student rows the keys, and the negatives are the other rows of the batch. A summary of the
paper states the negatives as (s_i, s_j); ``negatives="paper"`` takes exp(cos(s_i, s_j) / tau) for j other than i.
A detector gives the class logits of a set of proposals for each image: every proposal of the batch is a sample.

The loss is not zero at a perfect match. With at least B - 1 dimensions its minimum over students and teachers is
log(1 + (B - 1) exp(-B / ((B - 1) tau))), reached where the rows are equiangular; a student equal to its teacher is in
general not even a stationary point, because the loss rewards more separation than the teacher has.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from manifold_probe.distillation.gather import gather as gather_rows
from manifold_probe.distillation.method import Method, classification_loss
from manifold_probe.distillation.tensors import at_least_two, cosines, diagonal, same_shape, similarities
from manifold_probe.errors import InputError


def ckd_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0, negatives: str = "student") -> Tensor:
    """The contrastive term: the cross-entropy of matching each teacher row with its student row in the batch.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, C) or (B, N, C)
        Logits (or features) of the same B samples, or of the same N proposals in each of B images, which count as
        B * N samples. Half precision is computed in float32. Detach the teacher.
    temperature : float
        Published: 1 or 2.
    negatives : str
        "student": cos(t_i, s_j), as the released code does. "paper": cos(s_i, s_j).

    Returns
    -------
    Tensor, shape ()
        In (0, log(1 + (B - 1) exp(2 / temperature))]; log B where all cosines are equal. B * N for B with proposals.

    Raises
    ------
    InputError
        Fewer than 2 samples, or student and teacher with different counts of proposals.

    Examples
    --------
    >>> teacher = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    >>> ckd_loss(teacher, teacher)  # log(1 + exp(-2)), the floor
    tensor(0.1269)
    >>> ckd_loss(torch.ones(2, 2), teacher)  # log 2
    tensor(0.6931)
    """
    if negatives not in ("student", "paper"):
        raise InputError(f"negatives must be 'student' or 'paper', got {negatives!r}")
    student, teacher = same_shape(*samples(student, teacher), "(B, C)")
    at_least_two(len(student))
    if negatives == "student":
        logits = similarities(teacher, student)
    else:
        positive = cosines(teacher, student)[:, None]
        logits = torch.where(diagonal(len(student), student), positive, similarities(student, student))
    return functional.cross_entropy(logits / temperature, torch.arange(len(student), device=student.device))


def samples(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both as (B * N, C) where they are sets of proposals (B, N, C), after checking the counts; else as they are."""
    if student.ndim != 3 or teacher.ndim != 3:
        return student, teacher
    if student.shape[:2] != teacher.shape[:2]:
        counts = ("{} proposals for each of {} images".format(*reversed(x.shape[:2])) for x in (student, teacher))
        raise InputError(
            "the student has {} and the teacher {}; give the class logits of the same proposals of both, for example "
            "at the boxes that the teacher ranks highest".format(*counts)
        )
    return student.flatten(0, 1), teacher.flatten(0, 1)


class CKD(Method):
    """CKD on logits: cross-entropy with the labels plus ``weight`` times the contrastive term.

    On features, and without labels, there is only the contrastive term; the paper does not use it that way.
    By default there is no head, so unequal widths need ``head``. For a detector: sets of proposals (B, N, C),
    weight 0.1, added to the detector's loss.

    Parameters
    ----------
    student_width, teacher_width : int
        Number of classes on either side (or dimensions, where features are given).
    head : str, optional
        Published: none.
    sample : Tensor, shape (n, teacher_width), optional
        For a pca head.
    weight : float
        Of the contrastive term. Published: 10, 50 or 100, depending on the pair of networks; 0.1 for a detector.
    temperature : float
    negatives : str
        See :func:`ckd_loss`.
    gather : bool
        Take the negatives from all processes.

    Examples
    --------
    >>> method = CKD(10, 10)
    >>> sorted(method(torch.randn(8, 10), torch.randn(8, 10), torch.arange(8)))
    ['classification', 'contrastive']
    """

    needs = "features or logits"
    labels = "optional"

    def __init__(
        self,
        student_width: int,
        teacher_width: int,
        *,
        head: str | None = None,
        sample: Tensor | None = None,
        weight: float = 10.0,
        temperature: float = 1.0,
        negatives: str = "student",
        gather: bool = False,
    ) -> None:
        super().__init__(student_width, teacher_width, head=head, sample=sample)
        self.weight, self.temperature, self.negatives, self.gather = weight, temperature, negatives, gather

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Terms from student (B, student_width), teacher (B, teacher_width) and labels (B,); (B, N) for B in sets."""
        if labels is not None and student.ndim == 3 and labels.shape == student.shape[:2]:
            labels = labels.flatten()
        student, teacher = samples(student, teacher)
        student, teacher = self.embed(student, teacher)
        classification = classification_loss(student, labels)
        if self.gather:
            student, teacher = gather_rows(student), gather_rows(teacher)
        contrast = ckd_loss(student, teacher, self.temperature, self.negatives)
        return classification | {"contrastive": self.weight * contrast}
