"""CompRess-2q: "Self-Supervised Learning by Compressing Representations" (Koohpayegani et al., NeurIPS 2020, arXiv
2010.14713).

    p_i = softmax(Q_t t_i / tau),    q_i = softmax(Q_s s_i / tau)        all rows at unit length
    L   = mean_i KL(p_i || q_i)                          in [0, inf), zero where the similarities differ by a constant

Student and teacher rows are compared with their queues of the same earlier samples, so the widths may differ and
there is no head.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from manifold_probe.distillation.method import Method
from manifold_probe.distillation.queue import Queue
from manifold_probe.distillation.tensors import divergence, products, same_rows, unit
from manifold_probe.errors import InputError


def compress_loss(
    student: Tensor, teacher: Tensor, student_queue: Tensor, teacher_queue: Tensor, temperature: float = 0.04
) -> Tensor:
    """Mean over rows of the divergence between the teacher's and the student's similarities to their queues.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, Ds) and (B, Dt)
        Embeddings of the same B samples. Half precision is computed in float32. Detach the teacher.
    student_queue, teacher_queue : Tensor, shape (K, Ds) and (K, Dt)
        Rows of the same K earlier samples, at unit length.
    temperature : float

    Returns
    -------
    Tensor, shape ()
        In [0, 2 / temperature + log K).

    Examples
    --------
    >>> import torch
    >>> queue = torch.eye(3)
    >>> teacher = torch.tensor([[1.0, 0.0, 0.0]])
    >>> compress_loss(teacher, teacher, queue, queue)
    tensor(0.)
    >>> compress_loss(torch.ones(1, 3), teacher, queue, queue, temperature=1.0)  # against a uniform softmax
    tensor(0.1233)
    """
    student, teacher = same_rows(student, teacher)
    for name, queue, rows in (("student", student_queue, student), ("teacher", teacher_queue, teacher)):
        if queue.ndim != 2 or len(queue) != len(student_queue) or len(queue) == 0 or queue.shape[1] != rows.shape[1]:
            raise InputError(
                f"the {name}'s queue {tuple(queue.shape)} must be a non-empty (K, {rows.shape[1]}) tensor of unit "
                "rows, with the same K on both sides"
            )
    log_student = functional.log_softmax(products(unit(student), student_queue.to(student.dtype)) / temperature, 1)
    log_teacher = functional.log_softmax(products(unit(teacher), teacher_queue.to(teacher.dtype)) / temperature, 1)
    return divergence(log_teacher, log_student).mean()


class CompRess(Method):
    """CompRess with its two queues, which are read before the batch is pushed.

    The student's queue is filled with the student's rows; the released main script uses a momentum encoder.

    Parameters
    ----------
    student_width, teacher_width : int
    head : str, optional
        Published: none, at any widths.
    sample : Tensor, shape (n, teacher_width), optional
        For a pca head.
    queue_size : int
    temperature : float

    Examples
    --------
    >>> import torch
    >>> method = CompRess(4, 6, queue_size=100)
    >>> sorted(method(torch.randn(8, 4), torch.randn(8, 6)))
    ['similarity']
    >>> method.student_queue.next, method.teacher_queue.next
    (tensor(8), tensor(8))
    """

    equal_widths = False

    def __init__(
        self,
        student_width: int,
        teacher_width: int,
        *,
        head: str | None = None,
        sample: Tensor | None = None,
        queue_size: int = 128_000,
        temperature: float = 0.04,
    ) -> None:
        super().__init__(student_width, teacher_width, head=head, sample=sample)
        self.student_queue = Queue(queue_size, self.student_out, seed=0)
        self.teacher_queue = Queue(queue_size, self.teacher_out, seed=1)
        self.temperature = temperature

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Terms from student (B, student_width) and teacher (B, teacher_width); pushes to the queues in training."""
        student, teacher = self.embed(student, teacher)
        keys = self.student_queue.read(), self.teacher_queue.read()
        loss = compress_loss(student, teacher, *keys, self.temperature)
        if self.training:
            self.student_queue.push(student)
            self.teacher_queue.push(teacher)
        return {"similarity": loss}
