"""The ladder: how faithful the student is after each repair, on rows that the repair was not fitted on.

    identity, centring, one scale, teacher's norms, top directions removed, dimensions at unit deviation, permutation,
    rotation (orthogonal Procrustes), any linear map (ridge), a bent map

All rungs are read on the same rows, so that steps are paired, and "before" is the identity rung.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import linear_sum_assignment

from manifold_probe.diagnosis.case import View
from manifold_probe.diagnosis.faithfulness import METRICS, Faithfulness, gain
from manifold_probe.diagnosis.linear import cross_fitted
from manifold_probe.diagnosis.shape import lift

FLOOR = 0.05  # of the median deviation: below, a dimension is noise that dividing would blow up
REMOVED = 3
Fit = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]


def rungs(view: View) -> dict[str, np.ndarray]:
    """The student after each repair, every half repaired by what the other half shows."""
    student = view.student
    lengths = np.linalg.norm(view.teacher, axis=1) / np.maximum(np.linalg.norm(student, axis=1), 1e-30)
    found = {
        "identity": student,
        "centring": _halves(view, _centre),
        "global_scale": _halves(view, _scale),
        "teacher_norms": student * lengths[:, None].astype(np.float32),
        "top_components_removed": _halves(view, _without_top),
        "unit_deviation": _halves(view, _standardise),
        "permutation": _halves(view, _permute),
        "orthogonal": _halves(view, _rotate),
        "ridge": view.recovered,
        "nonlinear": cross_fitted(lift(student, view.keep, view.case.seed), view.teacher, view.fold, view.keep),
    }
    return {name: np.asarray(each, dtype=np.float32) for name, each in found.items()}


def climb(view: View) -> list[dict]:
    """[{"repair", "measures": {key: {"value", "low", "high", "gain"}}}, ...] in the order of the ladder."""
    steps = []
    for name, student in rungs(view).items():
        found = view.judge(student)
        steps.append({"repair": name, "measures": measures(view.now, found, view.case.yardstick.k)})
    return steps


def measures(before: Faithfulness, after: Faithfulness, k: int) -> dict[str, dict[str, float | None]]:
    """Overlap in both metrics with its interval, and debiased CKA."""
    found: dict[str, dict[str, float | None]] = {}
    for metric in METRICS:
        values = after.overlap[metric][~np.isnan(after.overlap[metric])]
        error = 1.96 * 1.25 * float(values.std()) / np.sqrt(max(len(values), 1))
        key = f"overlap@{k}" if metric == "cosine" else f"overlap@{k}:euclidean"
        found[key] = {
            "value": float(values.mean()),
            "low": max(float(values.mean()) - error, 0.0),
            "high": min(float(values.mean()) + error, 1.0),
            "gain": gain(before, after, metric).value,
        }
    likeness = None if np.isnan(after.cka) else after.cka
    moved = None if np.isnan(after.cka) or np.isnan(before.cka) else after.cka - before.cka
    found["debiased_linear_cka"] = {"value": likeness, "low": None, "high": None, "gain": moved}
    return found


def _halves(view: View, fit: Fit) -> np.ndarray:
    parts = {}
    for side in (False, True):
        learn = view.keep & (view.fold != side)
        parts[side] = fit(view.student[learn], view.teacher[learn])(view.student[view.fold == side])
    out = np.empty((len(view.student), parts[False].shape[1]), np.float32)
    for side, part in parts.items():
        out[view.fold == side] = part
    return out


def _centre(student: np.ndarray, teacher: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    mean = student.mean(0)
    return lambda x: x - mean


def _scale(student: np.ndarray, teacher: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    ratio = np.linalg.norm(teacher - teacher.mean(0)) / max(float(np.linalg.norm(student - student.mean(0))), 1e-30)
    return lambda x: x * ratio


def _without_top(student: np.ndarray, teacher: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    mean = student.mean(0)
    _, _, directions = np.linalg.svd((student - mean)[:4000].astype(np.float64), full_matrices=False)
    top = directions[:REMOVED].astype(np.float32)
    return lambda x: (x - mean) - ((x - mean) @ top.T) @ top


def _standardise(student: np.ndarray, teacher: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    mean, spread = student.mean(0), student.std(0)
    spread = np.maximum(spread, FLOOR * max(float(np.median(spread)), 1e-30))
    return lambda x: (x - mean) / spread


def _permute(student: np.ndarray, teacher: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Every student's dimension in the place of the teacher's that it correlates with, with its sign and spread."""
    own, theirs = student - student.mean(0), teacher - teacher.mean(0)
    correlation = (own / np.maximum(own.std(0), 1e-12)).T @ (theirs / np.maximum(theirs.std(0), 1e-12)) / len(own)
    rows, columns = linear_sum_assignment(-np.abs(correlation))
    factor = np.sign(correlation[rows, columns]) * theirs.std(0)[columns] / np.maximum(own.std(0)[rows], 1e-12)
    mean_in, mean_out = student.mean(0), teacher.mean(0)

    def moved(x: np.ndarray) -> np.ndarray:
        out = np.tile(mean_out, (len(x), 1))
        out[:, columns] += (x - mean_in)[:, rows] * factor
        return out

    return moved


def _rotate(student: np.ndarray, teacher: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    mean_in, mean_out = student.mean(0), teacher.mean(0)
    left, values, right = np.linalg.svd(
        (student - mean_in).T.astype(np.float64) @ (teacher - mean_out), full_matrices=False
    )
    scale = values.sum() / max(float(np.square(student - mean_in).sum()), 1e-30)
    turn = (left @ right) * scale
    return lambda x: (x - mean_in) @ turn + mean_out
