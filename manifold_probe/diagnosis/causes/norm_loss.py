"""Lengths that vary less than the teacher's and less than those of a healthy twin."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, Proved, Signs
from manifold_probe.diagnosis.lab import EUCLIDEAN, Evidence, Lab

MIN_TEACHER_SPREAD = 0.03  # of the teacher's log lengths: less can hold no information
MAX_RATIO, MAX_TWIN_RATIO = 0.7, 0.93  # of the teacher's spread, and of a healthy twin's
MIN_SHARE = 0.08  # of the loss: the lengths of sound networks' other layers lose up to this


def signs(lab: Lab) -> Signs | None:
    """Lengths that vary less than the teacher's and a healthy twin's."""
    logs = [np.log(np.maximum(np.linalg.norm(x, axis=1), 1e-30)) for x in (lab.student, lab.reference, lab.twin)]
    student_spread, teacher_spread, twin = (float(log_lengths[lab.keep].std()) for log_lengths in logs)
    if (
        teacher_spread < MIN_TEACHER_SPREAD
        or student_spread > MAX_RATIO * teacher_spread
        or student_spread > MAX_TWIN_RATIO * twin
    ):
        return None
    evidence = [
        Evidence("deviation of the log lengths", student_spread, teacher_spread),
        Evidence("that of a healthy twin", twin, teacher_spread),
    ]
    return Signs(evidence, facts=np.exp(logs[1])[:, None])


def undo(lab: Lab, signs: Signs) -> Proved | None:
    """The trial of the student's directions with the teacher's lengths."""
    lengths = signs.facts

    def change(x: np.ndarray) -> np.ndarray:
        return x * (lengths / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30))

    trial = lab.undo("teacher's lengths given back", change, measures=(EUCLIDEAN,))
    return Proved(trial, lab.repaired(change(lab.student))) if trial.share >= MIN_SHARE else None


CAUSE = Cause(
    "norm_loss",
    "vector lengths were lost",
    "Lengths carry nothing any more: add a loss that sees them where they are used (SP, RKD, CoSS's space term, "
    "mean squared error without a head), or use cosines only.",
    "Euclidean neighbours that stay lost once the teacher's lengths are given back",
    signs,
    undo,
    harmless="lengths vary less than the teacher's: use cosines, or train with a loss that sees lengths",
)
