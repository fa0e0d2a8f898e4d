"""Packed bits: binary embeddings of d dimensions stored eight to a byte, read as rows of -1 and 1.

``FILE::key?bits`` (or ``FILE?bits`` for the file's default key) asks for it. The order is that of ``np.packbits``: the
first dimension is the highest bit of the first byte. int8 holds what sentence-transformers calls "binary", the same
bytes minus 128. Bytes that a table or JSON holds as wider integers will do, signed where one is negative. Where d is no
multiple of 8 the last columns are the zero bits that filled the last byte.

A bit of 0 becomes -1, the sign that it stands for. So both metrics rank rows by Hamming distance H, as whoever searches
binary embeddings does: |x - y|^2 = 4 H and cos(x, y) = 1 - 2 H / d. (Among rows of 0 and 1 the cosine ranks otherwise.)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from manifold_probe.spaces.checks import bad
from manifold_probe.spaces.contents import Entry
from manifold_probe.spaces.space import Space, to_numpy

SUFFIX = "?bits"


class UnpackedBits:
    """Bytes (n, b) sliced and indexed as rows (n, 8 b) of -1 and 1, unpacked only where they are read."""

    dtype = np.dtype(np.int8)

    def __init__(self, rows: Any, signed: bool) -> None:
        self._rows = rows
        self._signed = signed
        self.shape = (int(rows.shape[0]), 8 * int(rows.shape[1]))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        block = to_numpy(self._rows[rows]).astype(np.int16)  # room for the 128 of int8
        if self._signed:
            block += 128
        return np.unpackbits(block.astype(np.uint8), axis=1).astype(np.int8) * 2 - 1


def unpacked(path: str, entry: Entry) -> Entry:
    """The entry's bits, one dimension each.

    Raises
    ------
    InputError
        Where the entry, a matrix, holds no bytes.
    """
    signed = entry.dtype == "int8"
    if entry.dtype not in ("uint8", "int8"):
        low, high = byte_range(block for _, block in Space(entry.open()).blocks())
        signed = low < 0
        if low < -128 or high > (127 if signed else 255):
            raise bad(
                path, f"key '{entry.name}' has type {entry.dtype}: {SUFFIX} unpacks bytes (uint8, int8); leave it out"
            )
    shape = (entry.shape[0], 8 * entry.shape[1])
    return Entry(f"{entry.name}{SUFFIX}", shape, "int8", lambda: UnpackedBits(entry.open(), signed))


def byte_range(blocks: Iterable[np.ndarray]) -> tuple[float, float]:
    """The least and the greatest value of blocks of whole numbers; (-inf, inf) where one is not whole.

    >>> byte_range([np.array([[3.0, 255.0]])]), byte_range([np.array([[0.5]])])
    ((3.0, 255.0), (-inf, inf))
    """
    low, high = np.inf, -np.inf
    for block in blocks:
        if not (np.floor(block) == block).all():
            return -np.inf, np.inf
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    return low, high
