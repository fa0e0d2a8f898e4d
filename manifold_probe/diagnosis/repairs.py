"""Corrections of a student, z = x A + b, each from the moments of paired rows alone (student x, teacher y).

centring             x - m
unit deviation       (x - m) / s
teacher's mean       (x - m) s + c      (at the teacher's size)
teacher's deviation  (x - m) t / s + c
orthogonal           (x - m) Q + c      (Procrustes, at one scale)
ridge                (x - m) W + c

and one correction that is not affine: ridge from the normal scores of the dimensions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import ndtri  # scipy.stats would take half a second to import

from manifold_probe.diagnosis.halves import NONLINEAR_ROWS, SIDES, Correction, Halves, Step, as_it_is, the_teacher
from manifold_probe.engine.moments import Moments
from manifold_probe.measures import linear_maps

Affine = tuple[np.ndarray, np.ndarray]
Fit = Callable[[Moments], Affine]
DEVIATION_FLOOR = 0.05  # of the median deviation: below, a dimension is noise, which division would amplify
MIN_DEVIATION = 1e-6  # of the largest deviation: below, a dimension is rounding error
QUANTILES = 64
MIN_LENGTH_CORRELATION = 0.5


def deviations(moments: Moments) -> Affine:
    """The standard deviations of the dimensions of x and y."""
    xx, _, yy = moments.covariance
    return tuple(np.sqrt(np.maximum(np.diag(products), 0) / moments.n) for products in (xx, yy))  # type: ignore[return-value]


def centring(moments: Moments) -> Affine:
    """Without the mean."""
    return np.eye(len(moments.sx)), -moments.means[0]


def unit_deviation(moments: Moments) -> Affine:
    """Every dimension at unit deviation, floored."""
    spread = deviations(moments)[0]
    spread = np.maximum(
        spread, max(DEVIATION_FLOOR * float(np.median(spread)), MIN_DEVIATION * float(spread.max()), 1e-300)
    )
    return np.diag(1 / spread), -moments.means[0] / spread


def teacher_mean(moments: Moments) -> Affine:
    """At the teacher's mean and size, where both have the same dimensions."""
    student_mean, mean = moments.means
    variances = moments.variances
    scale = float(np.sqrt(variances[1] / max(variances[0], 1e-300)))
    return np.eye(len(student_mean)) * scale, mean - student_mean * scale


def teacher_deviations(moments: Moments) -> Affine:
    """Every dimension at the teacher's mean and deviation, where both have the same dimensions."""
    weights, offset = unit_deviation(moments)
    spread = deviations(moments)[1]
    return weights * spread, offset * spread + moments.means[1]


def orthogonal(moments: Moments) -> Affine:
    """A rotation onto the teacher, at one scale."""
    turn, reached = linear_maps.turn_of(moments)
    return _onto_teacher(moments, turn * (reached / max(moments.variances[0], 1e-300)))


def ridge(moments: Moments) -> Affine:
    """Any linear map."""
    return _onto_teacher(moments, linear_maps.generalised_ridge(moments.swapped()))


def _onto_teacher(moments: Moments, weights: np.ndarray) -> Affine:
    mean_in, mean_out = moments.means
    return weights, mean_out - mean_in @ weights


def affine_steps(fit: Fit, halves: Halves) -> Correction:
    """An affine correction of the rows of each half, fitted on the other."""
    return {
        side: affine_step(fit(halves.half_moments[not side]), halves.half_moments[not side].means[0]) for side in SIDES
    }


def affine_step(affine: Affine, centre: np.ndarray, function: Callable[[np.ndarray], np.ndarray] | None = None) -> Step:
    """An affine map of rows, or of a ``function`` of them, about their ``centre``, so that single precision is
    enough."""
    weights, offset = affine
    at_centre = centre @ weights + offset
    diagonal = np.diag(weights)
    if (
        function is None
        and weights.shape == (len(diagonal),) * 2
        and np.count_nonzero(weights) == np.count_nonzero(diagonal)
    ):
        return lambda student, teacher: (student - centre) * diagonal + at_centre
    single = weights.astype(np.float32)

    def step(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
        centred = (student if function is None else function(student)) - centre
        return centred.astype(np.float32) @ single + at_centre

    return step


def lengths_correlate(halves: Halves) -> bool:
    """Whether the lengths of the student's rows are correlated with those of the teacher's."""
    student_lengths, teacher_lengths = (
        np.concatenate([np.linalg.norm(rows, axis=1) for rows in halves.corrected(correction, halves.compared)])
        for correction in (dict.fromkeys(SIDES, as_it_is), dict.fromkeys(SIDES, the_teacher))
    )
    scale = float(student_lengths.std() * teacher_lengths.std())
    return (
        scale > 0
        and float(((student_lengths - student_lengths.mean()) * (teacher_lengths - teacher_lengths.mean())).mean())
        > MIN_LENGTH_CORRELATION * scale
    )


def at_lengths(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """The student's directions at the teacher's lengths."""
    student_lengths, teacher_lengths = (np.linalg.norm(x, axis=1, keepdims=True) for x in (student, teacher))
    return student * (teacher_lengths / np.maximum(student_lengths, 1e-30))


def nonlinear(halves: Halves) -> Correction:
    """Any linear map of the normal scores of the student's dimensions, fitted on at most 50,000 rows."""
    scores = Scores(np.concatenate(halves.corrected(dict.fromkeys(SIDES, as_it_is), halves.compared)))
    scored = halves.moments(scores, NONLINEAR_ROWS)
    return {side: affine_step(ridge(scored[not side]), scored[not side].means[0], scores) for side in SIDES}


def leading(halves: Halves, width: int) -> Correction:
    """The teacher on its first principal components (n, width), and the rest of the mean in one more column."""
    return {side: _leading(halves.half_moments[not side], width) for side in SIDES}


def _leading(moments: Moments, width: int) -> Step:
    mean, axes = moments.means[1], np.linalg.eigh(moments.covariance[2])[1][:, ::-1][:, :width]
    residual_length = float(np.linalg.norm(mean - axes @ (axes.T @ mean)))
    single, constant = axes.astype(np.float32), np.append(mean @ axes, residual_length)

    def step(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
        return np.pad((teacher - mean).astype(np.float32) @ single, ((0, 0), (0, 1))) + constant

    return step


class Scores:
    """The normal scores of every dimension, which reverse any increasing curve in it.

    A score is the quantile of a normal distribution at the rank of a value among those of some rows (m, d), times the
    deviation of the dimension.
    """

    def __init__(self, x: np.ndarray) -> None:
        x = x.astype(np.float64)
        places = np.linspace(0.5, QUANTILES - 0.5, QUANTILES) / QUANTILES
        self.known, self.scores = np.quantile(x, places, axis=0).T, np.outer(x.std(0), ndtri(places))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, d)."""
        scored = np.empty(x.shape)
        for column, (quantiles, scores) in enumerate(zip(self.known, self.scores, strict=True)):
            scored[:, column] = np.interp(x[:, column], quantiles, scores)
        return scored
