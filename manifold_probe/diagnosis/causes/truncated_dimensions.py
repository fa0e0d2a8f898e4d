"""Columns of the teacher without a counterpart, where all of the student's have one; or too few columns for the
teacher's neighbourhoods."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, Damage, Signs
from manifold_probe.diagnosis.lab import COSINE, Evidence, Lab, mean
from manifold_probe.diagnosis.spectra import MIN_PREDICTED, MIN_WIDTH_LOSS, alive, lost_by_width, matched_columns

CONFUSABLE = ("dead_dimensions", "dimensional_collapse")
MIN_MATCH = 0.75  # median correlation of columns that correspond
MIN_IDENTICAL = 0.97  # of columns that are copies of the teacher's
MAX_WIDTH_RATIO = 0.95  # of the teacher's dimensions
MIN_WIDTH_SHARE = 0.4  # of the loss, by the width alone: for a sound network with a bottleneck it is .28


def signs(lab: Lab) -> list[Signs]:
    """Teacher columns without a counterpart, or too few dimensions."""
    return [proposal for proposal in (_cut(lab), _too_narrow(lab)) if proposal is not None]


def _cut(lab: Lab) -> Signs | None:
    """Columns that all correspond to teacher columns, where other teacher columns have no counterpart."""
    held, width = (int(alive(x[lab.keep]).sum()) for x in (lab.student, lab.reference))
    if not 2 <= held < MAX_WIDTH_RATIO * width:
        return None
    _, teacher_columns, correlation = matched_columns(lab)
    if np.median(correlation) < MIN_MATCH:
        return None
    matched = float(np.median(correlation))
    unmatched = np.setdiff1d(np.flatnonzero(alive(lab.reference[lab.keep])), teacher_columns)
    evidence = [
        Evidence("median correlation of the student's columns with their counterparts", matched),
        Evidence("teacher's columns without one", float(len(unmatched)), 0.0),
    ]
    return Signs(
        evidence,
        {"dimensions": unmatched},
        facts=teacher_columns,
        confusable=() if matched > MIN_IDENTICAL else CONFUSABLE,
    )


def _too_narrow(lab: Lab) -> Signs | None:
    """A student with too few dimensions for the teacher: the width alone loses a large part, and no linear map restores
    it. Suspected only, as a student may be narrow on purpose."""
    width, teacher_width = (
        lab.student.shape[1],
        int(alive(lab.reference[lab.keep]).sum()),
    )  # dead dimensions are another cause
    if lab.explained < MIN_PREDICTED:
        return None  # an unrelated student has lost nothing to its width
    if not width <= 0.9 * teacher_width or (lost := lost_by_width(lab, width)) < MIN_WIDTH_LOSS:
        return None
    if lost < MIN_WIDTH_SHARE * lab.gap or mean(lab.kept(lab.recovered)[COSINE]) > 1 - 0.5 * lab.gap:
        return None
    evidence = [
        Evidence("dimensions", float(width), float(teacher_width)),
        Evidence("student's variance that the teacher predicts", lab.explained),
    ]
    return Signs(evidence, share=float(np.clip(lost / lab.loss(COSINE), 0, 1)), confusable=CONFUSABLE)


def inflict(lab: Lab, signs: Signs) -> Damage | None:
    """The teacher on the columns that have a counterpart."""
    columns = signs.facts
    if columns is None:
        return None
    return Damage("the teacher, cut alike", lambda x: x[:, columns], linear=True)


CAUSE = Cause(
    "truncated_dimensions",
    "dimensions of the teacher are missing",
    "Dimensions of the teacher are missing: compare widths and slicing at export.",
    "a linear map from the student that brings the missing dimensions back",
    signs,
    inflict=inflict,
    confusable=CONFUSABLE,
)
