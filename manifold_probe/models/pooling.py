"""From a model's output to one vector a sample.

    tokens (B, N, D)      cls: x[:, 0]   mean: over N   flat: (B, N*D)     tokens: as it is
    maps (B, C, H, W)                    mean: over HW  flat: (B, C*H*W)   tokens: (B, H*W, C)
    vectors (B, D)        already pooled: as they are, whichever of these is asked

The last line lets one choice serve all layers of a model, among which some are vectors.
"""

from __future__ import annotations

import torch

from manifold_probe.errors import InputError

POOLINGS = ("cls", "mean", "tokens", "flat")


def pool(output: torch.Tensor, how: str | None, mask: torch.Tensor | None = None) -> torch.Tensor:
    """(B, D) float32, or (B, N, D) for "tokens".

    ``mask`` (B, N) is 1 on the tokens of a text and 0 on its padding, on either side. Padded texts have no common
    number of tokens, so with a mask only "cls" and "mean" are defined.

    Raises
    ------
    InputError
        Naming the shape and the choices.

    >>> pool(torch.tensor([[[1.0], [3.0], [9.0]]]), "mean", mask=torch.tensor([[1, 1, 0]]))
    tensor([[2.]])
    """
    if how is not None and how not in POOLINGS:
        raise InputError(f"--pool: {how!r} is not known; choose one of {', '.join(POOLINGS)}")
    shape = tuple(output.shape)
    x = output.float()
    if x.ndim == 2:
        return x
    if x.ndim not in (3, 4):
        raise InputError(f"output of shape {shape}: one of (B, D), (B, N, D) or (B, C, H, W) is needed")
    if how is None:
        choices = POOLINGS if x.ndim == 3 else POOLINGS[1:]
        raise InputError(f"output of shape {shape}: choose how to pool it, --pool {' or --pool '.join(choices)}")
    if x.ndim == 4:
        return _pool_maps(x, how)
    return _pool_tokens(x, how) if mask is None else _pool_texts(x, how, mask)


def _pool_tokens(x: torch.Tensor, how: str) -> torch.Tensor:
    if how == "cls":
        return x[:, 0]
    if how == "mean":
        return x.mean(1)
    return x.flatten(1) if how == "flat" else x


def _pool_maps(x: torch.Tensor, how: str) -> torch.Tensor:
    if how == "cls":
        shape = tuple(x.shape)
        raise InputError(f"output of shape {shape}: maps have no cls token; choose --pool {' or '.join(POOLINGS[1:])}")
    if how == "mean":
        return x.mean((2, 3))
    return x.flatten(1) if how == "flat" else x.flatten(2).transpose(1, 2)


def _pool_texts(x: torch.Tensor, how: str, mask: torch.Tensor) -> torch.Tensor:
    if mask.shape != x.shape[:2]:
        shapes = f"output of shape {tuple(x.shape)} and mask of shape {tuple(mask.shape)}"
        raise InputError(f"{shapes}: choose a layer that keeps the tokens")
    if how in ("tokens", "flat"):
        raise InputError(f"--pool {how}: texts differ in their number of tokens; choose --pool cls or --pool mean")
    if how == "cls":
        return x[torch.arange(len(x), device=x.device), mask.to(torch.int8).argmax(1)]
    weights = mask.to(x.dtype)[:, :, None]
    return (x * weights).sum(1) / weights.sum(1).clamp(min=1)
