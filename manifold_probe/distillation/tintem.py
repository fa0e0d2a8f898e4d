"""TinTeM ("Faithful Label-free Knowledge Distillation", Mannix, Hodgkinson & Bondell, arXiv 2411.15239), renamed
CosPress in its later versions (TMLR 2025) with no change of method.

The head h is on the teacher's side and learns to keep neighbourhoods; the student then learns the directions of h(T).

    G        = cosines of all pairs of rows, without the diagonal
    p(j | i) = softmax over j of G_ij / tau,    P_ij = (p(j | i) + p(i | j)) / 2B             the sum over pairs is 1
    L_sne    = mean over tau of KL(P of T || P of h(T))                                      trains h alone
    L_token  = mean_i (1 - cos(S_i, h(T_i))),   L_feature = the same on flattened token sets  train the student alone

With token sets (B, N, D) L_sne is taken twice: of the class tokens of the batch, and of the tokens within each image.
L_sne does not change with the scale of a row or with a constant added to all off-diagonal cosines. An orthogonal map
into fewer dimensions can nearly minimise it, so h becomes nearly orthogonal without a constraint.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from manifold_probe.distillation.cosine import cosine_loss
from manifold_probe.distillation.gather import gather as gather_rows
from manifold_probe.distillation.method import Method
from manifold_probe.distillation.tensors import (
    as_floats,
    at_least_two,
    diagonal,
    divergence,
    same_shape,
    similarities,
)
from manifold_probe.errors import InputError

TEMPERATURES = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.10)
EXCLUDED = -1e8  # as released; minus infinity would make the gradient NaN


def neighbour_embedding_loss(head: Tensor, teacher: Tensor, temperatures: Sequence[float] = TEMPERATURES) -> Tensor:
    """L_sne: divergence of the pair probabilities after the head from those before it.

    Parameters
    ----------
    head, teacher : Tensor, shape (B, D) or (B, N, D)
        The teacher's features after and before its head; the widths may differ. For token sets (B, N, D) the pairs are
        within an image, and the loss is the mean over images. Half precision is computed in float32.
    temperatures : sequence of float
        Every temperature gives a neighbourhood of another size.

    Returns
    -------
    Tensor, shape ()
        In [0, inf): zero if all off-diagonal cosines agree up to one constant, and always for 2 rows.

    Raises
    ------
    InputError
        Fewer than 2 rows (or tokens), or shapes that do not match.

    Examples
    --------
    >>> teacher = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.4, 0.0], [0.0, 1.0, 0.0]])
    >>> neighbour_embedding_loss(5 * teacher[:, :2], teacher).abs() < 1e-6  # a projection that loses nothing
    tensor(True)
    >>> neighbour_embedding_loss(teacher[:, :1], teacher) > 0.01
    tensor(True)
    """
    if head.ndim not in (2, 3) or head.shape[:-1] != teacher.shape[:-1] or 0 in (*head.shape, *teacher.shape):
        raise InputError(
            f"head {tuple(head.shape)} and teacher {tuple(teacher.shape)} must be non-empty (B, D) or (B, N, D) "
            "tensors of the same samples; only the widths may differ"
        )
    at_least_two(head.shape[-2], "rows" if head.ndim == 2 else "tokens an image")
    head, teacher = as_floats(head, teacher)
    near_head, near_teacher = _other_cosines(head), _other_cosines(teacher)
    losses = [divergence(_log_joint(near_teacher / t), _log_joint(near_head / t)).mean() for t in temperatures]
    return torch.stack(losses).mean()


def _other_cosines(rows: Tensor) -> Tensor:
    """Cosines between all rows (..., B, D), with EXCLUDED on the diagonal: (..., B, B)."""
    return similarities(rows, rows).masked_fill(diagonal(rows.shape[-2], rows), EXCLUDED)


def _log_joint(logits: Tensor) -> Tensor:
    """log P_ij over pairs (..., B * B); in logarithms, because exp(-2 / 0.01) underflows in float32."""
    conditional = functional.log_softmax(logits, -1)
    joint = torch.logaddexp(conditional, conditional.mT) - math.log(2 * logits.shape[-1])
    return joint.flatten(-2)


def token_set_loss(student: Tensor, head: Tensor) -> Tensor:
    """Mean over images of one minus the cosine of the flattened token sets: L_feature.

    Parameters
    ----------
    student, head : Tensor, shape (B, N, D)
        Tokens of the same B images, the class token among them; ``head`` is the teacher's after its head, detached.

    Returns
    -------
    Tensor, shape ()
        In [0, 2]. Unlike a mean over tokens it depends on the relative norms of an image's tokens.

    Examples
    --------
    >>> tokens = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])
    >>> token_set_loss(2 * tokens, tokens)
    tensor(0.)
    >>> token_set_loss(torch.tensor([[[3.0, 0.0], [0.0, 0.0]]]), tokens)  # cosine 3/5
    tensor(0.4000)
    """
    student, head = same_shape(student, head, "(B, N, D)")
    return cosine_loss(student.flatten(1), head.flatten(1))


class TinTeM(Method):
    """TinTeM with its head LayerNorm - Linear on the teacher's side; the student has no head.

    Parameters
    ----------
    student_width, teacher_width : int
    head : str, optional
        Published: layernorm_linear, also for equal widths. Any head is on the teacher's side.
    sample : Tensor, shape (n, teacher_width), optional
        For a pca head.
    temperatures : sequence of float
        See :func:`neighbour_embedding_loss`.
    gather : bool
        Use the joined batch of all processes for the neighbours, as published.

    Examples
    --------
    >>> method = TinTeM(4, 6)
    >>> sorted(method(torch.randn(8, 4), torch.randn(8, 6)))
    ['neighbour', 'token']
    >>> sorted(method(torch.randn(8, 5, 4), torch.randn(8, 5, 6)))  # token sets, the class token first
    ['feature', 'neighbour', 'neighbour_local', 'token']
    """

    published_head = "layernorm_linear"
    published_when_equal = True
    head_on_teacher = True

    def __init__(
        self,
        student_width: int,
        teacher_width: int,
        *,
        head: str | None = None,
        sample: Tensor | None = None,
        temperatures: Sequence[float] = TEMPERATURES,
        gather: bool = True,
    ) -> None:
        super().__init__(student_width, teacher_width, head=head, sample=sample)
        self.temperatures, self.gather = tuple(temperatures), gather

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Terms from student (B, student_width) and teacher (B, teacher_width), or (B, N, width) token sets."""
        student, head = self.embed(student, teacher)
        teacher, target = teacher.detach(), head.detach()
        if student.ndim == 2:
            return self._pooled(student, head, teacher, target)
        return self._pooled(*(tokens[:, 0] for tokens in (student, head, teacher, target))) | {
            "neighbour_local": neighbour_embedding_loss(head, teacher, self.temperatures),
            "feature": token_set_loss(student, target),
        }

    def _pooled(self, student: Tensor, head: Tensor, teacher: Tensor, target: Tensor) -> dict[str, Tensor]:
        if self.gather:
            head, teacher = gather_rows(head), gather_rows(teacher)
        return {
            "neighbour": neighbour_embedding_loss(head, teacher, self.temperatures),
            "token": cosine_loss(student, target),
        }


CosPress = TinTeM
