"""Few distinct values in each dimension, where the teacher has many."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, Damage, Signs
from manifold_probe.diagnosis.lab import Evidence, Lab
from manifold_probe.diagnosis.spectra import alive

MAX_LEVELS, MAX_LEVEL_RATIO = 64, 0.25  # distinct values of a dimension; over the teacher's
MAX_VARIETY = 0.5  # distinct values over all values away from the ends: 1 where nothing is rounded
COUNTED_DIMENSIONS = 128


def signs(lab: Lab) -> Signs | None:
    """Few distinct values in the student's dimensions, relative to the teacher's."""
    keep = lab.keep
    student_values, teacher_values = (distinct_values(x[keep][:, alive(x[keep])]) for x in (lab.student, lab.reference))
    if (
        not (student_values <= MAX_LEVELS and student_values < MAX_LEVEL_RATIO * teacher_values)
        or inner_variety(lab.student[keep]) > MAX_VARIETY
    ):
        return None
    return Signs(
        [Evidence("distinct values a dimension, median", student_values, teacher_values)],
        facts=max(2, round(student_values)),
    )


def inflict(lab: Lab, signs: Signs) -> Damage:
    """The teacher's prediction of the student, rounded to as many levels."""
    keep, levels = lab.keep, signs.facts
    change = lambda x: round_to(x, keep, levels)  # noqa: E731
    return Damage("what the teacher predicts of the student, rounded alike", change, on_image=True, counted=True)


def distinct_values(x: np.ndarray) -> float:
    """The median number of distinct values of a dimension."""
    if not x.shape[1]:
        return 0.0
    columns = range(0, x.shape[1], max(1, x.shape[1] // COUNTED_DIMENSIONS))
    return float(np.median([len(np.unique(x[:, column])) for column in columns]))


def inner_variety(x: np.ndarray) -> float:
    """Distinct values over all values away from the ends of the range, median: 1 where nothing is rounded."""
    shares = []
    for column in range(0, x.shape[1], max(1, x.shape[1] // COUNTED_DIMENSIONS)):
        values = x[:, column]
        margin = 0.01 * (values.max() - values.min())
        inner = values[(values > values.min() + margin) & (values < values.max() - margin)]
        if len(inner) >= 5:
            shares.append(len(np.unique(inner)) / len(inner))
    return float(np.median(shares)) if shares else 0.0


def round_to(x: np.ndarray, keep: np.ndarray, levels: int) -> np.ndarray:
    """Every dimension rounded to ``levels`` even steps between its extremes."""
    low, high = x[keep].min(0), x[keep].max(0)
    step = np.maximum((high - low) / max(levels - 1, 1), 1e-12)
    return (np.round((x - low) / step) * step + low).astype(np.float32)


CAUSE = Cause(
    "quantisation",
    "values are rounded to few levels",
    "Store the vectors in a finer type, or calibrate the scale of each dimension.",
    "more values a dimension in the features before they were stored",
    signs,
    inflict=inflict,
)
