"""Whether only the rows that were trained on are kept: seen against unseen rows, as many of each, neighbours within
each, so that both are measured alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from manifold_probe.diagnosis.advice import ADVICE
from manifold_probe.diagnosis.case import confidence_of
from manifold_probe.diagnosis.faithfulness import CORRECTION, nearest, shared
from manifold_probe.engine.scale import at_unit_scale
from manifold_probe.errors import InputError
from manifold_probe.spaces.pairing import Pair

LEAST_ROWS = 60
MOST_ROWS = 4000  # of each
LEAST_GAP = 0.05


@dataclass(frozen=True)
class Between:
    """A difference of two means of overlap, with its 95% interval."""

    first: float
    second: float
    error: float

    @property
    def value(self) -> float:
        """The first minus the second."""
        return self.first - self.second

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.value - 1.96 * self.error

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.value + 1.96 * self.error


def overfit(pair: Pair, seen: np.ndarray, k: int, seed: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What was measured, and the cause ``overfit`` where seen rows are kept better by more than chance and by .05.

    Parameters
    ----------
    pair : Pair
    seen : np.ndarray of bool, shape (n,)
        Which rows were trained on.
    k, seed : int

    Raises
    ------
    InputError
        Too few rows of either kind.
    """
    sides = {"trained on": np.flatnonzero(seen), "not trained on": np.flatnonzero(~seen)}
    least = max(LEAST_ROWS, 3 * k)
    for name, rows in sides.items():
        if len(rows) < least:
            raise InputError(f"train ids: {len(rows):,} of the paired rows were {name}; at least {least} are needed")
    size = min(MOST_ROWS, *(len(rows) for rows in sides.values()))
    draw = np.random.default_rng([seed, 11])
    kept = [_kept(pair, np.sort(draw.permutation(rows)[:size]), k) for rows in sides.values()]
    means = [float(each.mean()) for each in kept]
    error = CORRECTION * float(np.sqrt(sum(each.var(ddof=1) / size for each in kept)))
    gap = Between(means[0], means[1], error)
    found = {
        "rows": size,
        "seen": gap.first,
        "unseen": gap.second,
        "difference": gap.value,
        "low": gap.low,
        "high": gap.high,
    }
    if gap.value < LEAST_GAP or gap.low <= 0:
        return found, None
    return found, {
        "name": "overfit",
        "confidence": confidence_of(gap.value / max(error, 1e-9)),
        "share": min(gap.value / max(1 - gap.second, 1e-3), 1.0),
        "evidence": [
            {"measure": f"overlap@{k} of rows that were trained on", "value": gap.first, "expected": gap.second},
            {"measure": f"overlap@{k}, seen minus unseen", "value": gap.value, "expected": 0.0},
        ],
        "repair": None,
        "where": None,
        "advice": ADVICE["overfit"],
        "or": [],
    }


def _kept(pair: Pair, rows: np.ndarray, k: int) -> np.ndarray:
    """(m,): the share of each row's neighbours among ``rows`` that the student keeps."""
    places = np.arange(len(rows))
    first, second = (
        nearest(at_unit_scale(space.take(rows)), places, k, "cosine") for space in (pair.teacher, pair.student)
    )
    return shared(first, second)
