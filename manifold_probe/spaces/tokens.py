"""Sets of vectors, such as the tokens of images, (n, N, d): each token as a row, or one vector a set.

tokens   (n N, d)   row i N + j is token j of set i, its id is "ID#j"
cls      (n, d)     the first token of every set
mean     (n, d)     the mean of its tokens
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.contents import Entry
from manifold_probe.spaces.space import Space, as_float

ROWS = ("tokens", "cls", "mean")


class TokenRows:
    """Sets (n, N, d), sliced and indexed as rows (n N, d); only the sets that are asked for are read."""

    def __init__(self, sets: Any) -> None:
        self._sets = sets
        count, self._tokens, width = sets.shape
        self.shape = (int(count) * int(self._tokens), int(width))
        self.dtype = sets.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice) and rows.step in (None, 1):
            start, stop, _ = rows.indices(len(self))
            first, last = start // self._tokens, -(-stop // self._tokens)
            block = as_float(self._sets[first:last]).reshape(-1, self.shape[1])
            return block[start - first * self._tokens : stop - first * self._tokens]
        rows = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        sets, place = np.unique(rows // self._tokens, return_inverse=True)
        return as_float(self._sets[sets])[place, rows % self._tokens]


class PooledRows:
    """Sets (n, N, d), sliced and indexed as rows (n, d): the first token of each, or the mean of its tokens."""

    def __init__(self, sets: Any, how: str) -> None:
        self._sets, self._how = sets, how
        self.shape = (int(sets.shape[0]), int(sets.shape[2]))
        self.dtype = sets.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        sets = self._sets[rows]
        return as_float(sets[:, 0]) if self._how == "cls" else as_float(sets).mean(axis=1)


def check_rows(rows: str | None) -> None:
    """Refuse an unknown way to read sets. Raises InputError."""
    if rows is not None and rows not in ROWS:
        raise InputError(f"--rows: {rows!r} is not known; choose one of {', '.join(ROWS)}")


def as_rows(entry: Entry, rows: str) -> Entry:
    """An entry of sets (n, N, d) as a matrix; a matrix stays as it is, its vectors are pooled already.

    >>> sets = np.arange(12.0).reshape(2, 3, 2)
    >>> entry = as_rows(Entry("features", sets.shape, "float64", lambda: sets), "tokens")
    >>> entry.shape, entry.open()[4:6].tolist()
    ((6, 2), [[8.0, 9.0], [10.0, 11.0]])
    """
    if len(entry.shape) == 2:
        return entry
    count, tokens, width = entry.shape
    if rows == "tokens":
        return replace(entry, shape=(count * tokens, width), open=lambda: TokenRows(entry.open()))
    return replace(entry, shape=(count, width), open=lambda: PooledRows(entry.open(), rows))


def token_ids(ids: np.ndarray, tokens: int) -> np.ndarray:
    """The ids (n tokens,) of the rows of n sets.

    >>> token_ids(np.array(["a", "b"]), 2).tolist()
    ['a#0', 'a#1', 'b#0', 'b#1']
    """
    places = np.tile(np.arange(tokens), len(ids)).astype(str)
    return np.char.add(np.char.add(np.repeat(ids.astype(str), tokens), "#"), places)


def per_token(values: Any, tokens: int | None, n: int) -> Any:
    """Values of sets (n / tokens,), such as labels, as those of their n tokens; others as they are.

    >>> per_token(["cat", "dog"], 2, 4).tolist()
    ['cat', 'cat', 'dog', 'dog']
    """
    if values is None or tokens is None or tokens * len(values) != n:
        return values
    return np.repeat(np.asarray(values), tokens)


def check_same_tokens(teacher: Space, student: Space) -> None:
    """Refuse sets of another number of tokens, whose tokens do not belong together. Raises InputError."""
    counts = teacher.source.tokens, student.source.tokens
    if counts[0] != counts[1]:
        raise InputError(
            f"{student.name}: has {counts[1]} tokens a set, {teacher.name} has {counts[0]}, and tokens pair by place; "
            "extract both with the same grid, or give --rows cls or mean"
        )
