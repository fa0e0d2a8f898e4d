"""Columns of the teacher that have no counterpart, where all of the student's have one; or too few columns for what the
teacher holds."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, Damage, Signs
from manifold_probe.diagnosis.lab import COSINE, Evidence, Lab, mean
from manifold_probe.diagnosis.spectra import NARROW_LOSS, RELATED, alive, lost_by_width, matched_columns

OTHERS = ("dead_dimensions", "dimensional_collapse")
MATCHED, OWN = 0.75, 0.97  # median correlation of columns that correspond; of columns that are the teacher's own
NARROW = 0.95  # of the teacher's dimensions
BY_WIDTH = 0.4  # of the loss: what the width alone loses; of a sound network with a bottleneck it is .28


def signs(lab: Lab) -> list[Signs]:
    return [each for each in (_cut(lab), _too_narrow(lab)) if each is not None]


def _cut(lab: Lab) -> Signs | None:
    held, width = (int(alive(x[lab.keep]).sum()) for x in (lab.student, lab.reference))
    if not 2 <= held < NARROW * width:
        return None
    _, theirs, correlation = matched_columns(lab)
    if np.median(correlation) < MATCHED:
        return None
    matched = float(np.median(correlation))
    rest = np.setdiff1d(np.flatnonzero(alive(lab.reference[lab.keep])), theirs)
    evidence = [
        Evidence("student's columns with a counterpart of their own, median correlation", matched),
        Evidence("teacher's columns without one", float(len(rest)), 0.0),
    ]
    return Signs(evidence, {"dimensions": rest}, facts=theirs, confusable=() if matched > OWN else OTHERS)


def _too_narrow(lab: Lab) -> Signs | None:
    """A student of too few dimensions for the teacher, which alone lose a good part, and which no linear map brings
    back: suspected, as a student may be narrow on purpose."""
    width, whole = lab.student.shape[1], int(alive(lab.reference[lab.keep]).sum())  # dead dimensions are another cause
    if lab.explained < RELATED:
        return None  # what has nothing to do with the teacher has lost nothing to its width
    if not width <= 0.9 * whole or (lost := lost_by_width(lab, width)) < NARROW_LOSS:
        return None
    if lost < BY_WIDTH * lab.gap or mean(lab.kept(lab.recovered)[COSINE]) > 1 - 0.5 * lab.gap:
        return None
    evidence = [
        Evidence("dimensions", float(width), float(whole)),
        Evidence("student's variance that the teacher predicts", lab.explained),
    ]
    return Signs(evidence, share=float(np.clip(lost / lab.loss(COSINE), 0, 1)), confusable=OTHERS)


def inflict(lab: Lab, signs: Signs) -> Damage | None:
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
    confusable=OTHERS,
)
