"""Input checks of the evaluations: bank and queries of one width, a label per row, at least two classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.engine.inputs import as_whole
from manifold_probe.errors import InputError
from manifold_probe.spaces.checks import check_finite
from manifold_probe.spaces.columns import clean_column, one_dimensional
from manifold_probe.spaces.labels import is_labelled, marked
from manifold_probe.spaces.read import as_space


def as_rows(x: Any, name: str) -> np.ndarray:
    """The rows (n, d) of any input of `as_space`, finite, n and d at least 1, as float32 or, where needed, float64.

    Raises
    ------
    InputError
        If x is not such a matrix.
    """
    space = as_space(x, name, fewest=1)
    rows = space.read(0, space.n)
    check_finite(rows, 0, space)
    return rows


def as_bank(bank: Any, queries: Any) -> tuple[np.ndarray, np.ndarray]:
    """A bank (m, d) and queries (q, d) of one width."""
    bank, queries = as_rows(bank, "bank"), as_rows(queries, "queries")
    if bank.shape[1] != queries.shape[1]:
        raise InputError(
            f"bank has {bank.shape[1]} dimensions and queries have {queries.shape[1]}; give features of one model"
        )
    return bank, queries


def as_labels(labels: Any, n: int | None = None, name: str = "labels") -> np.ndarray:
    """Values (n,), one per row, numbers or strings, unchanged.

    Raises
    ------
    InputError
        If they are not a column of ``n`` values, or neither all numbers nor all strings.
    """
    column = one_dimensional(labels, name, name)
    if column.dtype == object:
        is_text = {isinstance(value, str) for value in column.tolist()}
        column = np.array(column.tolist()) if len(is_text) == 1 and not any(map(np.ndim, column)) else column
    if column.dtype.kind not in "biufU":
        raise InputError(f"{name} hold mixed or other types; give numbers only, or strings only")
    if not len(column) or (n is not None and len(column) != n):
        raise InputError(
            f"{name} have shape {column.shape}; give one label per row, shape ({'n' if n is None else n},)"
        )
    return column


def as_numbers(values: Any, name: str) -> np.ndarray:
    """Numbers (n,), one per row, as float64."""
    column = as_labels(values, name=name)
    if column.dtype.kind == "U":
        raise InputError(f"{name} hold text; give numbers")
    return column.astype(np.float64)


def as_number(value: Any, name: str, fix: str) -> float:
    """A number as a float; ``fix`` ends the error message."""
    if not isinstance(value, int | float | np.number) or isinstance(value, bool | np.complexfloating):
        raise InputError(f"{name} is {value!r}; {fix}")
    return float(value)


def as_classes(labels: Any, n: int, name: str = "labels") -> tuple[np.ndarray, np.ndarray]:
    """Class names (C,), sorted, and codes (n,) into them.

    Raises
    ------
    InputError
        If there is only one class.
    """
    names, codes = np.unique(as_labels(labels, n, name), return_inverse=True)
    if len(names) < 2:
        raise InputError(f"{name} hold one class only ({names[0]}); give rows of at least two classes")
    return names, codes.astype(np.int64)


def known_labels(labels: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A mask (n,) of the rows that have a label, and their labels.

    Raises
    ------
    InputError
        If labels are not one integer or string per row, or no row has one.
    """
    column = marked(as_labels(clean_column(labels, "labels", "labels"), n))
    has_label = is_labelled(column)
    if not has_label.any():
        raise InputError("labels: no row has a label; give labels of some rows")
    return has_label, column[has_label]


def check_neighbours(k: Any, rows: int) -> int:
    """k as an int with 1 <= k <= rows."""
    count = as_whole(k)
    if count is None or not 1 <= count <= rows:
        raise InputError(f"k = {k!r} does not fit a bank of {rows} rows; give a count number with 1 <= k <= {rows}")
    return count


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1 in float64; rows of zeros stay zeros."""
    largest = np.maximum(rows.max(1, keepdims=True), -rows.min(1, keepdims=True))
    rows = rows / np.where(largest > 0, largest, 1).astype(np.float64)  # so that no square over- or underflows
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    rows /= np.where(lengths > 0, lengths, 1)
    return rows
