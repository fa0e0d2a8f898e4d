"""Ridge maps between the two spaces, fitted on one half of the rows and read on the other.

Y = (X - m) W + c,  W = V (s / (s^2 + a)) U'Y of the centred X = U s V',  a chosen by generalised cross-validation
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STRENGTHS = np.logspace(-6, 1, 22)
LEAST_FREE = 0.2  # beyond, the criterion divides nothing by nothing
MOST = 2500  # rows that a map is fitted on


@dataclass(frozen=True)
class Ridge:
    """A fitted map from (n, p) to (n, q)."""

    weights: np.ndarray
    mean_in: np.ndarray
    mean_out: np.ndarray

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
    total = float(np.square(target).sum())
    power = np.square(right).sum(1)
    scores = []
    for strength in STRENGTHS:
        shrink = values / (values + strength * values[0])
        left = total - float((power * (2 * shrink - shrink**2)).sum())
        free = 1 - (shrink.sum() + 1) / len(x)
        scores.append(left / free**2 if free > LEAST_FREE else np.inf)
    best = STRENGTHS[int(np.argmin(scores))] * values[0]
    weights = centred.T @ (u @ (right / (values + best)[:, None]))
    return Ridge(weights, mean_in, mean_out)


def cross_fitted(x: np.ndarray, y: np.ndarray, fold: np.ndarray, fit: np.ndarray | None = None) -> np.ndarray:
    """Every row of y as the other half's map predicts it from x; ``fit`` (n,) of bool says which rows may be fitted."""
    predicted = np.empty(y.shape)
    for side in (False, True):
        learn, read = fold != side, fold == side
        if fit is not None:
            learn = learn & fit
        predicted[read] = fit_ridge(x[learn], y[learn])(x[read])
    return predicted


def explained(y: np.ndarray, predicted: np.ndarray) -> float:
    """Share of y's variance that the prediction has."""
    total = np.square(y - y.mean(0)).sum()
    return float(1 - np.square(y - predicted).sum() / total) if total else 0.0
