"""Arrays concatenated along the rows, read lazily: the shards of a folder, the batches of a list."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.spaces.space import as_float


class Stacked:
    """Arrays (n_i, d) sliced and indexed as one (n, d); blocks are float32 or float64."""

    def __init__(self, parts: list[Any], dtype: str) -> None:
        self._parts = parts
        self._ends = np.cumsum([part.shape[0] for part in parts])
        self.shape = (int(self._ends[-1]), int(parts[0].shape[1]))
        self.dtype = dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        rows = np.asarray(rows)
        shard = np.searchsorted(self._ends, rows, side="right")
        pieces = []
        for index in np.unique(shard):
            part, positions = self._parts[index], np.flatnonzero(shard == index)
            local = rows[positions] - (self._ends[index] - part.shape[0])
            pieces.append((positions, as_float(part[_as_slice(local)])))
        if len(pieces) == 1:
            return pieces[0][1]
        out = np.empty((len(rows), self.shape[1]), pieces[0][1].dtype if pieces else np.float32)
        for positions, block in pieces:
            out[positions] = block
        return out


def _as_slice(rows: np.ndarray) -> slice | np.ndarray:
    # a memory map reads a slice faster than single rows
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if np.array_equal(rows, np.arange(first, last + 1)) else rows
