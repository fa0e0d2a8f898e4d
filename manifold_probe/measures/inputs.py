"""What the public measures accept: arrays, tensors, frames and spaces become float64 matrices of the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.columns import clean_column
from manifold_probe.spaces.labels import is_labelled, marked
from manifold_probe.spaces.space import Space


def as_matrix(x: Any, name: str = "x") -> np.ndarray:
    """A float64 matrix (n, d) from an array, tensor, DataFrame or Space.

    Raises
    ------
    InputError
        Where the shape is not (n, d) with n >= 2 and d >= 1, or a value is NaN or infinite.
    """
    if isinstance(x, Space):
        x = x.read(0, x.n)
    if hasattr(x, "detach"):  # a torch tensor: numpy knows neither bfloat16 nor gradients
        x = x.detach().cpu().double().numpy()
    matrix = np.asarray(x)
    if matrix.ndim != 2 or matrix.shape[0] < 2 or matrix.shape[1] < 1:
        raise InputError(
            f"{name} has shape {matrix.shape}; give a matrix (n, d) with n >= 2 rows and d >= 1 dimensions"
        )
    if matrix.dtype.kind not in "fiu":
        raise InputError(f"{name} has dtype {matrix.dtype}; give real numbers")
    matrix = np.ascontiguousarray(matrix, dtype=np.float64)
    if not np.isfinite(matrix).all():
        raise InputError(f"{name} holds NaN or infinite values; drop those rows first")
    return matrix


def as_matrices(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two float64 matrices (n, dx) and (n, dy) whose rows belong together."""
    x, y = as_matrix(x, "x"), as_matrix(y, "y")
    if len(x) != len(y):
        raise InputError(f"x has {len(x)} rows and y has {len(y)}; give the same rows in the same order")
    return x, y


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


def check_k(k: int, n: int) -> int:
    """k as an int with 1 <= k < n."""
    if isinstance(k, bool) or not isinstance(k, int | float | np.number) or int(k) != k or not 1 <= k < n:
        raise InputError(f"k = {k!r} does not fit {n} rows; give a whole number with 1 <= k <= {n - 1}")
    return int(k)


def check_metric(metric: str) -> str:
    """ "cosine" or "euclidean"."""
    if metric not in ("cosine", "euclidean"):
        raise InputError(f"metric {metric!r} is not known; give 'cosine' or 'euclidean'")
    return metric
