"""Rows of one space as predicted by a ridge map from the other, fitted on other rows: the other half, or other groups.

The maps are those of `measures.linear_maps`, with their strength chosen by generalised cross-validation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, eigvalsh

from manifold_probe.engine.moments import Moments
from manifold_probe.measures.linear_maps import RidgePath, ridge

MAX_FITTED_ROWS = 2500
PREDICTOR_DIRECTIONS = 256  # from which a map fitted on other classes predicts a class
LANCZOS_SHARE = 0.2  # of the directions: fewer are computed by Lanczos iterations


@dataclass(frozen=True)
class Ridge:
    """A fitted map from (n, p) to (n, q)."""

    weights: np.ndarray
    mean_in: np.ndarray
    mean_out: np.ndarray
    strength: float = 0.0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The map of rows of the first space into the second."""
        return (x - self.mean_in) @ self.weights + self.mean_out


def fit_ridge(x: np.ndarray, y: np.ndarray) -> Ridge:
    """The ridge map from x (n, p) to y (n, q)."""
    if len(x) > MAX_FITTED_ROWS:
        chosen = np.linspace(0, len(x) - 1, MAX_FITTED_ROWS).astype(int)
        x, y = x[chosen], y[chosen]
    x, y = x.astype(np.float64), y.astype(np.float64)
    mean_in, mean_out = x.mean(0), y.mean(0)
    path = RidgePath.of_rows(y - mean_out, x - mean_in)
    strength = path.generalised_strength(len(x), float(np.square(y - mean_out).sum()))
    return Ridge(path.weights(strength), mean_in, mean_out, strength)


class HalfMaps:
    """Ridge maps from x (n, p), one for each half of the rows, fitted on the other; shared parts are computed once.

    ``fit`` (n,) of bool marks the rows that may be fitted.
    """

    def __init__(self, x: np.ndarray, fold: np.ndarray, fit: np.ndarray | None = None) -> None:
        self.x, self.fold = x, fold
        self.learn, self.mean, self.bases = {}, {}, {}
        for side in (False, True):
            rows = np.flatnonzero(fold != side if fit is None else (fold != side) & fit)
            if len(rows) > MAX_FITTED_ROWS:
                rows = rows[np.linspace(0, len(rows) - 1, MAX_FITTED_ROWS).astype(int)]
            fitted = x[rows].astype(np.float64)
            self.learn[side], self.mean[side] = rows, fitted.mean(0)
            self.bases[side] = RidgePath.basis(fitted - self.mean[side])

    def __call__(self, y: np.ndarray) -> np.ndarray:
        """(n, q): every row of y as predicted by the other half's map."""
        predicted = np.empty(y.shape)
        for side, rows in self.learn.items():
            targets = y[rows].astype(np.float64)
            mean = targets.mean(0)
            path = self.bases[side].of(targets - mean)
            strength = path.generalised_strength(len(rows), float(np.square(targets - mean).sum()))
            read = self.fold == side
            along = (self.x[read] - self.mean[side]) @ path.vectors
            predicted[read] = along @ (path.products / (path.values + strength)[:, None]) + mean
        return predicted


def cross_fitted(x: np.ndarray, y: np.ndarray, fold: np.ndarray, fit: np.ndarray | None = None) -> np.ndarray:
    """Every row of y as predicted from x by the other half's map; ``fit`` (n,) of bool marks rows to fit on."""
    return HalfMaps(x, fold, fit)(y)


def predicted_by_others(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Every group of y (n, q) as predicted by the ridge map from x (n, p) that was fitted on the other groups.

    From at most 256 principal directions of x; all maps use the strength of the map fitted on all groups.
    """
    axes = main_axes(x, min(PREDICTOR_DIRECTIONS, x.shape[1], len(x) - 1))
    x, y = (x - x.mean(0)).astype(np.float64) @ axes, y.astype(np.float64)
    strength = max(fit_ridge(x, y).strength, 1e-10 * float(np.square(x).sum()), 1e-300)
    moments, predicted = Moments().update(y, x), np.empty_like(y)
    for group in np.unique(groups):
        out = groups == group
        others = moments - Moments(moments.shift_x, moments.shift_y).update(y[out], x[out])
        mean_out, mean_in = others.means
        predicted[out] = (x[out] - mean_in) @ ridge(others, strength) + mean_out
    return predicted


def explained(y: np.ndarray, predicted: np.ndarray) -> float:
    """Share of y's variance that the prediction explains."""
    total = np.square(y - y.mean(0)).sum()
    return float(1 - np.square(y - predicted).sum() / total) if total else 0.0


def main_axes(x: np.ndarray, count: int) -> np.ndarray:
    """(d, count): the principal axes of most variance of rows (n, d)."""
    centred = (x - x.mean(0)).astype(np.float64)
    few_rows = len(centred) < centred.shape[1]
    gram = centred @ centred.T if few_rows else centred.T @ centred
    size = len(gram)
    count = min(count, size)
    if count < LANCZOS_SHARE * size:
        from scipy.sparse.linalg import eigsh  # Lanczos: much faster for a few

        values, vectors = eigsh(gram, count, v0=np.ones(size) / np.sqrt(size))
    else:
        values, vectors = eigh(gram, subset_by_index=[size - count, size - 1])
    order = np.argsort(values)[::-1]
    if not few_rows:
        return vectors[:, order]
    axes: np.ndarray = centred.T @ (
        vectors[:, order] / np.sqrt(np.maximum(values[order], max(1e-14 * float(values.max()), 1e-300)))
    )
    return axes


def spectrum(x: np.ndarray) -> np.ndarray:
    """Eigenvalues of the covariance of rows (n, d), largest first."""
    centred = (x - x.mean(0)).astype(np.float64)
    gram = centred @ centred.T if len(x) < x.shape[1] else centred.T @ centred
    return np.maximum(eigvalsh(gram)[::-1], 0) / len(x)
