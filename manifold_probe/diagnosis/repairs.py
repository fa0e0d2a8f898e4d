"""Affine repairs of a student, z = x A + b, each from the moments of paired rows alone (student x, teacher y).

centring        x - m                       permutation   every dimension in its partner's place, at its spread
global scale    x s                         orthogonal    (x - m) Q s + c    (Procrustes)
top removed     (x - m)(I - V V')           ridge         (x - m) W + c
unit deviation  (x - m) / s                 direction     (x - m)(I - v v'), v: first direction of what is not told
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import linear_sum_assignment

from manifold_probe.diagnosis.linear import ridge_of
from manifold_probe.engine.moments import Moments

Affine = tuple[np.ndarray, np.ndarray]
Fit = Callable[[Moments], Affine]
FLOOR = 0.05  # of the median deviation: below, a dimension is noise that dividing would blow up
REMOVED = 3


def means(moments: Moments) -> Affine:
    """The means of x and y."""
    return moments.shift_x + moments.sx / moments.n, moments.shift_y + moments.sy / moments.n


def deviations(moments: Moments) -> Affine:
    """The standard deviations of the dimensions of x and y."""
    xx, _, yy = moments.covariance
    return tuple(np.sqrt(np.maximum(np.diag(each), 0) / moments.n) for each in (xx, yy))  # type: ignore[return-value]


def centring(moments: Moments) -> Affine:
    """Without the mean."""
    return np.eye(len(moments.sx)), -means(moments)[0]


def global_scale(moments: Moments) -> Affine:
    """At the teacher's size."""
    own, theirs = moments.variances
    ratio = np.sqrt(theirs / max(own, 1e-300))
    return np.eye(len(moments.sx)) * ratio, np.zeros(len(moments.sx))


def top_components_removed(moments: Moments) -> Affine:
    """Without the three principal directions of most variance."""
    top = np.linalg.eigh(moments.covariance[0])[1][:, -REMOVED:]
    weights = np.eye(len(top)) - top @ top.T
    return weights, -means(moments)[0] @ weights


def unit_deviation(moments: Moments) -> Affine:
    """Every dimension at unit deviation, floored."""
    spread = deviations(moments)[0]
    spread = np.maximum(spread, FLOOR * max(float(np.median(spread)), 1e-30))
    return np.diag(1 / spread), -means(moments)[0] / spread


def permutation(moments: Moments) -> Affine:
    """Every dimension in the place of the teacher's that it correlates with most, with its sign and spread."""
    own, theirs = deviations(moments)
    correlation = moments.covariance[1] / moments.n
    correlation = correlation / np.maximum(own, 1e-12)[:, None] / np.maximum(theirs, 1e-12)
    rows, columns = linear_sum_assignment(-np.abs(correlation))
    weights = np.zeros(correlation.shape)
    weights[rows, columns] = np.sign(correlation[rows, columns]) * theirs[columns] / np.maximum(own[rows], 1e-12)
    mean_in, mean_out = means(moments)
    return weights, mean_out - mean_in @ weights


def orthogonal(moments: Moments) -> Affine:
    """Turned onto the teacher, at one scale."""
    mean_in, mean_out = means(moments)
    left, values, right = np.linalg.svd(moments.covariance[1], full_matrices=False)
    weights = left @ right * (values.sum() / max(moments.variances[0], 1e-300))
    return weights, mean_out - mean_in @ weights


def ridge(moments: Moments) -> Affine:
    """Any linear map."""
    mean_in, mean_out = means(moments)
    weights = ridge_of(moments.n, *moments.covariance[:2], moments.variances[1])
    return weights, mean_out - mean_in @ weights


def direction_removed(moments: Moments) -> Affine:
    """Without the direction in which the student says most that the teacher does not predict."""
    xx, xy, yy = moments.covariance
    told = ridge_of(moments.n, yy, xy.T, moments.variances[0])
    left = xx - xy @ told - told.T @ xy.T + told.T @ yy @ told
    direction = np.linalg.eigh((left + left.T) / 2)[1][:, -1]
    weights = np.eye(len(xx)) - np.outer(direction, direction)
    return weights, -means(moments)[0] @ weights
