"""The affine map that brings the student nearest to the teacher: proved on held-out halves, then fitted on all rows.

The maps are those of the account, on the same halves, with the same rows left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.diagnosis.accounting import IDENTITY, affine_fits, affine_steps_of
from manifold_probe.diagnosis.halves import SIDES, Halves, chosen, joined, mean_of_halves
from manifold_probe.diagnosis.lab import COSINE
from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import OVERLAP
from manifold_probe.measures.uncertainty import Estimate
from manifold_probe.spaces.affine import Map
from manifold_probe.spaces.pairing import Pair

MIN_GAIN = 0.01  # of the overlap: one point
MAX_EXPONENT = 100  # of two: float32 ends at 2^127


def proved_map(pair: Pair, k: int, seed: int, without: np.ndarray | None = None) -> Map:
    """The candidate that gains most overlap on rows it was not fitted on, fitted again on all.

    Parameters
    ----------
    pair : Pair
    k, seed : int
    without : np.ndarray of int, optional
        Rows that are used neither to fit nor to judge a map, such as outliers.

    Raises
    ------
    InputError
        Where no map gains more than .01 and more than its interval.
    """
    halves = Halves(pair, k, seed, without)
    overlaps = halves.overlaps(affine_steps_of(halves))
    readings = {name: mean_of_halves(values[COSINE]) for name, values in overlaps.items()}
    fits = affine_fits(halves)
    picked = chosen(readings, [tuple(fits)] * len(SIDES))
    before, after = joined(readings[IDENTITY]), joined((readings[picked[0]][0], readings[picked[1]][1]))
    best = max(picked, key=lambda name: joined(readings[name]).value or 0.0)
    check(best, before, after, OVERLAP.named(k))
    moments = halves.half_moments[False].merge(halves.half_moments[True])
    weights, offset = fits[best](moments)
    teacher_exponent, student_exponent = halves.exponents
    weights, offset = np.ldexp(weights, teacher_exponent - student_exponent), np.ldexp(offset, teacher_exponent)
    if max(abs(teacher_exponent), abs(teacher_exponent - student_exponent)) > MAX_EXPONENT:
        raise InputError("repair: values are too large or too small for a float32 map; scale the features")
    return Map(weights.astype(np.float32), offset.astype(np.float32), _facts(best, before, after, k, moments.n))


def check(best: str, before: Estimate, after: Estimate, measure: str) -> None:
    """Refuse a map that gains less than .01, or less than its interval.

    Raises
    ------
    InputError
    """
    gain = after.minus(before)
    if (gain.value or 0.0) < MIN_GAIN or (gain.low or 0.0) <= 0:
        raise InputError(
            f"repair: no map is proved to help (the best, {best}, changes {measure} from {before.value:.3f} to "
            f"{after.value:.3f} on held-out rows); nothing is written"
        )


def _facts(name: str, before: Estimate, after: Estimate, k: int, rows: int) -> dict[str, str]:
    gain = after.minus(before)
    assert before.value is not None
    assert after.value is not None
    half = 1.96 * (gain.standard_error or 0.0)
    facts: dict[str, Any] = {
        "repair": name,
        "measure": OVERLAP.named(k),
        "before": round(before.value, 6),
        "after": round(after.value, 6),
        "low": round(after.value - half, 6),
        "high": round(after.value + half, 6),
        "rows": rows,
    }
    return {key: str(value) for key, value in facts.items()}
