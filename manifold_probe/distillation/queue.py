"""A first-in, first-out queue of unit vectors: keys from earlier batches.

It starts with random directions and accepts any batch size. The keys are buffers, so a state dict contains them and a
resumed run continues with the same keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from manifold_probe.distillation.gather import gather
from manifold_probe.distillation.tensors import unit
from manifold_probe.errors import InputError


class Queue(nn.Module):
    """Keys from earlier batches.

    Parameters
    ----------
    size, width : int
        Number of rows and of dimensions.
    seed : int
        Of the random directions at the start.

    Attributes
    ----------
    rows : Tensor, shape (size, width)
        The keys, at unit length.
    next : Tensor, shape ()
        Position of the next row to be replaced.

    Examples
    --------
    >>> queue = Queue(size=3, width=2)
    >>> queue.push(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    >>> queue.push(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
    >>> queue.rows
    tensor([[ 0., -1.],
            [ 0.,  1.],
            [ 1.,  0.]])
    """

    def __init__(self, size: int, width: int, seed: int = 0) -> None:
        super().__init__()
        if size < 1:
            raise InputError(f"a queue holds at least 1 row, got a size of {size}")
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("rows", unit(torch.randn(size, width, generator=generator)))
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))
        self.rows: Tensor
        self.next: Tensor

    def read(self) -> Tensor:
        """A copy of the keys, because the backward pass needs them after the next push."""
        return self.rows.clone()

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Replace the oldest keys by the rows (B, width) of all processes, at unit length."""
        size = len(self.rows)
        rows = gather(unit(rows.to(self.rows.dtype)))[-size:]
        positions = (self.next + torch.arange(len(rows), device=self.rows.device)) % size
        self.rows[positions] = rows
        self.next.copy_((self.next + len(rows)) % size)
