"""The dimensions and directions that a space uses."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.lab import COSINE, Lab, mean
from manifold_probe.diagnosis.linear import cross_fitted, explained, main_axes
from manifold_probe.engine.moments import Moments
from manifold_probe.measures.linear_maps import partners

MIN_PREDICTED = 0.1  # of the student's variance, by the teacher: for trained students it is .3 or more
MIN_WIDTH_LOSS = 0.05  # of the overlap: students that are narrow on purpose lose less


def alive(x: np.ndarray) -> np.ndarray:
    """(d,) of bool: dimensions that vary."""
    spread = np.where(np.ptp(x, axis=0) > 0, x.std(0, dtype=np.float64), 0.0)
    return spread > 1e-6 * max(float(np.median(spread[spread > 0])) if (spread > 0).any() else 0.0, 1e-30)


def participation(values: np.ndarray) -> float:
    """(sum of eigenvalues)^2 over the sum of their squares: the effective number of directions.

    >>> participation(np.array([1.0, 1.0, 1.0, 0.0]))
    3.0
    """
    return float(values.sum() ** 2 / max(float(np.square(values).sum()), 1e-300))


def cut_to(count: int, keep: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The rows x (n, d) on the first principal directions of the kept rows, with the mean added back."""
    axes, centre = main_axes(x[keep], count), x[keep].mean(0)
    return ((x - centre) @ axes @ axes.T + centre).astype(np.float32)


def lost_by_width(lab: Lab, count: int) -> float:
    """The overlap that the reference loses on ``count`` of its principal directions."""
    return mean(lab.kept(lab.reference)[COSINE]) - mean(lab.kept(cut_to(count, lab.keep, lab.reference))[COSINE])


def matched_columns(lab: Lab) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(student columns, their teacher columns one to one, |correlation|)."""
    keep = lab.keep
    student_columns, teacher_columns = (np.flatnonzero(alive(x[keep])) for x in (lab.student, lab.reference))
    moments = Moments().update(lab.student[keep][:, student_columns], lab.reference[keep][:, teacher_columns])
    partner, correlation = partners(moments, mirrored=True)
    paired = partner >= 0
    return student_columns[paired], teacher_columns[partner[paired]], np.abs(correlation[paired])


def ceiling(lab: Lab) -> float:
    """The share of the teacher's variance that a cross-fitted map from the teacher predicts: below 1 for few rows."""
    again = cross_fitted(lab.reference, lab.reference, lab.fold, lab.keep)
    return explained(lab.reference[lab.keep].astype(np.float64), again[lab.keep])
