"""Mean squared error: the student reproduces the teacher's values, including norms and offset.

    L = 1/(B D) sum_ij (S_ij - T_ij)^2                   in [0, inf), zero only at S = T

Proteus (Zhang et al., ICLR 2025) minimises it on class token, features and masked patches; this is the pooled term.
"""

from __future__ import annotations

from torch import Tensor

from manifold_probe.distillation.method import Method
from manifold_probe.distillation.tensors import same_shape


def mse_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over rows and dimensions of the squared difference.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, D)
        Embeddings of the same B samples. Half precision is computed in float32. Detach the teacher.

    Returns
    -------
    Tensor, shape ()
        In [0, inf).

    Examples
    --------
    >>> import torch
    >>> mse_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 4.0]]))
    tensor(2.)
    """
    student, teacher = same_shape(student, teacher)
    return (student - teacher).square().mean()


class MSE(Method):
    """Mean squared error after Proteus's head: LayerNorm - Linear on the student's side, also for equal widths.

    Parameters
    ----------
    student_width, teacher_width : int
    head : str, optional
        Published: layernorm_linear.
    sample : Tensor, shape (n, teacher_width), optional
        For a pca head.

    Examples
    --------
    >>> import torch
    >>> sorted(MSE(4, 6)(torch.randn(8, 4), torch.randn(8, 6)))
    ['squared_error']
    """

    sees_lengths = True
    published_head = "layernorm_linear"
    published_when_equal = True

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Terms from student (B, student_width) and teacher (B, teacher_width)."""
        return {"squared_error": mse_loss(*self.embed(student, teacher))}
