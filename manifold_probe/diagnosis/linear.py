"""Rows of one space as a ridge map from the other has them, fitted on rows that are not read: a half, or other groups.

The maps are those of `measures.linear_maps`, their strength chosen by generalised cross-validation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.linalg import solve

from manifold_probe.engine.moments import Moments
from manifold_probe.measures.linear_maps import RidgePath, ridge

MOST = 2500  # rows that a map is fitted on


@dataclass(frozen=True)
class Ridge:
    """A fitted map from (n, p) to (n, q)."""

    weights: np.ndarray
    mean_in: np.ndarray
    mean_out: np.ndarray
    strength: float = 0.0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Rows of the first space as the second would have them."""
        return (x - self.mean_in) @ self.weights + self.mean_out


def fit_ridge(x: np.ndarray, y: np.ndarray) -> Ridge:
    """The ridge map from x (n, p) to y (n, q)."""
    if len(x) > MOST:
        chosen = np.linspace(0, len(x) - 1, MOST).astype(int)
        x, y = x[chosen], y[chosen]
    x, y = x.astype(np.float64), y.astype(np.float64)
    mean_in, mean_out = x.mean(0), y.mean(0)
    path = RidgePath.of_rows(y - mean_out, x - mean_in)
    strength = path.generalised_strength(len(x), float(np.square(y - mean_out).sum()))
    return Ridge(path.weights(strength), mean_in, mean_out, strength)


def cross_fitted(x: np.ndarray, y: np.ndarray, fold: np.ndarray, fit: np.ndarray | None = None) -> np.ndarray:
    """Every row of y as the other half's map predicts it from x; ``fit`` (n,) of bool says which rows may be fitted."""
    predicted = np.empty(y.shape)
    for side in (False, True):
        learn, read = fold != side, fold == side
        if fit is not None:
            learn = learn & fit
        predicted[read] = fit_ridge(x[learn], y[learn])(x[read])
    return predicted


def told_by_others(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Every group of y (n, q) as the ridge map from x (n, p) that was fitted on the other groups has it.

    One strength serves all, that of the map fitted on everything; what the fits share is computed once.
    """
    x, y = x.astype(np.float64), y.astype(np.float64)
    x = x - x.mean(0)
    strength = fit_ridge(x, y).strength
    least = max(strength, 1e-10 * float(np.square(x).sum()), 1e-300)
    if len(x) <= x.shape[1]:
        told = partial(_told_by_rows, x @ x.T)
    else:
        told = partial(_told_by_moments, Moments().update(y, x))
    found = np.empty_like(y)
    for group in np.unique(groups):
        found[groups == group] = told(x, y, groups == group, least)
    return found


def _told_by_rows(products: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray, strength: float) -> np.ndarray:
    """The rows ``out`` (n,) of bool of y, from X X' (n, n): for no more rows than dimensions."""
    near, far = products[np.ix_(~out, ~out)], products[np.ix_(out, ~out)]
    middle, corner, mean_out = near.mean(0), near.mean(), y[~out].mean(0)
    near = near - middle - middle[:, None] + corner
    near.flat[:: len(near) + 1] += strength
    far = far - far.mean(1)[:, None] - middle + corner
    told: np.ndarray = far @ solve(near, y[~out] - mean_out, assume_a="pos", check_finite=False) + mean_out
    return told


def _told_by_moments(whole: Moments, x: np.ndarray, y: np.ndarray, out: np.ndarray, strength: float) -> np.ndarray:
    """The rows ``out`` (n,) of bool of y, from the moments of all rows less their own."""
    others = whole - Moments(whole.shift_x, whole.shift_y).update(y[out], x[out])
    mean_out, mean_in = others.means
    return (x[out] - mean_in) @ ridge(others, strength) + mean_out


def explained(y: np.ndarray, predicted: np.ndarray) -> float:
    """Share of y's variance that the prediction has."""
    total = np.square(y - y.mean(0)).sum()
    return float(1 - np.square(y - predicted).sum() / total) if total else 0.0


def main_axes(x: np.ndarray, count: int) -> np.ndarray:
    """(d, count): the principal axes of most variance of rows (n, d)."""
    centred = (x - x.mean(0)).astype(np.float64)
    if len(centred) < centred.shape[1]:
        values, u = np.linalg.eigh(centred @ centred.T)
        axes: np.ndarray = centred.T @ (u[:, ::-1][:, :count] / np.sqrt(np.maximum(values[::-1][:count], 1e-300)))
        return axes
    return np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :count]
