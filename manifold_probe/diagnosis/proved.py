"""The affine map that brings the student nearest to the teacher: proved on held-out halves, then fitted on all."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.diagnosis import repairs
from manifold_probe.diagnosis.faithfulness import Gain, gain
from manifold_probe.diagnosis.halves import Halves
from manifold_probe.diagnosis.ladder import mapped, step_of
from manifold_probe.errors import InputError
from manifold_probe.spaces.affine import Map
from manifold_probe.spaces.pairing import Pair

LEAST = 0.01
FLOAT32 = 100  # exponents that leave float32 a few digits on either side
CANDIDATES: dict[str, repairs.Fit] = {
    "centring": repairs.centring,
    "unit_deviation": repairs.unit_deviation,
    "direction_removed": repairs.direction_removed,
    "orthogonal": repairs.orthogonal,
    "ridge": repairs.ridge,
}


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
    halves = Halves(pair, k, seed, without)
    now = halves.judge(step_of("identity", halves), cka=False)
    gains = {}
    for name, fit in CANDIDATES.items():
        steps = {side: mapped(fit, halves.whole[not side]) for side in (False, True)}
        gains[name] = gain(now, halves.judge(steps, cka=False))
    best = max(gains, key=lambda name: gains[name].value)
    step = gains[best]
    if step.value < LEAST or step.z <= 1.96:
        raise InputError(
            f"repair: no map proved itself (the best, {best}, takes overlap@{k} from {step.before:.3f} to "
            f"{step.after:.3f} on held-out rows); nothing is written"
        )
    whole = halves.whole[False].merge(halves.whole[True])
    weights, offset = CANDIDATES[best](whole)
    theirs, own = halves.exponents
    weights, offset = np.ldexp(weights, theirs - own), np.ldexp(offset, theirs)
    if max(abs(theirs), abs(theirs - own)) > FLOAT32:
        raise InputError("repair: values are so large or so small that no float32 map holds them; scale the features")
    return Map(weights.astype(np.float32), offset.astype(np.float32), _facts(best, step, k, whole.n))


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
