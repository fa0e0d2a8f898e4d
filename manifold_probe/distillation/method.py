"""What the modules of all methods have in common: a head, a teacher that is not trained, and named terms.

    method = CoSS(student_width=128, teacher_width=1280)
    optimiser = SGD([*backbone.parameters(), *method.parameters()], ...)
    terms = method(backbone(images), teacher_features, labels)     # {"cosine": ..., "space": ...}, weighted
    sum(terms.values()).backward()

A module is its function plus what the function does not have: the head, queues, the paper's weights, and the
classification loss where the paper has one. Everything the optimiser trains besides the backbone is in
``parameters()``, and everything a resumed run needs is in ``state_dict()``.
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
    """The heads of a method; a method adds its constants and ``forward``.

    Attributes
    ----------
    needs : str
        What it consumes: "features", "logits" or "features or logits".
    labels : str
        "unused", "optional" (they add a classification loss) or "needed".
    published_head : str
        What ``head=None`` or "auto" means.
    published_when_equal : bool
        Whether that head is also there when the widths are equal.
    head_on_teacher : bool
        Whether the teacher's features go through the head, and not the student's.
    equal_widths : bool
        Whether student and teacher must be equally wide after their heads.
    sees_lengths : bool
        Whether its loss changes with the lengths of the student's vectors, or with their angles alone.
    student_head, teacher_head : torch.nn.Module
        What stands on either side; the identity where nothing does.
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
        """Say which epoch this is, counted from 1; for methods whose weights rise over the first ones."""

    def embed(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Both after their heads; nothing flows back into the teacher."""
        for name, tensor, width in (
            ("student", student, self.student_width),
            ("teacher", teacher, self.teacher_width),
        ):
            if tensor.shape[-1] != width:
                raise InputError(
                    f"the {name} is {tensor.shape[-1]} wide, but {type(self).__name__} was built for {width}; "
                    "build it with the widths of its input"
                )
        return self.student_head(_single(student)), self.teacher_head(_single(teacher.detach()))


def _single(tensor: Tensor) -> Tensor:
    """In float32 at least, as the heads' weights are; autocast still picks its own."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def classification_loss(logits: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
    """The cross-entropy as a named term, in float32 at least; no term without labels."""
    if labels is None:
        return {}
    return {"classification": functional.cross_entropy(_single(logits), class_labels(labels, logits))}
