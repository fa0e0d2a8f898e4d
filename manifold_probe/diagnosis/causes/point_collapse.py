"""Rows that coincide with others in the student, but not in the teacher."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, LeftOut, Signs
from manifold_probe.diagnosis.lab import COSINE, EUCLIDEAN, METRICS, Evidence, Lab, mean, robust_z, shared
from manifold_probe.engine.neighbours import Neighbours

COLLAPSED_RATIO = 0.02  # distance to the nearest row over the teacher's, where most rows collapsed
MAX_DISTANCE_RATIO = 0.2  # of the median distance to the nearest row
MAX_Z = -6.0  # robust deviations of the log distance relative to the teacher's
MIN_ROWS, MAX_ROWS_SHARE = 5, 0.95


def signs(lab: Lab) -> Signs | None:
    """Rows at a very small distance from another row, relative to the teacher, that keep few neighbours."""
    rows = np.flatnonzero(lab.keep)
    student_logs, teacher_logs = (_log_distances(x[rows]) for x in (lab.student, lab.reference))
    z = robust_z(student_logs - teacher_logs, 0.1)
    fell = (z < MAX_Z) & (np.exp(student_logs) < MAX_DISTANCE_RATIO * float(np.median(np.exp(student_logs))))
    if not fell.any():  # where most rows fell, the usual row is one that fell
        reach = [float(np.linalg.norm(x[rows] - x[rows].mean(0), axis=1).mean()) for x in (lab.student, lab.reference)]
        fell = student_logs - np.log(max(reach[0], 1e-30)) < teacher_logs - np.log(max(reach[1], 1e-30)) + np.log(
            COLLAPSED_RATIO
        )
    if fell.sum() < MIN_ROWS or fell.mean() > MAX_ROWS_SHARE:
        return None
    mask = np.zeros(len(lab.keep), bool)
    mask[rows[fell]] = True
    inside, outside = (mean(lab.now[COSINE][group]) for group in (mask, lab.keep & ~mask))
    if not inside < 0.5 * outside or _drawn_in(lab, mask):
        return None
    evidence = [
        Evidence("share of the rows that lie on another", float(fell.mean()), 0.0),
        Evidence(f"their {lab.key(COSINE)}", inside, outside),
    ]
    return Signs(evidence, {"rows": np.flatnonzero(mask)}, facts=mask)


def _log_distances(x: np.ndarray) -> np.ndarray:
    """(n,): log distance of every row to the nearest other."""
    first = Neighbours.search(x, 1, "euclidean", distances=False).nearest[:, 0]
    distance = np.linalg.norm(x - x[first], axis=1)
    logs: np.ndarray = np.log(np.maximum(distance, 1e-9 * max(float(np.median(distance)), 1e-30)))
    return logs


def _drawn_in(lab: Lab, mask: np.ndarray) -> bool:
    """Whether rows that are close together still have the teacher's neighbours: contracted, not collapsed."""
    rows = np.flatnonzero(mask)
    k = min(lab.k, len(rows) // 4)
    if k < 2:
        return False
    lists = [Neighbours.search(x[rows], k, "euclidean", distances=False).nearest for x in (lab.reference, lab.student)]
    chance = k / (len(rows) - 1)
    usual = mean(lab.now[EUCLIDEAN][lab.keep & ~mask])
    return bool(shared(*lists).mean() > chance + 0.3 * (1 - chance) * usual)


def undo(lab: Lab, signs: Signs) -> LeftOut:
    """The pair without these rows."""
    return LeftOut("these rows left out", signs.facts, METRICS)


CAUSE = Cause(
    "point_collapse",
    "many rows fell onto one point",
    "Look at the inputs of these rows: a failed decoder, an empty text or a padding row gives one vector for many.",
    "inputs of these rows that differ, and vectors that differ when they are extracted again",
    signs,
    undo,
)
