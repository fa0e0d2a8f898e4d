"""Heads: small maps from a student's width to its teacher's, or the reverse.

    identity           x                                            equal widths
    linear             W x + b
    mlp                W2 relu(W1 x + b1) + b2                       2048 hidden units, no batch norm: CoSS
    layernorm_linear   W layernorm(x) + b                           TinTeM, on the teacher's side; Proteus
    orthogonal         W x, with W'W = 1 or W W' = 1                a hard constraint: exact at every step
    pca                C x, with C the first principal directions   fixed, from a sample; rows are not centred

A head is rebuilt from its name and widths, and gets its weights from ``load_state_dict``; `saved_head` takes the widths
from the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from manifold_probe.errors import InputError

HEADS = ("identity", "linear", "mlp", "layernorm_linear", "orthogonal", "pca")
HIDDEN_UNITS = 2048


def make_head(name: str, width_in: int, width_out: int, sample: Tensor | None = None) -> nn.Module:
    """A head by its name.

    Parameters
    ----------
    name : str
        identity, linear, mlp, layernorm_linear, orthogonal or pca.
    width_in, width_out : int
        Dimensions of its input and output. To more dimensions an orthogonal head keeps lengths and angles; to fewer
        dimensions it is a rotation followed by a projection.
    sample : Tensor, shape (n, width_in), optional
        The sample for a pca head; more rows than ``width_out``. Without it the head holds NaN until
        ``load_state_dict``.

    Returns
    -------
    torch.nn.Module
        From (..., width_in) to (..., width_out).

    Raises
    ------
    InputError
        An unknown name (the message suggests the nearest), or widths that the head cannot have.

    Examples
    --------
    >>> head = make_head("orthogonal", 3, 5)
    >>> x = torch.tensor([[1.0, 2.0, 2.0]])
    >>> torch.allclose(head(x).norm(), torch.tensor(3.0))
    True
    """
    if name not in HEADS:
        near = get_close_matches(name.lower(), HEADS, 1, 0)
        raise InputError(f"no head is called {name!r}; did you mean {near[0]!r}? There are {', '.join(HEADS)}")
    if width_in < 1 or width_out < 1:
        raise InputError(f"a head's widths must be at least 1, got {width_in} and {width_out}")
    match name:
        case "linear":
            return nn.Linear(width_in, width_out)
        case "mlp":
            return nn.Sequential(nn.Linear(width_in, HIDDEN_UNITS), nn.ReLU(), nn.Linear(HIDDEN_UNITS, width_out))
        case "layernorm_linear":
            return nn.Sequential(nn.LayerNorm(width_in), nn.Linear(width_in, width_out))
        case "orthogonal":
            return nn.utils.parametrizations.orthogonal(nn.Linear(width_in, width_out, bias=False))
        case "pca":
            return PCA(width_in, width_out, sample)
    if width_in != width_out:
        raise InputError(
            f"the identity head needs equal widths, got {width_in} and {width_out}; choose linear, mlp or orthogonal"
        )
    return nn.Identity()


def saved_head(name: str, state: Mapping[str, Tensor]) -> nn.Module:
    """The head for a saved name and its weights, before the weights are loaded; a classifier is a linear layer.

    >>> saved_head("mlp", make_head("mlp", 3, 5).state_dict())(torch.ones(2, 3)).shape
    torch.Size([2, 5])
    """
    matrices = [weight for weight in state.values() if isinstance(weight, Tensor) and weight.ndim == 2]
    matrices = matrices[:1] if name == "orthogonal" else matrices  # its second matrix is a square base
    if not matrices:
        return nn.Identity()
    return make_head(
        "linear" if set(state) == {"weight", "bias"} else name, matrices[0].shape[1], matrices[-1].shape[0]
    )


class Headed(nn.Module):
    """A backbone with pooling, and the head on it: (B, d').

    Parameters
    ----------
    backbone, head : torch.nn.Module
    embed : callable
        The backbone's vectors (B, d) of the module's input.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, embed: Callable[..., Tensor]) -> None:
        super().__init__()
        self.backbone, self.head, self.embed = backbone, head, embed

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """The head's output (B, d') for a batch."""
        output: Tensor = self.head(self.embed(*inputs, **named).float())
        return output


class PCA(nn.Module):
    """Projection on the first principal directions of a sample, without trained parameters.

    The directions are those of the centred sample, but rows are projected without centring, because cosines are
    relative to the origin.

    Parameters
    ----------
    width_in, width_out : int
        ``width_out`` at most ``width_in``.
    sample : Tensor, shape (n, width_in), optional
        See :func:`make_head`.

    Examples
    --------
    >>> head = PCA(2, 1, torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.1]]))
    >>> head(torch.tensor([[3.0, 4.0]])).round()
    tensor([[3.]])
    """

    def __init__(self, width_in: int, width_out: int, sample: Tensor | None = None) -> None:
        super().__init__()
        if width_out > width_in:
            raise InputError(f"a pca head cannot widen {width_in} dimensions to {width_out}; choose linear or mlp")
        if sample is None:
            directions = torch.full((width_out, width_in), float("nan"))
        else:
            directions = _principal_directions(sample, width_in, width_out)
        self.register_buffer("directions", directions)
        self.directions: Tensor

    def forward(self, rows: Tensor) -> Tensor:
        """Rows (..., width_in) in the principal directions: (..., width_out)."""
        return rows @ self.directions.mT


def _principal_directions(sample: Tensor, width_in: int, width_out: int) -> Tensor:
    if sample.ndim != 2 or sample.shape[1] != width_in or len(sample) <= width_out:
        raise InputError(
            f"the pca head's sample {tuple(sample.shape)} must be (n, {width_in}) with n above {width_out}; "
            "give more rows of the teacher's features"
        )
    rows = sample.detach().double()
    rows = rows - rows.mean(0)
    directions = torch.linalg.eigh(rows.mT @ rows).eigenvectors.mT.flip(0)[:width_out]
    # The sign of an eigenvector depends on the solver: make the largest entry positive, for the same result everywhere.
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return (directions * largest.sign()).float()
