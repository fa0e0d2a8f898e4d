"""A batch in parts, for memory: the loss and its gradients are those of the whole batch.

The losses here compare the rows of a batch with each other, so those of its parts do not add up to it. Instead

    1. every part runs forward without gradients         S = [S_1; ...; S_m]
    2. the loss of the whole batch gives G = dL/dS       and the gradients of heads that stand in the loss
    3. every part runs forward again, and backward from its rows of G

so that memory holds one part at a time, for one more forward pass (Gao, Zhang, Han & Callan 2021, arXiv 2101.06983).
Both passes draw the same random numbers. Batch normalisation sees a part at a time, and counts it once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def parts_of(batch: Any, parts: int) -> list[Any]:
    """A batch, a tensor (B, ...) or a dict of such, in ``parts`` of nearly equal size.

    >>> [part.tolist() for part in parts_of(torch.arange(4), 2)]
    [[0, 1], [2, 3]]
    """
    if not isinstance(batch, Mapping):
        return list(torch.tensor_split(batch, parts))
    split = {
        name: parts_of(value, parts) if isinstance(value, Tensor) else [value] * parts for name, value in batch.items()
    }
    return [{name: pieces[place] for name, pieces in split.items()} for place in range(parts)]


def outputs_of(forward: Callable[[Any], Tensor], module: nn.Module, parts: list[Any]) -> Tensor:
    """Step 1: the outputs (B, ...) of all parts, detached; random state and buffers of ``module`` stay as they were."""
    buffers = [buffer.clone() for buffer in module.buffers()]
    devices = {parameter.device for parameter in module.parameters() if parameter.device.type == "cuda"}
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        outputs = torch.cat([forward(part) for part in parts])
    for buffer, before in zip(module.buffers(), buffers, strict=True):
        buffer.copy_(before)
    return outputs.requires_grad_()


def backward(forward: Callable[[Any], Tensor], parts: list[Any], outputs: Tensor) -> None:
    """Step 3: the gradients of the module behind ``forward``, from those that the loss left in ``outputs``."""
    assert outputs.grad is not None
    start = 0
    for part in parts:
        output = forward(part)
        output.backward(outputs.grad[start : start + len(output)].to(output.dtype))
        start += len(output)
