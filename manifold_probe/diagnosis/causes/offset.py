"""A mean that is long relative to the spread, where the teacher's is not: cosines measure mostly the mean."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, Proved, Signs
from manifold_probe.diagnosis.lab import COSINE, Evidence, Lab

MIN_EXCESS = 0.2  # length of the mean direction over the teacher's: sound networks' other layers have up to this
MIN_SHARE = 0.08  # of the loss: the means of sound networks' other layers lose up to this
MIN_RATIO = 1.5  # mean over spread, relative to the teacher's


def signs(lab: Lab) -> Signs | None:
    """A mean direction longer than the teacher's."""
    keep = lab.keep
    student_length, teacher_length = mean_direction(lab.student[keep]), mean_direction(lab.reference[keep])
    ratio, usual = (
        float(np.linalg.norm(x[keep].mean(0)) / max(np.sqrt(np.square(x[keep] - x[keep].mean(0)).sum(1).mean()), 1e-30))
        for x in (lab.student, lab.reference)
    )
    if student_length < teacher_length + MIN_EXCESS or ratio < MIN_RATIO * usual:
        return None
    evidence = [
        Evidence("length of the mean direction", student_length, teacher_length),
        Evidence("mean over spread", ratio, usual),
    ]
    return Signs(evidence, facts=1 - usual / ratio)


def mean_direction(x: np.ndarray) -> float:
    """Length of the mean of the rows at unit length: 1 where all have the same direction."""
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return float(np.linalg.norm(unit.mean(0)))


def undo(lab: Lab, signs: Signs) -> Proved | None:
    """The trial of the student without the part of its mean beyond the teacher's."""

    def centred(x: np.ndarray) -> np.ndarray:
        return x - signs.facts * x[lab.keep].mean(0)

    trial = lab.undo("centred", centred, measures=(COSINE,), linear=True)
    return None if trial.share < MIN_SHARE else Proved(trial, lab.repaired(centred(lab.student)))


CAUSE = Cause(
    "offset",
    "a shared offset hides the differences from cosines",
    "Subtract the student's mean before cosines are taken.",
    "neighbours by cosine that stay lost once the mean is subtracted",
    signs,
    undo,
    harmless="the student's mean is long: subtract it before cosines of both models are compared",
)
