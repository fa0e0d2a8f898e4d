"""The base class of all methods: a head, a teacher that is not trained, and loss terms by name.

    method = CoSS(student_width=128, teacher_width=1280)
    optimiser = SGD([*backbone.parameters(), *method.parameters()], ...)
    terms = method(backbone(images), teacher_features, labels)     # {"cosine": ..., "space": ...}, weighted
    sum(terms.values()).backward()

A module adds to its loss function the head, queues, the paper's weights, and the classification loss if the paper has
one. ``parameters()`` holds all that the optimiser trains in addition to the backbone, and ``state_dict()`` all that a
resumed run needs.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from manifold_probe.distillation.tensors import class_labels
from manifold_probe.errors import InputError
from manifold_probe.models.heads import make_head

AUTO = "auto"


class Method(nn.Module):
    """The heads of a method; subclasses add their constants and ``forward``.

    Attributes
    ----------
    needs : str
        The input of the loss: "features", "logits" or "features or logits".
    labels : str
        "unused", "optional" (labels add a classification loss) or "needed".
    published_head : str
        The head for ``head=None`` or "auto".
    published_when_equal : bool
        Whether that head is also used when the widths are equal.
    head_on_teacher : bool
        Whether the head is applied to the teacher's features, not to the student's.
    equal_widths : bool
        Whether student and teacher must be equally wide after their heads.
    sees_lengths : bool
        Whether the loss depends on the lengths of the student's vectors, and not only on their angles.
    student_head, teacher_head : torch.nn.Module
        The head of either side; the identity where there is none.
    student_out, teacher_out : int
        Widths after the heads.
    """

    needs: ClassVar[str] = "features"
    labels: ClassVar[str] = "unused"
    published_head: ClassVar[str] = "identity"
    published_when_equal: ClassVar[bool] = False
    head_on_teacher: ClassVar[bool] = False
    equal_widths: ClassVar[bool] = True
    sees_lengths: ClassVar[bool] = False

    def __init__(
        self, student_width: int, teacher_width: int, *, head: str | None = None, sample: Tensor | None = None
    ) -> None:
        super().__init__()
        self.student_width, self.teacher_width = student_width, teacher_width
        self.student_out, self.teacher_out = student_width, teacher_width
        self.student_head: nn.Module = nn.Identity()
        self.teacher_head: nn.Module = nn.Identity()
        equal = student_width == teacher_width
        if head in (None, AUTO):
            head = "identity" if equal and not self.published_when_equal else self.published_head
        self.head = head
        if head == "identity" and not equal:
            if self.equal_widths:
                raise InputError(
                    f"{type(self).__name__} needs a student as wide as its teacher, got {student_width} and "
                    f"{teacher_width}; give it a head: linear, mlp or orthogonal"
                )
        elif head == "pca" or self.head_on_teacher:  # a pca head is fitted on the teacher in every method
            self.teacher_head, self.teacher_out = make_head(head, teacher_width, student_width, sample), student_width
        else:
            self.student_head, self.student_out = make_head(head, student_width, teacher_width), teacher_width

    def set_epoch(self, epoch: int) -> None:
        """Set the current epoch, counted from 1; used by methods whose weights rise over the first epochs."""

    def embed(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Student and teacher after their heads; the teacher is detached."""
        for name, tensor, width in (
            ("student", student, self.student_width),
            ("teacher", teacher, self.teacher_width),
        ):
            if tensor.shape[-1] != width:
                raise InputError(
                    f"the {name} is {tensor.shape[-1]} wide, but {type(self).__name__} was built for {width}; "
                    "build it with the widths of its input"
                )
        return self.student_head(_at_least_float32(student)), self.teacher_head(_at_least_float32(teacher.detach()))


def _at_least_float32(tensor: Tensor) -> Tensor:
    """In float32 or wider, as the heads' weights are; under autocast the head still computes in lower precision."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def classification_loss(logits: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
    """{"classification": cross-entropy}, in float32 at least; an empty dict without labels."""
    if labels is None:
        return {}
    return {"classification": functional.cross_entropy(_at_least_float32(logits), class_labels(labels, logits))}
