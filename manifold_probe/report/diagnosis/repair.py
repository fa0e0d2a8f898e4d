"""The affine map that brings the student nearest to the teacher: found on halves, proved on the other, fitted on all.

centring       x - m                        rotation   (x - m) Q s + c   (orthogonal Procrustes)
unit deviation (x - m) / s                  linear     (x - m) W + c     (ridge)
direction      (x - m) (I - v v'),  v: the first principal direction of what the teacher does not predict
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from manifold_probe.diagnosis.faithfulness import Gain, Yardstick, gain
from manifold_probe.diagnosis.linear import fit_ridge
from manifold_probe.errors import InputError
from manifold_probe.measures.rows import sample
from manifold_probe.spaces.affine import Map
from manifold_probe.spaces.pairing import Pair

Fit = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
QUERIES = 1000
FITTED = 20_000  # rows that a map is fitted on
FLOOR = 0.05  # of the median deviation, below which a dimension is noise
LEAST = 0.01


def proved_map(pair: Pair, k: int, seed: int, without: np.ndarray | None = None) -> Map:
    """The candidate that gains most overlap on rows it was not fitted on, fitted again on all.

    Parameters
    ----------
    pair : Pair
    k, seed : int
    without : np.ndarray of int, optional
        Rows that nothing is fitted on or judged by, such as outliers.

    Raises
    ------
    InputError
        Where none gains by more than its interval and by .01.
    """
    n = pair.teacher.n
    teacher, student = (np.ascontiguousarray(space.read(0, n), np.float32) for space in (pair.teacher, pair.student))
    sound = np.ones(n, bool)
    if without is not None:
        sound[without] = False
    fold = np.zeros(n, bool)
    fold[np.random.default_rng([seed, 1]).permutation(n)[: n // 2]] = True
    yardstick = Yardstick(teacher, fold, k, sample(n, QUERIES, seed))
    now = yardstick.of(student, sound, cka=False)
    gains = {
        name: gain(now, yardstick.of(_held_out(fit, student, teacher, fold, sound), sound, cka=False))
        for name, fit in CANDIDATES.items()
    }
    best = max(gains, key=lambda name: gains[name].value)
    step = gains[best]
    if step.value < LEAST or step.z <= 1.96:
        raise InputError(
            f"repair: no map proved itself (the best, {best}, takes overlap@{k} from {step.before:.3f} to "
            f"{step.after:.3f} on held-out rows); nothing is written"
        )
    rows = _some(np.flatnonzero(sound))
    weights, offset = CANDIDATES[best](student[rows], teacher[rows])
    return Map(weights.astype(np.float32), offset.astype(np.float32), _facts(best, step, k, len(rows)))


def _facts(name: str, step: Gain, k: int, rows: int) -> dict[str, str]:
    facts: dict[str, Any] = {
        "repair": name,
        "measure": f"overlap@{k}",
        "before": round(step.before, 6),
        "after": round(step.after, 6),
        "low": round(step.low, 6),
        "high": round(step.high, 6),
        "rows": rows,
    }
    return {key: str(value) for key, value in facts.items()}


def _held_out(fit: Fit, student: np.ndarray, teacher: np.ndarray, fold: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """The student, each half mapped by what the other half shows."""
    parts = {}
    for side in (False, True):
        learn = _some(np.flatnonzero(sound & (fold != side)))
        weights, offset = fit(student[learn], teacher[learn])
        parts[side] = student[fold == side] @ weights.astype(np.float32) + offset.astype(np.float32)
    out = np.empty((len(student), parts[False].shape[1]), np.float32)
    for side, part in parts.items():
        out[fold == side] = part
    return out


def _some(rows: np.ndarray) -> np.ndarray:
    return rows if len(rows) <= FITTED else rows[np.linspace(0, len(rows) - 1, FITTED).astype(int)]


def _centre(student: np.ndarray, teacher: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.eye(student.shape[1]), -student.mean(0, dtype=np.float64)


def _unit_deviation(student: np.ndarray, teacher: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    spread = student.std(0, dtype=np.float64)
    spread = np.maximum(spread, FLOOR * max(float(np.median(spread)), 1e-30))
    return np.diag(1 / spread), -student.mean(0, dtype=np.float64) / spread


def _without_direction(student: np.ndarray, teacher: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = student.mean(0, dtype=np.float64)
    left = student - fit_ridge(teacher, student)(teacher)
    _, vectors = np.linalg.eigh(np.cov(left.T.astype(np.float64)).reshape(student.shape[1], -1))
    weights = np.eye(student.shape[1]) - np.outer(vectors[:, -1], vectors[:, -1])
    return weights, -mean @ weights


def _rotate(student: np.ndarray, teacher: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean_in, mean_out = student.mean(0, dtype=np.float64), teacher.mean(0, dtype=np.float64)
    centred = student - mean_in
    left, values, right = np.linalg.svd(centred.T @ (teacher - mean_out), full_matrices=False)
    weights = left @ right * (values.sum() / max(float(np.square(centred).sum()), 1e-30))
    return weights, mean_out - mean_in @ weights


def _linear(student: np.ndarray, teacher: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = fit_ridge(student, teacher)
    return found.weights, found.mean_out - found.mean_in @ found.weights


CANDIDATES: dict[str, Fit] = {
    "centring": _centre,
    "unit_deviation": _unit_deviation,
    "direction_removed": _without_direction,
    "orthogonal": _rotate,
    "ridge": _linear,
}
