"""Measures that users declare: a function of two aligned arrays, with the same interval as the built-in ones.

value      function(x, y)                                              all rows, or a stated sample of 20,000
interval   the grouped jackknife: function(x, y) without each of the 20 groups in turn
chance     chance(x, y), where one is given
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import numpy as np

from manifold_probe.engine.rows import SAMPLING, sample
from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import MEASURES, Measure
from manifold_probe.measures.results import Measured
from manifold_probe.measures.uncertainty import FEWEST_GROUPS, Estimate, jackknife
from manifold_probe.spaces.space import Space

MOST_ROWS = 20_000


def chosen(measures: Any, k: int) -> list[Measure]:
    """The declarations of keys such as "overlap@10" and of declarations themselves; all of `MEASURES` for None.

    Raises
    ------
    InputError
        For a key that is not in the catalogue, a declaration without a function, or a key that is given twice.
    """
    if measures is None:
        return list(MEASURES)
    if isinstance(measures, str | Measure) or not hasattr(measures, "__iter__"):
        example = MEASURES[0].named(k)
        raise InputError(f"measures is {measures!r}; give a list of keys or declarations, such as [{example!r}]")
    known = {measure.named(k): measure for measure in MEASURES} | {measure.key: measure for measure in MEASURES}
    measures_by_key: dict[str, Measure] = {}
    for asked in measures:
        if isinstance(asked, str) and asked not in known:
            near = get_close_matches(asked, _keys(k), n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(_keys(k))}"
            raise InputError(f"measures: {asked!r} is not known with k = {k}; {hint}")
        measure = known[asked] if isinstance(asked, str) else asked
        if not isinstance(measure, Measure):
            raise InputError(f"measures: {asked!r} is a {type(asked).__name__}; give keys or manifold_probe.Measure")
        key = measure.named(k)
        if key in measures_by_key or (measure not in MEASURES and key in known):
            raise InputError(
                f"measures: {key!r} is given twice or is the key of a built-in measure; choose another key"
            )
        if measure.function is None and measure.value is None:
            raise InputError(f"measures: {key!r} has no function; give function=..., of two arrays (n, d)")
        measures_by_key[key] = measure
    if not measures_by_key:
        raise InputError("measures: the list is empty; give at least one key or declaration")
    return list(measures_by_key.values())


def _keys(k: int) -> list[str]:
    return [measure.named(k) for measure in MEASURES]


def measure_user_defined(
    measures: list[Measure], teacher: Space, student: Space, groups: np.ndarray, count: int, seed: int
) -> dict[str, Measured]:
    """The values of the user's measures by key.

    Parameters
    ----------
    measures : list of Measure
        Each with its function.
    teacher, student : Space
        Paired rows.
    groups, count : np.ndarray, shape (n,), and int
        The jackknife's groups of the rows.
    seed : int
        Seed of the sample of rows where there are more than 20,000.

    Raises
    ------
    InputError
        Where a function raises, or does not return a finite number.
    """
    if not measures:
        return {}
    rows = sample(teacher.n, MOST_ROWS, seed, SAMPLING)
    x, y = (space.take(rows).astype(np.float64) for space in (teacher, student))
    note = None if len(rows) == teacher.n else f"from {len(rows):,} of {teacher.n:,} rows, drawn at random"
    return {measure.key: _measured(measure, x, y, groups[rows], count, note) for measure in measures}


def _measured(
    measure: Measure, x: np.ndarray, y: np.ndarray, groups: np.ndarray, count: int, note: str | None
) -> Measured:
    assert measure.function is not None
    value = _number(measure, measure.function, x, y)
    estimate = Estimate(value, bounds=measure.bounds)
    if count >= FEWEST_GROUPS:
        without = [_number(measure, measure.function, x[groups != g], y[groups != g]) for g in range(count)]
        estimate = jackknife(value, np.array(without), measure.bounds)
    chance = _number(measure, measure.chance, x, y) if callable(measure.chance) else None
    return Measured(estimate, len(x), chance, note=note, declared=measure.declared())


def _number(measure: Measure, function: Callable[[np.ndarray, np.ndarray], Any], x: np.ndarray, y: np.ndarray) -> float:
    """The value of a user's function, called with copies so that it cannot change the rows for the next one."""
    try:
        value = float(function(x.copy(), y.copy()))
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"measure {measure.key!r}: its function raised {type(error).__name__}: {reason}") from error
    if not np.isfinite(value):
        raise InputError(
            f"measure {measure.key!r}: its function gave {value} for {len(x):,} rows; give a finite number"
        )
    return value
