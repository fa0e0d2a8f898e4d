"""Input of the public measures: arrays, tensors, frames and spaces become float64 matrices of the same rows."""

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
    """A float64 matrix (n, d) from any input of `as_space`: array, tensor, list, dict, DataFrame, Space or path.

    Raises
    ------
    InputError
        If the shape is not (n, d) with n >= 2 and d >= 1, or a value is NaN or infinite.
    """
    return _matrix(as_space(x, name))


def as_matrices(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two float64 matrices (n, dx) and (n, dy) of the same rows.

    Raises
    ------
    InputError
        As in `as_matrix`; if the numbers of rows differ; or if both have row names that differ.
    """
    x_space, y_space = as_space(x, "x"), as_space(y, "y")
    if x_space.n != y_space.n:
        raise InputError(f"x has {x_space.n} rows and y has {y_space.n}; give the same rows in the same order")
    check_same_rows(x=_row_names(x, x_space), y=_row_names(y, y_space))
    return _matrix(x_space), _matrix(y_space)


def _matrix(space: Space) -> np.ndarray:
    block = space.read(0, space.n)
    check_finite(block, 0, space)
    return block.astype(np.float64, copy=False)


def check_same_labels(x: Any, labels: Any) -> None:
    """Refuse labels in a Series or DataFrame whose index is not that of the frame ``x``."""
    check_same_rows(x=_index(x), labels=_index(labels))


def _row_names(data: Any, space: Space) -> np.ndarray | None:
    return _index(data) if space.ids is None else space.ids


def _index(data: Any) -> np.ndarray | None:
    """The index of a Series or DataFrame; None for other data."""
    pandas = sys.modules.get("pandas")
    is_pandas = pandas is not None and isinstance(data, pandas.Series | pandas.DataFrame)
    return data.index.to_numpy() if is_pandas else None


def check_same_rows(**names: np.ndarray | None) -> None:
    """Refuse two inputs with different row names (n,): unlike `compare`, the measures do not join rows.

    Raises
    ------
    InputError
        With the first row that differs and the fix.
    """
    (first, left), (second, right) = names.items()
    if left is None or right is None or len(left) != len(right):
        return
    if left.dtype.kind != right.dtype.kind or left.dtype == object:
        left, right = left.astype(str), right.astype(str)
    if np.array_equal(left, right):
        return
    row = int(np.argmax(left != right))
    raise InputError(
        f"{first} and {second} name their rows differently (row {row}: {left[row]!s:.40} and {right[row]!s:.40}); "
        f"bring them into one order, {second} = {second}.loc[{first}.index], or give arrays, "
        f"{first}.to_numpy() and {second}.to_numpy()"
    )


def as_codes(labels: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Class codes 0..C-1 (n,) in the labels' sorted order, -1 for rows without a label, and the class names (C,).

    Raises
    ------
    InputError
        If labels are not integers or strings, not one per row, or no row has one.
    """
    column = clean_column(labels, "labels", "labels")
    if column.shape != (n,):
        raise InputError(f"labels have shape {column.shape}; give one label per row, shape ({n},)")
    codes, names = codes_of(marked(column))
    if not len(names):
        raise InputError("labels: no row has a label; give labels of some rows")
    return codes, names


def codes_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class codes (n,), -1 for rows without a label, and names (C,) of a label column of a Space."""
    has_label = is_labelled(labels)
    codes = np.full(len(labels), -1)
    names, codes[has_label] = np.unique(labels[has_label], return_inverse=True)
    return codes, names


def as_whole(value: Any) -> int | None:
    """The value as an int if it is a whole number (5.0 too), else None.

    >>> as_whole(5.0), as_whole(np.int8(5)), as_whole(5.5), as_whole(True)
    (5, 5, None, None)
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    return int(value) if isinstance(value, float | np.floating) and float(value).is_integer() else None


def check_k(k: Any, n: int) -> int:
    """k as an int with 1 <= k < n."""
    count = as_whole(k)
    if count is None or not 1 <= count < n:
        raise InputError(f"k = {k!r} does not fit {n} rows; give a whole number with 1 <= k <= {n - 1}")
    return count


def check_seed(seed: Any) -> int:
    """A seed as an int with 0 <= seed < 2^32."""
    number = as_whole(seed)
    if number is None or not 0 <= number < 2**32:
        raise InputError(f"seed is {seed!r}; give a number number of at least 0 and below {2**32:,}")
    return number


def check_metric(metric: str) -> str:
    """ "cosine" or "euclidean"."""
    if metric not in ("cosine", "euclidean"):
        raise InputError(f"metric {metric!r} is not known; give 'cosine' or 'euclidean'")
    return metric
