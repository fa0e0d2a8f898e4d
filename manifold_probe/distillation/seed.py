"""SEED: "Self-supervised Distillation for Visual Representation" (Fang et al., ICLR 2021, arXiv 2101.04731).

    k_i = [t_i; Q]                                       the sample's teacher row, then a queue of earlier teacher rows
    L   = mean_i CE( softmax(k_i t_i / tau_t), softmax(k_i s_i / tau_s) )         all rows at unit length

The other rows of the batch are not keys. In general no student reaches zero: the loss is at least the entropy of the
teacher's softmax. With the released tau_t of 1e-4 the target is one-hot and the loss is InfoNCE; the paper states 0.01.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from manifold_probe.distillation.method import Method
from manifold_probe.distillation.queue import Queue
from manifold_probe.distillation.tensors import products, same_shape, unit
from manifold_probe.errors import InputError


def seed_loss(
    student: Tensor,
    teacher: Tensor,
    queue: Tensor,
    student_temperature: float = 0.2,
    teacher_temperature: float = 0.01,
) -> Tensor:
    """Cross-entropy between the teacher's and the student's similarities to the teacher's rows.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, D)
        Embeddings of the same B samples. Half precision is computed in float32. Detach the teacher.
    queue : Tensor, shape (K, D)
        Teacher rows of earlier batches, at unit length.
    student_temperature, teacher_temperature : float

    Returns
    -------
    Tensor, shape ()
        In (0, log(K + 1) + 2 / student_temperature].

    Examples
    --------
    >>> teacher, queue = torch.tensor([[2.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    >>> seed_loss(teacher, teacher, queue, student_temperature=1.0)  # log(1 + exp(-2))
    tensor(0.1269)
    """
    student, teacher = same_shape(student, teacher)
    queue = _keys(queue, student)
    keys, student = unit(teacher), unit(student)
    logits = torch.cat([(student * keys).sum(1, keepdim=True), products(student, queue)], 1) / student_temperature
    target = torch.cat([keys.square().sum(1, keepdim=True), products(keys, queue)], 1) / teacher_temperature
    return functional.cross_entropy(logits, functional.softmax(target, 1))


def _keys(queue: Tensor, rows: Tensor) -> Tensor:
    """The queue in the rows' dtype, after checking that it is a non-empty (K, D) tensor of their width."""
    if queue.ndim != 2 or len(queue) == 0 or queue.shape[1] != rows.shape[1]:
        raise InputError(f"the queue {tuple(queue.shape)} must be a non-empty (K, {rows.shape[1]}) tensor of unit rows")
    return queue.to(rows.dtype)


class SEED(Method):
    """SEED with its head and its queue of teacher rows, which is read before the batch is pushed.

    In the released code both heads end in 128 dimensions, because the teacher is a MoCo network with its head. Here the
    keys are the teacher's rows as given.

    Parameters
    ----------
    student_width, teacher_width : int
    head : str, optional
        Published: mlp, also for equal widths.
    sample : Tensor, shape (n, teacher_width), optional
        For a pca head.
    queue_size : int
    student_temperature, teacher_temperature : float
        See :func:`seed_loss`. Defaults as in the released code.

    Examples
    --------
    >>> method = SEED(4, 6, queue_size=100)
    >>> sorted(method(torch.randn(8, 4), torch.randn(8, 6)))
    ['contrastive']
    >>> method.queue.next
    tensor(8)
    """

    published_head = "mlp"
    published_when_equal = True

    def __init__(
        self,
        student_width: int,
        teacher_width: int,
        *,
        head: str | None = None,
        sample: Tensor | None = None,
        queue_size: int = 65_536,
        student_temperature: float = 0.2,
        teacher_temperature: float = 1e-4,
    ) -> None:
        super().__init__(student_width, teacher_width, head=head, sample=sample)
        self.queue = Queue(queue_size, self.teacher_out)
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Terms from student (B, student_width) and teacher (B, teacher_width); pushes to the queue in training."""
        student, teacher = self.embed(student, teacher)
        keys = self.queue.read()
        loss = seed_loss(student, teacher, keys, self.student_temperature, self.teacher_temperature)
        if self.training:
            self.queue.push(teacher)
        return {"contrastive": loss}
