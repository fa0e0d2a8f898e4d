"""Ridge maps between the two spaces, fitted on one half of the rows and read on the other.

Y = (X - m) W + c,  W = V (s / (s^2 + a)) U'Y of the centred X = U s V',  a chosen by generalised cross-validation
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve

STRENGTHS = np.logspace(-6, 1, 22)
LEAST_FREE = 0.2  # beyond, the criterion divides nothing by nothing
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
    centred, target = x - mean_in, y - mean_out
    if len(x) <= x.shape[1]:
        values, u = np.linalg.eigh(centred @ centred.T)
        values, u = values[::-1], u[:, ::-1]
    else:
        values, v = np.linalg.eigh(centred.T @ centred)
        values, v = values[::-1], v[:, ::-1]
        u = centred @ v / np.sqrt(np.maximum(values, 1e-300))
    if not values[0] > 0:  # nothing varies
        return Ridge(np.zeros((x.shape[1], y.shape[1])), mean_in, mean_out)
    keep = values > values[0] * 1e-10
    values, u = np.maximum(values[keep], 1e-300), u[:, keep]
    right = u.T @ target
    best = _strength(values, np.square(right).sum(1), float(np.square(target).sum()), len(x))
    weights = centred.T @ (u @ (right / (values + best)[:, None]))
    return Ridge(weights, mean_in, mean_out, best)


def _strength(values: np.ndarray, power: np.ndarray, total: float, n: int) -> float:
    """The strength with the least generalised cross-validation, from eigenvalues and what each direction explains."""
    scores = []
    for strength in STRENGTHS:
        shrink = values / (values + strength * values[0])
        left = total - float((power * (2 * shrink - shrink**2)).sum())
        free = 1 - (shrink.sum() + 1) / n
        scores.append(left / free**2 if free > LEAST_FREE else np.inf)
    return float(STRENGTHS[int(np.argmin(scores))] * values[0])


def ridge_of(n: int, xx: np.ndarray, xy: np.ndarray, total: float) -> np.ndarray:
    """The weights (p, q) of the same map from centred moments: X'X (p, p), X'Y (p, q) and the trace of Y'Y."""
    values, v = np.linalg.eigh(xx)
    values, v = values[::-1], v[:, ::-1]
    if not values[0] > 0:
        return np.zeros(xy.shape)
    keep = values > values[0] * 1e-10
    values, v = values[keep], v[:, keep]
    right = v.T @ xy
    best = _strength(values, np.square(right).sum(1) / values, total, n)
    return v @ (right / (values + best)[:, None])


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
    wide = len(x) <= x.shape[1]
    products = x @ x.T if wide else x.T @ x
    least = max(strength, 1e-10 * float(np.trace(products)), 1e-300)
    found = np.empty_like(y)
    for group in np.unique(groups):
        out, rest = groups == group, groups != group
        mean_in, mean_out = x[rest].mean(0), y[rest].mean(0)
        target = y[rest] - mean_out
        if wide:
            near, far = products[np.ix_(rest, rest)], products[np.ix_(out, rest)]
            middle, corner = near.mean(0), near.mean()
            near = near - middle - middle[:, None] + corner
            near.flat[:: len(near) + 1] += least
            far = far - far.mean(1)[:, None] - middle + corner
            found[out] = far @ solve(near, target, assume_a="pos", check_finite=False) + mean_out
        else:
            inner = products - x[out].T @ x[out] - rest.sum() * np.outer(mean_in, mean_in)
            inner.flat[:: len(inner) + 1] += least
            weights = solve(inner, (x[rest] - mean_in).T @ target, assume_a="pos", check_finite=False)
            found[out] = (x[out] - mean_in) @ weights + mean_out
    return found


def explained(y: np.ndarray, predicted: np.ndarray) -> float:
    """Share of y's variance that the prediction has."""
    total = np.square(y - y.mean(0)).sum()
    return float(1 - np.square(y - predicted).sum() / total) if total else 0.0
