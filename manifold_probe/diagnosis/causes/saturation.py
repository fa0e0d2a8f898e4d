"""Values that pile up at the ends of a dimension's range, more than the teacher's: clipped or squashed."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, Damage, Signs
from manifold_probe.diagnosis.causes.quantisation import MAX_LEVELS, MAX_VARIETY, distinct_values, inner_variety
from manifold_probe.diagnosis.lab import Evidence, Lab
from manifold_probe.diagnosis.spectra import alive

MIN_EXCESS = 0.04  # of the values at both ends, beyond the teacher's share
MIN_UPPER_EXCESS = 0.02  # at the upper end: a pile at the lower end alone comes from a ReLU


def signs(lab: Lab) -> Signs | None:
    """Piles of values at the ends of the student's dimensions, beyond the teacher's and those of rounding."""
    keep = lab.keep
    student_piles, teacher_piles = (piled(x[keep][:, alive(x[keep])]) for x in (lab.student, lab.reference))
    excess = max(student_piles[0] - teacher_piles[0], 0.0) + max(student_piles[1] - teacher_piles[1], 0.0)
    if excess < MIN_EXCESS or student_piles[1] - teacher_piles[1] < MIN_UPPER_EXCESS:
        return None
    if distinct_values(lab.student[keep]) <= MAX_LEVELS and inner_variety(lab.student[keep]) <= MAX_VARIETY:
        return None  # rounding piles up as well
    return Signs(
        [Evidence("share of values at the ends of their range", sum(student_piles), sum(teacher_piles))],
        facts=student_piles,
    )


def inflict(lab: Lab, signs: Signs) -> Damage:
    """The teacher's prediction of the student, clipped at the same shares."""
    keep, shares = lab.keep, signs.facts
    change = lambda x: clip_alike(x, keep, shares)  # noqa: E731
    return Damage("what the teacher predicts of the student, clipped alike", change, on_image=True, counted=True)


def piled(x: np.ndarray) -> tuple[float, float]:
    """Median shares of values in the lowest and the highest hundredth of a dimension's range; zeros at the lower end
    come from a ReLU and do not count."""
    if not x.shape[1]:
        return 0.0, 0.0
    low, high = x.min(0), x.max(0)
    margin = 0.01 * (high - low)
    lower = np.where(low == 0, 0.0, (x <= low + margin).mean(0))
    return float(np.median(lower)), float(np.median((x >= high - margin).mean(0)))


def clip_alike(x: np.ndarray, keep: np.ndarray, shares: tuple[float, float]) -> np.ndarray:
    """Every dimension clipped so that these shares of its values lie at the ends."""
    low, high = (
        np.quantile(x[keep], quantile, axis=0) for quantile in (min(shares[0], 0.45), 1 - min(shares[1], 0.45))
    )
    return np.clip(x, low, high).astype(np.float32)


CAUSE = Cause(
    "saturation",
    "values are clipped or pressed flat at the ends of their range",
    "Widen the range before clipping or squashing; look for tanh, sigmoid, ReLU6 or int8 at the output.",
    "no pile of values at the ends in the features before the last activation",
    signs,
    inflict=inflict,
)
