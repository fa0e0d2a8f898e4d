"""Decoded blocks gathered into one array, in memory or in a temporary file.

Compressed formats cannot be memory-mapped. All decoded arrays together may use 512 MiB of memory; further rows go to a
temporary file that is memory-mapped, so that neither a large file nor a hundred shards fill the memory. The file has no
name and is deleted with the array.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from collections.abc import Iterable

import numpy as np

from manifold_probe.spaces.checks import bad

MEMORY_BYTES = 512 * 2**20
_bytes_in_memory: dict[int, int] = {}  # of the decoded arrays that are still alive, by their id()


def gather(blocks: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype | str, path: str) -> np.ndarray:
    """The blocks concatenated along the first axis.

    ``shape[0]`` is an upper bound: the result ends where the blocks end. Raises InputError when the temporary disk is
    too small, ValueError when the blocks hold more rows than ``shape[0]``.
    """
    dtype = np.dtype(dtype)
    needed = math.prod(shape) * dtype.itemsize
    if sum(_bytes_in_memory.values()) + needed > MEMORY_BYTES:
        return _gather_on_disk(blocks, shape, dtype, path)
    out = np.empty(shape, dtype)
    _bytes_in_memory[id(out)] = needed
    weakref.finalize(out, _bytes_in_memory.pop, id(out), None)
    filled = 0
    for block in blocks:
        out[filled : filled + len(block)] = block
        filled += len(block)
    return out[:filled]


def _gather_on_disk(blocks: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype, path: str) -> np.ndarray:
    needed = math.prod(shape) * dtype.itemsize
    folder = tempfile.gettempdir()
    full = bad(path, f"needs {needed:,} bytes of temporary disk to unpack, more than {folder} has; set TMPDIR")
    if shutil.disk_usage(folder).free < needed:
        raise full
    filled = 0
    with tempfile.TemporaryFile() as file:
        for block in blocks:
            filled += len(block)
            if filled > shape[0]:
                raise ValueError(f"more than the {shape[0]} rows expected")
            try:  # written, not memory-mapped: there a full disk would crash the process
                file.write(np.ascontiguousarray(block, dtype=dtype).data)
            except OSError as error:
                raise full from error
        file.flush()
        return np.memmap(file, dtype, "r", shape=(filled, *shape[1:])) if filled else np.empty((0, *shape[1:]), dtype)
