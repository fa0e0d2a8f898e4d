"""The ladder: how faithful the student is after each repair, on rows that the repair was not fitted on.

    identity, centring, one scale, teacher's norms, top directions removed, dimensions at unit deviation, permutation,
    rotation (orthogonal Procrustes), any linear map (ridge), a bent map

All rungs are read on the same rows, so that steps are paired, and "before" is the identity rung. Maps are fitted from
moments, in one pass over all rows.
"""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis import repairs
from manifold_probe.diagnosis.faithfulness import CORRECTION, METRICS, Faithfulness, gain, likeness_error
from manifold_probe.diagnosis.halves import Halves, Step
from manifold_probe.diagnosis.warp import Lift
from manifold_probe.engine.moments import Moments
from manifold_probe.parts import Progress

AFFINE: dict[str, repairs.Fit] = {
    "centring": repairs.centring,
    "global_scale": repairs.global_scale,
    "top_components_removed": repairs.top_components_removed,
    "unit_deviation": repairs.unit_deviation,
    "permutation": repairs.permutation,
    "orthogonal": repairs.orthogonal,
    "ridge": repairs.ridge,
}
RUNGS = (
    *("identity", "centring", "global_scale", "teacher_norms", "top_components_removed", "unit_deviation"),
    *("permutation", "orthogonal", "ridge", "nonlinear"),
)


def climb(halves: Halves, progress: Progress) -> list[dict]:
    """[{"repair", "measures": {key: {"value", "low", "high", "gain"}}}, ...] in the order of the ladder."""
    steps, before = [], None
    for place, name in enumerate(RUNGS):
        progress("trying repairs", place, len(RUNGS))
        repair = step_of(name, halves)
        found = halves.judge(repair)
        before = found if before is None else before
        error = likeness_error(*halves.sampled(repair))
        steps.append({"repair": name, "measures": measures(before, found, error, halves.k)})
    return steps


def step_of(name: str, halves: Halves) -> dict[bool, Step]:
    """What a rung does to the rows of each half, fitted on the other."""
    if name == "identity":
        return dict.fromkeys((False, True), lambda student, teacher: student)
    if name == "teacher_norms":
        return dict.fromkeys((False, True), at_lengths)
    if name == "nonlinear":
        lift = Lift(halves.student.take(halves.some), halves.seed)
        lifted = halves.moments(lift)
        return {side: mapped(repairs.ridge, lifted[not side], lift) for side in (False, True)}
    return {side: mapped(AFFINE[name], halves.whole[not side]) for side in (False, True)}


def mapped(fit: repairs.Fit, moments: Moments, lift: Lift | None = None) -> Step:
    """The rows, lifted where a lift is given, through an affine map that was fitted on other rows."""
    weights, offset = fit(moments)
    return lambda student, teacher: (student if lift is None else lift(student)) @ weights + offset


def at_lengths(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """The student's directions at the teacher's lengths."""
    own, theirs = (np.linalg.norm(x, axis=1, keepdims=True) for x in (student, teacher))
    return student * (theirs / np.maximum(own, 1e-30))


def measures(before: Faithfulness, after: Faithfulness, error: float, k: int) -> dict[str, dict[str, float | None]]:
    """Overlap in both metrics, and debiased CKA, with their intervals; ``error`` is CKA's."""
    found: dict[str, dict[str, float | None]] = {}
    for metric in METRICS:
        values = after.overlap[metric]
        half = 1.96 * CORRECTION * float(values.std()) / np.sqrt(max(len(values), 1))
        value = float(values.mean())
        key = f"overlap@{k}" if metric == "cosine" else f"overlap@{k}:euclidean"
        moved = gain(before, after, metric).value
        found[key] = {"value": value, "low": max(value - half, 0.0), "high": min(value + half, 1.0), "gain": moved}
    known = not np.isnan(after.cka) and not np.isnan(error)
    found["debiased_linear_cka"] = {
        "value": None if np.isnan(after.cka) else after.cka,
        "low": after.cka - 1.96 * error if known else None,
        "high": min(after.cka + 1.96 * error, 1.0) if known else None,
        "gain": None if np.isnan(after.cka) or np.isnan(before.cka) else after.cka - before.cka,
    }
    return found
