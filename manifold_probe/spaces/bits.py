"""Packed bits: binary embeddings of d dimensions stored eight to a byte, read as rows of -1 and 1.

They are read with ``FILE::key?bits`` (or ``FILE?bits`` for the file's default key). The order is that of
``np.packbits``: the first dimension is the highest bit of the first byte. int8 is the "binary" type of
sentence-transformers, the same bytes minus 128. Tables and JSON may hold the bytes as wider integers, which are signed
if one is negative. If d is not a multiple of 8, the last columns are the zero bits that fill the last byte.

A bit of 0 becomes -1. So both metrics rank rows by Hamming distance H, as searches of binary embeddings do:
|x - y|^2 = 4 H and cos(x, y) = 1 - 2 H / d. (With rows of 0 and 1 the cosine gives another order.)
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
    """Bytes (n, b) sliced and indexed as rows (n, 8 b) of -1 and 1, unpacked when they are read."""

    dtype = np.dtype(np.int8)

    def __init__(self, rows: Any, signed: bool) -> None:
        self._rows = rows
        self._signed = signed
        self.shape = (int(rows.shape[0]), 8 * int(rows.shape[1]))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        block = to_numpy(self._rows[rows]).astype(np.int16)  # int8 has no room for + 128
        if self._signed:
            block += 128
        return np.unpackbits(block.astype(np.uint8), axis=1).astype(np.int8) * 2 - 1


def unpacked(path: str, entry: Entry) -> Entry:
    """The bits of a matrix entry as dimensions.

    Raises
    ------
    InputError
        If the entry does not hold bytes.
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
    """The lowest and the highest value of blocks of whole numbers; (-inf, inf) if one is not whole.

    >>> byte_range([np.array([[3.0, 255.0]])]), byte_range([np.array([[0.5]])])
    ((3.0, 255.0), (-inf, inf))
    """
    low, high = np.inf, -np.inf
    for block in blocks:
        if not (np.floor(block) == block).all():
            return -np.inf, np.inf
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    return low, high
