"""The rows of all processes, with gradients: negatives across processes.

Every process computes the same loss of the joined batch, and the backward pass adds the gradients of all processes for
a row. Averaging the parameters' gradients over processes afterwards, as DistributedDataParallel does, gives the
gradient of one process with the joined batch. All processes must have the same number of rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def gather(rows: Tensor) -> Tensor:
    """The rows of all processes, in the order of their ranks; without a process group, the input.

    Parameters
    ----------
    rows : Tensor, shape (B, ...)

    Returns
    -------
    Tensor, shape (processes * B, ...)

    Examples
    --------
    >>> gather(torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return rows
    return _Gather.apply(rows)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(gradient)
        return gradient.chunk(distributed.get_world_size())[distributed.get_rank()]
