"""One dimension of either side, or one of each, holds most of the variance and decides every measure.

A dimension on one side alone hides neighbours that the student keeps; one on both sides hides a loss. The measures
without it show which.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from manifold_probe.diagnosis.cause import Cause, Proved, Signs
from manifold_probe.diagnosis.lab import CKA, CKA_PARTS, METRICS, Evidence, Lab, Trial, error_of_parts, likeness, paired

MIN_VARIANCE_SHARE, MIN_VARIANCE_RATIO = 0.5, 10  # of the variance; over the variance of the next dimension
MIN_CHANGE, MIN_Z = 0.05, 4.0  # change of a measure without the dimension, in points and in standard errors


def dominant(x: np.ndarray) -> tuple[int, float] | None:
    """The dimension of (n, d) that holds most of the variance, far above the next, and its share."""
    variances = x.astype(np.float64).var(0)
    largest = int(variances.argmax())
    share = float(variances[largest] / max(variances.sum(), 1e-300))
    if share < MIN_VARIANCE_SHARE or variances[largest] < MIN_VARIANCE_RATIO * np.delete(variances, largest).max(
        initial=0.0
    ):
        return None
    return largest, share


def signs(lab: Lab) -> Signs | None:
    """The dominating dimensions of teacher and student."""
    sides = {"teacher": lab.teacher, "student": lab.student}
    held = {side: dimension for side, x in sides.items() if (dimension := dominant(x[lab.keep])) is not None}
    if not held or any(sides[side].shape[1] < 3 for side in held):
        return None
    evidence = [Evidence(f"share of the {side}'s variance", share) for side, (_, share) in held.items()]
    columns = {side: [column] for side, (column, _) in held.items()}
    where = {"dimensions": [column for column, _ in held.values()], "sides": list(held)}
    return Signs(evidence, where, facts=columns)


def undo(lab: Lab, signs: Signs) -> Proved | None:
    """The trial of both spaces without these dimensions."""
    after = lab.without_columns(signs.facts.get("teacher", []), signs.facts.get("student", []))
    trials = [_step(lab, after, measure) for measure in (*METRICS, CKA)]
    moved = max(trials, key=lambda trial: abs(trial.gain / trial.error) if abs(trial.gain) > MIN_CHANGE else 0.0)
    hidden = len(signs.facts) == 2 and moved.after < 0.5 * moved.before
    z = moved.gain / moved.error
    if abs(moved.gain) < MIN_CHANGE or abs(z) < MIN_Z or not (z > 0 or hidden):
        return None
    return Proved(replace(moved, share=1.0, counted=True) if hidden else moved, after)


def _step(lab: Lab, after: Lab, measure: str) -> Trial:
    name = "this dimension left out"
    if measure != CKA:
        trial = paired(name, "undo", lab.key(measure), lab.now[measure], after.now[measure], lab.loss(measure))
        return replace(trial, healthy=0.0)
    rows = np.flatnonzero(lab.keep)
    tenths = [rows[part::CKA_PARTS] for part in range(CKA_PARTS)]
    steps = [
        likeness(after.teacher[part_rows], after.student[part_rows])
        - likeness(lab.teacher[part_rows], lab.student[part_rows])
        for part_rows in tenths
    ]
    error = max(error_of_parts(np.array(steps)), 1e-6)
    gain = after.cka - lab.cka
    share = float(np.clip(gain / max(lab.loss(CKA), 1e-3), 0, 1))
    return Trial(name, "undo", lab.key(CKA), lab.cka, after.cka, error, 0.0, share, len(rows))


CAUSE = Cause(
    "dominating_dimension",
    "one dimension decides the distances",
    "Look at this dimension: drop it if it is no feature (a row number, a year, a count), or bring every dimension to "
    "unit deviation before anything is compared or searched.",
    "measures that stay where they are once this dimension is left out",
    signs,
    undo,
)
