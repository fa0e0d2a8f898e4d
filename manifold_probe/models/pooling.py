"""Pooling of a model's output to one vector per sample.

    tokens (B, N, D)      cls: x[:, 0]   mean: over N   flat: (B, N*D)     tokens: unchanged
    texts (B, N, D)       cls: the first token   last: the last token   mean: over the tokens, without padding
    maps (B, C, H, W)                    mean: over HW  flat: (B, C*H*W)   tokens: (B, H*W, C)
    vectors (B, D)        unchanged with every choice

The last line allows one choice for all layers of a model, of which some are vectors. "projection" takes the vectors
(B, D) to which a model projects its hidden states, without pooling: see `one_tensor`.
"""

from __future__ import annotations

import torch

from manifold_probe.errors import InputError

POOLINGS = ("cls", "last", "mean", "tokens", "flat", "projection")
OF_TOKENS, OF_TEXTS, OF_MAPS = ("cls", "mean", "tokens", "flat"), ("cls", "last", "mean"), ("mean", "tokens", "flat")


def pool(output: torch.Tensor, how: str | None, mask: torch.Tensor | None = None) -> torch.Tensor:
    """(B, D) float32, or (B, N, D) for "tokens".

    ``mask`` (B, N) is 1 for the tokens of a text and 0 for padding, on either side. Texts differ in their number of
    tokens, so with a mask only "cls", "last" and "mean" are defined.

    Raises
    ------
    InputError
        With the shape and the choices.

    >>> pool(torch.tensor([[[1.0], [3.0], [9.0]]]), "mean", mask=torch.tensor([[1, 1, 0]]))
    tensor([[2.]])
    >>> pool(torch.tensor([[[1.0], [3.0], [9.0]]]), "last", mask=torch.tensor([[1, 1, 0]]))
    tensor([[3.]])
    """
    if how is not None and how not in POOLINGS:
        raise InputError(f"--pool: {how!r} is not known; choose one of {', '.join(POOLINGS)}")
    shape = tuple(output.shape)
    x = output.float()
    if x.ndim == 2:
        return x
    if x.ndim not in (3, 4):
        raise InputError(f"output of shape {shape}: one of (B, D), (B, N, D) or (B, C, H, W) is needed")
    choices = OF_MAPS if x.ndim == 4 else OF_TOKENS if mask is None else OF_TEXTS
    if how is None or how not in choices:
        listed = " or ".join(f"--pool {choice}" for choice in choices)
        problem = "choose how to pool it," if how is None else f"{_problem(how, x.ndim, mask)}; choose"
        raise InputError(f"output of shape {shape}: {problem} {listed}")
    if x.ndim == 4:
        return _pool_maps(x, how)
    return _pool_tokens(x, how) if mask is None else _pool_texts(x, how, mask)


def _problem(how: str, ndim: int, mask: torch.Tensor | None) -> str:
    """The reason why a pooling does not fit."""
    if how == "projection":
        return "it is not a projected embedding"
    if ndim == 4:
        return f"maps have no {how} token"
    if mask is not None:
        return f"--pool {how}: texts differ in their number of tokens"
    return f"--pool {how}: it is only for texts"


def _pool_tokens(x: torch.Tensor, how: str) -> torch.Tensor:
    if how == "cls":
        return x[:, 0]
    if how == "mean":
        return x.mean(1)
    return x.flatten(1) if how == "flat" else x


def _pool_maps(x: torch.Tensor, how: str) -> torch.Tensor:
    if how == "mean":
        return x.mean((2, 3))
    return x.flatten(1) if how == "flat" else x.flatten(2).transpose(1, 2)


def _pool_texts(x: torch.Tensor, how: str, mask: torch.Tensor) -> torch.Tensor:
    if mask.shape != x.shape[:2]:
        shapes = f"output of shape {tuple(x.shape)} and mask of shape {tuple(mask.shape)}"
        raise InputError(f"{shapes}: choose a layer that keeps the tokens")
    rows, positions = torch.arange(len(x), device=x.device), torch.arange(1, x.shape[1] + 1, device=x.device)
    if how == "cls":
        return x[rows, mask.to(torch.int8).argmax(1)]
    if how == "last":
        return x[rows, (mask.to(positions.dtype) * positions).argmax(1)]
    weights = mask.to(x.dtype)[:, :, None]
    return (x * weights).sum(1) / weights.sum(1).clamp(min=1)
