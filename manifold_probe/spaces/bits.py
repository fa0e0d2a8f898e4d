"""Packed bits: binary embeddings of d dimensions stored eight to a byte, read as rows of -1 and 1.

``FILE::key?bits`` (or ``FILE?bits`` for the file's default key) asks for it. The order is that of ``np.packbits``: the
first dimension is the highest bit of the first byte. int8 holds what sentence-transformers calls "binary", the same
bytes minus 128. Where d is no multiple of 8 the last columns are the zero bits that filled the last byte.

A bit of 0 becomes -1, the sign that it stands for. So both metrics rank rows by Hamming distance H, as whoever searches
binary embeddings does: |x - y|^2 = 4 H and cos(x, y) = 1 - 2 H / d. (Among rows of 0 and 1 the cosine ranks otherwise.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.spaces.checks import bad
from manifold_probe.spaces.contents import Entry
from manifold_probe.spaces.space import to_numpy

SUFFIX = "?bits"


class UnpackedBits:
    """Bytes (n, b) sliced and indexed as rows (n, 8 b) of -1 and 1, unpacked only where they are read."""

    dtype = np.dtype(np.int8)

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self.shape = (int(rows.shape[0]), 8 * int(rows.shape[1]))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        block = to_numpy(self._rows[rows]).astype(np.int16)  # room for the 128 of int8
        if self._rows.dtype in (np.int8, "int8"):
            block += 128
        return np.unpackbits(block.astype(np.uint8), axis=1).astype(np.int8) * 2 - 1


def unpacked(path: str, entry: Entry) -> Entry:
    """The entry's bits, one dimension each.

    Raises
    ------
    InputError
        Where the entry, a matrix, holds no bytes.
    """
    if entry.dtype not in ("uint8", "int8"):
        raise bad(
            path, f"key '{entry.name}' has type {entry.dtype}: {SUFFIX} unpacks bytes (uint8, int8); leave it out"
        )
    shape = (entry.shape[0], 8 * entry.shape[1])
    return Entry(f"{entry.name}{SUFFIX}", shape, "int8", lambda: UnpackedBits(entry.open()))
