"""Rows whose length, against the teacher's, is out of all proportion, and which decide the moments."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, LeftOut, Signs
from manifold_probe.diagnosis.lab import CKA, COSINE, Evidence, Lab, robust_z

FAR = 6.0  # robust standard deviations of the log length against the teacher's: none of a million normal ones is
LONG = 3.0  # times the median length
FEW, POWER = 0.03, 0.2  # of the rows, at most; of the sum of |x|^4, which CKA is made of, at least


def signs(lab: Lab) -> Signs | None:
    keep = lab.keep
    own, theirs = (
        np.linalg.norm(x - np.median(x[keep], axis=0), axis=1).astype(np.float64) for x in (lab.student, lab.teacher)
    )
    ratio = np.log(np.maximum(own, 1e-30)) - np.log(np.maximum(theirs, 1e-30))
    z = np.full(len(ratio), -np.inf)
    z[keep] = robust_z(ratio[keep], 0.05)
    long = own / max(float(np.median(own[keep])), 1e-30)
    far = ((z > FAR) & (long > LONG)) | ((z > 0.75 * FAR) & (long > 4 * LONG))
    power = np.where(keep, own, 0) ** 4
    share = float(power[far].sum() / max(power.sum(), 1e-300))
    if not far.any() or far.sum() > FEW * keep.sum() or share < POWER:
        return None
    evidence = [Evidence("share of the rows' lengths to the fourth power", share, float(far.sum() / keep.sum()))]
    return Signs(evidence, {"rows": np.flatnonzero(far)}, facts=far)


def undo(lab: Lab, signs: Signs) -> LeftOut:
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
