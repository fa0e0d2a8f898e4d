"""Copies: rows that are identical to an earlier row in both spaces. They are each other's neighbours whatever the
student does, and a copy in the other half is not held out, so a diagnosis reads every distinct row once."""

from __future__ import annotations

import numpy as np

from manifold_probe.engine.rows import hash_rows
from manifold_probe.spaces.pairing import Pair

BLOCK = 8192


def distinct_rows(pair: Pair) -> np.ndarray:
    """Row numbers (m,), ascending, of the first of every set of rows that are identical in both spaces."""
    hashes = np.empty((pair.teacher.n, 2), dtype=np.uint64)
    for place, space in enumerate((pair.teacher, pair.student)):
        for start, block in space.blocks(BLOCK):
            hashes[start : start + len(block), place] = hash_rows(block)
    return np.sort(np.unique(hashes, axis=0, return_index=True)[1])
