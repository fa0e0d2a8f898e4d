"""Rows that are extremely long relative to the teacher's, and decide the moments."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, LeftOut, Signs
from manifold_probe.diagnosis.lab import CKA, COSINE, Evidence, Lab, robust_z

MIN_Z = 6.0  # robust deviations of the log length relative to the teacher's: chance exceeds it once in 1e9 rows
MIN_LENGTH_RATIO = 3.0  # over the median length
MAX_ROWS_SHARE = 0.03  # of the rows
MIN_POWER_SHARE = 0.2  # of the sum of |x|^4, which decides CKA


def signs(lab: Lab) -> Signs | None:
    """A few rows, long relative to the teacher's and the median, that hold much of the fourth powers."""
    keep = lab.keep
    student_lengths, teacher_lengths = (
        np.linalg.norm(x - np.median(x[keep], axis=0), axis=1).astype(np.float64) for x in (lab.student, lab.teacher)
    )
    ratio = np.log(np.maximum(student_lengths, 1e-30)) - np.log(np.maximum(teacher_lengths, 1e-30))
    z = np.full(len(ratio), -np.inf)
    z[keep] = robust_z(ratio[keep], 0.05)
    long = student_lengths / max(float(np.median(student_lengths[keep])), 1e-30)
    far = ((z > MIN_Z) & (long > MIN_LENGTH_RATIO)) | ((z > 0.75 * MIN_Z) & (long > 4 * MIN_LENGTH_RATIO))
    power = np.where(keep, student_lengths, 0) ** 4
    share = float(power[far].sum() / max(power.sum(), 1e-300))
    if not far.any() or far.sum() > MAX_ROWS_SHARE * keep.sum() or share < MIN_POWER_SHARE:
        return None
    evidence = [Evidence("share of the rows' lengths to the fourth power", share, float(far.sum() / keep.sum()))]
    return Signs(evidence, {"rows": np.flatnonzero(far)}, facts=far)


def undo(lab: Lab, signs: Signs) -> LeftOut:
    """The pair without these rows."""
    return LeftOut("these rows left out", signs.facts, (COSINE, CKA))


CAUSE = Cause(
    "outliers",
    "a few rows are far out and decide the shape",
    "Look at the inputs of these rows and at overflow in half precision; leave them out before anything is fitted or "
    "averaged.",
    "rows of the same length when they are extracted again in float32",
    signs,
    undo,
)
