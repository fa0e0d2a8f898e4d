"""What a file holds, before anything is chosen from it.

A reader turns a file into `Contents`: named entries of known shape and type, none of them read yet. Opening an entry
gives rows that never raise again: a numpy array (mostly memory-mapped), a CPU torch tensor, or stacked shards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ID_NAMES = ("ids", "id")
LABEL_NAMES = ("labels", "label")
IN_MEMORY = ("array", "DataFrame")  # formats without a file
RESERVED = (*ID_NAMES, *LABEL_NAMES, "logits")


@dataclass(frozen=True)
class Entry:
    """One array of a file.

    ``open()`` gives an array-like with ``shape``, ``dtype``, slicing and indexing by an integer array. ``problem``
    completes the sentence "key 'x' ..." when the entry can be listed but not used (sparse, object, ...). Where the
    entry is many columns of a table, ``columns`` names them and ``left`` says why other columns of numbers are none.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    open: Callable[[], Any]
    problem: str | None = None
    columns: tuple[str, ...] = ()
    left: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Contents:
    """A file's path as the user typed it, its format's name and its entries in file order."""

    path: str
    format: str
    entries: dict[str, Entry]

    def find(self, names: tuple[str, ...], beside: str = "") -> Entry | None:
        """The first entry called one of ``names``, preferring the group that the entry ``beside`` lives in.

        Capitals do not matter ("ID") where no entry is called so exactly.
        """
        group = beside[: len(beside) - len(last_part(beside))]
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
    """An entry for a numpy array that is already there."""
    problem = "is a structured array: stack its fields into one (n, d) array" if array.dtype.names else None
    return Entry(name, array.shape, type_name(array.dtype), lambda: array, problem)


def type_name(dtype: np.dtype) -> str:
    """ "float32", "int64", ...; "str" for text of any width.

    NumPy writes the bfloat16 of ml_dtypes (jax, TensorFlow) as plain two bytes: no other type is stored so.

    >>> type_name(np.dtype("<U7")), type_name(np.dtype("V2"))
    ('str', 'bfloat16')
    """
    if dtype.kind in "UST":
        return "str"
    return "bfloat16" if is_bfloat16(dtype) else dtype.name


def is_bfloat16(dtype: np.dtype) -> bool:
    """Whether a NumPy type is ml_dtypes' bfloat16, or what is left of it in a file."""
    return dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None and dtype.subdtype is None


def last_part(name: str) -> str:
    """ "train.ids" and "train/ids" both end in "ids"."""
    return name.replace("/", ".").rpartition(".")[2]
