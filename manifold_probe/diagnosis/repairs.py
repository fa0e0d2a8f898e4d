"""Affine repairs of a student, z = x A + b, each from the moments of paired rows alone (student x, teacher y).

centring        x - m                       permutation   every dimension in its partner's place, at its spread
global scale    x s                         orthogonal    (x - m) Q s + c    (Procrustes)
top removed     (x - m)(I - V V')           ridge         (x - m) W + c
unit deviation  (x - m) / s                 direction     (x - m)(I - v v'), v: first direction of what is not told
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from manifold_probe.engine.moments import Moments
from manifold_probe.measures import linear_maps

Affine = tuple[np.ndarray, np.ndarray]
Fit = Callable[[Moments], Affine]
FLOOR = 0.05  # of the median deviation: below, a dimension is noise that dividing would blow up
REMOVED = 3


def deviations(moments: Moments) -> Affine:
    """The standard deviations of the dimensions of x and y."""
    xx, _, yy = moments.covariance
    return tuple(np.sqrt(np.maximum(np.diag(each), 0) / moments.n) for each in (xx, yy))  # type: ignore[return-value]


def centring(moments: Moments) -> Affine:
    """Without the mean."""
    return np.eye(len(moments.sx)), -moments.means[0]


def global_scale(moments: Moments) -> Affine:
    """At the teacher's size."""
    own, theirs = moments.variances
    ratio = np.sqrt(theirs / max(own, 1e-300))
    return np.eye(len(moments.sx)) * ratio, np.zeros(len(moments.sx))


def top_components_removed(moments: Moments) -> Affine:
    """Without the three principal directions of most variance."""
    top = np.linalg.eigh(moments.covariance[0])[1][:, -REMOVED:]
    weights = np.eye(len(top)) - top @ top.T
    return weights, -moments.means[0] @ weights


def unit_deviation(moments: Moments) -> Affine:
    """Every dimension at unit deviation, floored."""
    spread = deviations(moments)[0]
    spread = np.maximum(spread, FLOOR * max(float(np.median(spread)), 1e-30))
    return np.diag(1 / spread), -moments.means[0] / spread


def permutation(moments: Moments) -> Affine:
    """Every dimension in the place of the teacher's that it correlates with most, with its sign and spread."""
    own, theirs = deviations(moments)
    partner, correlation = linear_maps.partners(moments.swapped(), mirrored=True)
    placed = np.flatnonzero(correlation)
    weights = np.zeros((len(own), len(theirs)))
    weights[partner[placed], placed] = np.sign(correlation[placed]) * theirs[placed] / own[partner[placed]]
    return _onto_teacher(moments, weights)


def orthogonal(moments: Moments) -> Affine:
    """Turned onto the teacher, at one scale."""
    turn, reached = linear_maps.turn_of(moments)
    return _onto_teacher(moments, turn * (reached / max(moments.variances[0], 1e-300)))


def ridge(moments: Moments) -> Affine:
    """Any linear map."""
    return _onto_teacher(moments, linear_maps.generalised_ridge(moments.swapped()))


def _onto_teacher(moments: Moments, weights: np.ndarray) -> Affine:
    mean_in, mean_out = moments.means
    return weights, mean_out - mean_in @ weights


def direction_removed(moments: Moments) -> Affine:
    """Without the direction in which the student says most that the teacher does not predict."""
    xx, xy, yy = moments.covariance
    told = linear_maps.generalised_ridge(moments)
    left = xx - xy @ told - told.T @ xy.T + told.T @ yy @ told
    direction = np.linalg.eigh((left + left.T) / 2)[1][:, -1]
    weights = np.eye(len(xx)) - np.outer(direction, direction)
    return weights, -moments.means[0] @ weights
