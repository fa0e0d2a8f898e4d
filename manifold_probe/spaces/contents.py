"""The contents of a file, before an entry is chosen.

A reader turns a file into `Contents`: named entries of known shape and type, not read yet. Opening an entry gives rows
whose reading cannot fail: a numpy array (mostly memory-mapped), a CPU torch tensor, or stacked shards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ID_NAMES = ("ids", "id")
LABEL_NAMES = ("labels", "label")
IN_MEMORY_FORMATS = ("array", "DataFrame")  # formats without a file
RESERVED = (*ID_NAMES, *LABEL_NAMES, "logits")


@dataclass(frozen=True)
class Entry:
    """One array of a file.

    ``open()`` gives an array-like with ``shape``, ``dtype``, slicing and indexing by an integer array. ``problem``
    completes the sentence "key 'x' ..." if the entry can be listed but not used (sparse, object, ...). If the entry is
    made of columns of a table, ``columns`` names them and ``left_out`` gives the reason for every other numeric column.
    ``lost`` completes the sentence "file ..." if the vectors are not those that were once stored (a quantised index).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    open: Callable[[], Any]
    problem: str | None = None
    columns: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    lost: str | None = None


@dataclass(frozen=True)
class Contents:
    """A file's path as the user typed it, the name of its format, and its entries in file order."""

    path: str
    format: str
    entries: dict[str, Entry]

    def find(self, names: tuple[str, ...], near: str = "") -> Entry | None:
        """The first entry with one of ``names``, preferably in the group of the entry ``near``.

        An exact match is preferred to one in other capitals ("ID").
        """
        group = near[: len(near) - len(last_part(near))]
        lowered = {name.lower(): entry for name, entry in reversed(self.entries.items())}
        for prefix in (group, ""):
            for name in names:
                if prefix + name in self.entries:
                    return self.entries[prefix + name]
            for name in names:
                if (prefix + name).lower() in lowered:
                    return lowered[(prefix + name).lower()]
        return None

    def listing(self, most: int = 8) -> str:
        """The first entries with their shapes, for messages: "a (100, 8), b (100,)"."""
        shown = [f"{entry.name[:40]} {entry.shape}" for entry in list(self.entries.values())[:most]]
        more = len(self.entries) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def array_entry(name: str, array: np.ndarray) -> Entry:
    """An entry for a numpy array in memory."""
    problem = "is a structured array: stack its fields into one (n, d) array" if array.dtype.names else None
    return Entry(name, array.shape, type_name(array.dtype), lambda: array, problem)


def type_name(dtype: np.dtype) -> str:
    """ "float32", "int64", ...; "str" for text of any width.

    NumPy stores the bfloat16 of ml_dtypes (jax, TensorFlow) as two raw bytes, and no other type in this way.

    >>> type_name(np.dtype("<U7")), type_name(np.dtype("V2"))
    ('str', 'bfloat16')
    """
    if dtype.kind in "UST":
        return "str"
    return "bfloat16" if is_bfloat16(dtype) else dtype.name


def is_bfloat16(dtype: np.dtype) -> bool:
    """Whether a NumPy type is ml_dtypes' bfloat16, or two raw bytes, as it is stored in a file."""
    return dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None and dtype.subdtype is None


def last_part(name: str) -> str:
    """ "train.ids" and "train/ids" both end in "ids"."""
    return name.replace("/", ".").rpartition(".")[2]
