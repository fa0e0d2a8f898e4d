"""Copies: rows that are identical to an earlier row in both spaces. They are each other's neighbours in any student,
and a copy in the other half is not held out, so a diagnosis uses every distinct row once."""

from __future__ import annotations

import numpy as np

from manifold_probe.engine.rows import hash_rows
from manifold_probe.spaces.pairing import Pair

BLOCK = 8192
COLLAPSED_SHARE = 0.5  # of the teacher's distinct rows


def distinct_rows(pair: Pair) -> np.ndarray:
    """Row numbers (m,), ascending, of the first of every set of rows that are identical in both spaces."""
    return np.sort(np.unique(hashes_of(pair), axis=0, return_index=True)[1])


def hashes_of(pair: Pair) -> np.ndarray:
    """(n, 2): a hash of every row of the teacher and of the student."""
    hashes = np.empty((pair.teacher.n, 2), dtype=np.uint64)
    for place, space in enumerate((pair.teacher, pair.student)):
        for start, block in space.blocks(BLOCK):
            hashes[start : start + len(block), place] = hash_rows(block)
    return hashes


def fell_together(pair: Pair) -> bool:
    """Whether most rows of the student are copies but not in the teacher: a collapse, not another order."""
    teacher_count, student_count = (len(np.unique(column)) for column in hashes_of(pair).T)
    return student_count < COLLAPSED_SHARE * teacher_count
