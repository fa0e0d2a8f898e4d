"""Constant dimensions, more than in the teacher."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, Damage, Signs
from manifold_probe.diagnosis.lab import Evidence, Lab
from manifold_probe.diagnosis.spectra import MIN_WIDTH_LOSS, alive, lost_by_width

MIN_EXTRA_SHARE = 0.03  # of the dimensions, beyond the teacher's share
MIN_CORRELATION = 0.3  # median, of dimensions that correspond: otherwise it is near 0


def signs(lab: Lab) -> Signs | None:
    """The student's constant dimensions, where the width of the others costs overlap."""
    dead = ~alive(lab.student[lab.keep])
    teacher_share = float((~alive(lab.teacher[lab.keep])).mean())
    if float(dead.mean()) - teacher_share < MIN_EXTRA_SHARE or dead.sum() < 2:
        return None
    if (~dead).any() and lost_by_width(lab, int((~dead).sum())) < MIN_WIDTH_LOSS:
        return None  # the remaining ones are enough
    evidence = [Evidence("share of dimensions of zero variance", float(dead.mean()), teacher_share)]
    return Signs(evidence, {"dimensions": np.flatnonzero(dead)}, facts=dead)


def inflict(lab: Lab, signs: Signs) -> Damage:
    """The teacher without the dimensions of the same numbers or, where dimensions do not correspond, without as many
    directions drawn at random."""
    dead = signs.facts
    if lab.student.shape[1] == lab.reference.shape[1] and _corresponding(lab, ~dead) > MIN_CORRELATION:
        return Damage(
            "the teacher without its dimensions of these numbers", lambda x: np.where(dead, 0, x), counted=True
        )
    width = lab.reference.shape[1]
    turn = np.linalg.qr(np.random.default_rng([lab.seed, 10]).normal(size=(width, width)))[0]
    directions = turn[:, : max(1, round(width * float((~dead).mean())))].astype(np.float32)
    return Damage("the teacher on as many directions drawn at random", lambda x: x @ directions, counted=True)


def _corresponding(lab: Lab, columns: np.ndarray) -> float:
    """Median correlation of the student's columns with the teacher's columns of the same numbers."""
    student, teacher = (x[lab.keep][:, columns].astype(np.float64) for x in (lab.student, lab.reference))
    student, teacher = student - student.mean(0), teacher - teacher.mean(0)
    scale = np.sqrt(np.square(student).sum(0) * np.square(teacher).sum(0))
    return float(np.median((student * teacher).sum(0) / np.maximum(scale, 1e-30)))


CAUSE = Cause(
    "dead_dimensions",
    "dimensions are dead",
    "These dimensions never change: look for dead units or a masked layer, and drop or revive them.",
    "dimensions that vary on other rows",
    signs,
    inflict=inflict,
    harmless="these dimensions never change: drop them and the index is smaller",
)
