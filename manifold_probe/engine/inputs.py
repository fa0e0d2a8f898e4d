"""What the public measures accept: arrays, tensors, frames and spaces become float64 matrices of the same rows."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.checks import check_finite
from manifold_probe.spaces.columns import clean_column
from manifold_probe.spaces.labels import is_labelled, marked
from manifold_probe.spaces.read import as_space
from manifold_probe.spaces.space import Space


def as_matrix(x: Any, name: str = "x") -> np.ndarray:
    """A float64 matrix (n, d) from what `as_space` takes: array, tensor, list, dict, DataFrame, Space or path.

    Raises
    ------
    InputError
        Where the shape is not (n, d) with n >= 2 and d >= 1, or a value is NaN or infinite.
    """
    return _matrix(as_space(x, name))


def as_matrices(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two float64 matrices (n, dx) and (n, dy) whose rows belong together.

    Raises
    ------
    InputError
        As `as_matrix`; where the row counts differ; where both name their rows, and not alike.
    """
    one, two = as_space(x, "x"), as_space(y, "y")
    if one.n != two.n:
        raise InputError(f"x has {one.n} rows and y has {two.n}; give the same rows in the same order")
    check_same_rows(x=_row_names(x, one), y=_row_names(y, two))
    return _matrix(one), _matrix(two)


def _matrix(space: Space) -> np.ndarray:
    block = space.read(0, space.n)
    check_finite(block, 0, space)
    return block.astype(np.float64, copy=False)


def check_same_labels(x: Any, labels: Any) -> None:
    """Refuse labels in a Series or DataFrame whose index is not that of the frame ``x``."""
    check_same_rows(x=_index(x), labels=_index(labels))


def _row_names(thing: Any, space: Space) -> np.ndarray | None:
    return _index(thing) if space.ids is None else space.ids


def _index(thing: Any) -> np.ndarray | None:
    """The index of a Series or DataFrame."""
    pandas = sys.modules.get("pandas")
    framed = pandas is not None and isinstance(thing, pandas.Series | pandas.DataFrame)
    return thing.index.to_numpy() if framed else None


def check_same_rows(**names: np.ndarray | None) -> None:
    """Refuse two things that name their rows (n,) differently: nothing here joins them, as `compare` does.

    Raises
    ------
    InputError
        With the first row that differs and how to bring the rows together.
    """
    (first, one), (second, two) = names.items()
    if one is None or two is None or len(one) != len(two):
        return
    if one.dtype.kind != two.dtype.kind or one.dtype == object:
        one, two = one.astype(str), two.astype(str)
    if np.array_equal(one, two):
        return
    row = int(np.argmax(one != two))
    raise InputError(
        f"{first} and {second} name their rows differently (row {row}: {one[row]!s:.40} and {two[row]!s:.40}); "
        f"bring them into one order, {second} = {second}.loc[{first}.index], or give arrays, "
        f"{first}.to_numpy() and {second}.to_numpy()"
    )


def as_codes(labels: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Class codes 0..C-1 (n,) in the labels' sorted order, -1 for rows without a label, and the class names (C,).

    Raises
    ------
    InputError
        Where labels are no integers or strings, not one a row, or no row has one.
    """
    column = clean_column(labels, "labels", "labels")
    if column.shape != (n,):
        raise InputError(f"labels have shape {column.shape}; give one label a row, shape ({n},)")
    codes, names = codes_of(marked(column))
    if not len(names):
        raise InputError("labels: no row has one; give labels of some rows")
    return codes, names


def codes_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class codes (n,) and names (C,) of a label column of a Space, -1 for rows without a label."""
    known = is_labelled(labels)
    codes = np.full(len(labels), -1)
    names, codes[known] = np.unique(labels[known], return_inverse=True)
    return codes, names


def as_whole(value: Any) -> int | None:
    """The whole number that ``value`` is, 5 for 5.0 too; None where it is none.

    >>> as_whole(5.0), as_whole(np.int8(5)), as_whole(5.5), as_whole(True)
    (5, 5, None, None)
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    return int(value) if isinstance(value, float | np.floating) and float(value).is_integer() else None


def check_k(k: Any, n: int) -> int:
    """k as an int with 1 <= k < n."""
    whole = as_whole(k)
    if whole is None or not 1 <= whole < n:
        raise InputError(f"k = {k!r} does not fit {n} rows; give a whole number with 1 <= k <= {n - 1}")
    return whole


def check_seed(seed: Any) -> int:
    """A seed as an int with 0 <= seed < 2^32."""
    whole = as_whole(seed)
    if whole is None or not 0 <= whole < 2**32:
        raise InputError(f"seed is {seed!r}; give a whole number of at least 0 and below {2**32:,}")
    return whole


def check_metric(metric: str) -> str:
    """ "cosine" or "euclidean"."""
    if metric not in ("cosine", "euclidean"):
        raise InputError(f"metric {metric!r} is not known; give 'cosine' or 'euclidean'")
    return metric
