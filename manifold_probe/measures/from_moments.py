"""The measures that need only moments and norms, as they are declared, with grouped-jackknife intervals.

value         declaration.value(sums)
interval      the same without each group of rows in turn, or declaration.interval(sums)
chance        declaration.chance
class chance  the value of up to 2,000 rows that move within their classes
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.moments import Moments, grouped, total
from manifold_probe.engine.rows import MOVED, PERMUTING, cycled_within, generator, has_company, sample
from manifold_probe.measures.catalogue import DEBIASED_CKA, MEASURES, Measure, made_from
from manifold_probe.measures.dimensions import median
from manifold_probe.measures.geometry import of_one_length
from manifold_probe.measures.linear_maps import Half, halves
from manifold_probe.measures.results import Measured
from manifold_probe.measures.sides import NULL_ROWS, Settings, Teacher
from manifold_probe.measures.uncertainty import FEWEST_GROUPS, Estimate, jackknife

MIN_ROWS = 10
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
UNKNOWN_NORMS = np.full(2, np.nan)
Norms = tuple[np.ndarray, np.ndarray]
T = TypeVar("T")


class Sums:
    """The summary that measures of moments are computed from.

    ``parts`` are the moments of the groups of rows and ``m`` those of all; ``norms`` the rows' lengths (n,) in both
    spaces, with their ``groups`` (n,). Without norms, measures of norms are NaN.
    """

    most_moved = NULL_ROWS

    def __init__(
        self,
        parts: Sequence[Moments],
        norms: Norms = (UNKNOWN_NORMS, UNKNOWN_NORMS),
        groups: np.ndarray | None = None,
        m: Moments | None = None,
        equal_norms: Sequence[str] = (),
        permuted: Callable[[], Moments] | None = None,
        of_teacher: dict[Hashable, Any] | None = None,
    ) -> None:
        self.parts, self.norms, self.groups = list(parts), norms, groups
        self._m = m
        self.equal_norms = equal_norms  # the spaces whose rows all have the same length
        self._permuted = permuted
        self._made: dict[Hashable, Any] = {}
        self._of_teacher = {} if of_teacher is None else of_teacher

    def once(self, name: Hashable, make: Callable[[], T], side: str = "") -> T:
        """The result of ``make``, computed once: a value and its interval often share their work.

        A result of the "teacher" ``side`` alone is computed once for all students.
        """
        made = self._of_teacher if side == "teacher" else self._made
        if name not in made:
            made[name] = make()
        return made[name]

    @cached_property
    def m(self) -> Moments:
        """The moments of all rows."""
        return total(self.parts) if self._m is None else self._m

    @property
    def enough(self) -> bool:
        """Whether there are enough groups for an interval."""
        return len(self.parts) >= FEWEST_GROUPS

    @cached_property
    def halves(self) -> tuple[Half, Half]:
        """The two directions of a cross-fit."""
        return halves(self.parts)

    @cached_property
    def swapped(self) -> Sums:
        """The moments with teacher and student exchanged."""
        return Sums([part.swapped() for part in self.parts], m=self.m.swapped())

    def of(self, side: str) -> Sums:
        """The moments with the space of this side in the teacher's place."""
        return self if side == "teacher" else self.swapped

    @cached_property
    def permuted(self) -> Moments:
        """Moments of the query rows, the student's in random order."""
        assert self._permuted is not None
        return self._permuted()

    def without(self, group: int) -> Sums:
        """The same without one group of rows."""
        norms = self.norms
        if self.groups is not None:
            kept = self.groups != group
            norms = norms[0][kept], norms[1][kept]
        return Sums(self.parts[:group] + self.parts[group + 1 :], norms)


def values(
    parts: Sequence[Moments],
    wanted: Iterable[Measure] = MEASURES,
    norms: Norms = (UNKNOWN_NORMS, UNKNOWN_NORMS),
) -> dict[str, float]:
    """The wanted measures of both spaces by key, without intervals: for moved rows and for the reference."""
    sums = Sums(parts, norms)
    return {measure.key: _middle(measure.made(sums)) for measure in _defined(sums, wanted) if not measure.side}


def _defined(sums: Sums, wanted: Iterable[Measure]) -> list[Measure]:
    return [
        measure
        for measure in made_from(wanted, "moments")
        if measure.undefined is None or measure.undefined(sums) is None
    ]


def _middle(value: Any) -> float:
    """A number as it is, or the median over dimensions."""
    return median(value) if np.ndim(value) else float(value)


def estimates(
    sums: Sums, wanted: Iterable[Measure] = MEASURES, wider: float = 1.0
) -> tuple[dict[str, Estimate], dict[str, np.ndarray]]:
    """The wanted measures by key with their intervals, and for medians the values of every dimension.

    ``wider``: the factor by which heavy tails widen the errors, see `uncertainty.tail_factor`.
    """
    measures = _defined(sums, wanted)
    values_by_key = {measure.key: measure.made(sums) for measure in measures}
    left_out: dict[str, Any] = {key: [] for key in values_by_key}
    for measure in measures if sums.enough else ():
        if measure.interval is not None:
            left_out[measure.key] = measure.interval(sums)
    recomputed = [measure for measure in measures if measure.interval is None]
    for group in range(len(sums.parts) if sums.enough and recomputed else 0):
        without = sums.without(group)
        for measure in recomputed:
            left_out[measure.key].append(measure.made(without))
    by_key = {}
    for measure in measures:
        value, (lowest, highest) = _middle(values_by_key[measure.key]), measure.bounds
        if not sums.enough:
            by_key[measure.key] = Estimate(value)
            continue
        bounds = (lowest, highest if measure.at_most is None else measure.at_most(sums))
        by_key[measure.key] = jackknife(value, np.array([_middle(row) for row in left_out[measure.key]]), bounds)
    by_dimension = {key: np.asarray(value) for key, value in values_by_key.items() if np.ndim(value)}
    return {key: defined(estimate).widened(wider) for key, estimate in by_key.items()}, by_dimension


def defined(estimate: Estimate) -> Estimate:
    """The estimate with None in place of NaN, for the value or for deviations that cannot be trusted."""
    if estimate.value is None or not np.isfinite(estimate.value):
        return Estimate(None)
    if estimate.deviations is not None and not np.isfinite(estimate.deviations).all():
        return Estimate(estimate.value)
    return estimate


def measure_moments(
    m: Moments, parts: list[Moments], teacher: Teacher, cloud: Cloud, settings: Settings, wider: float = 1.0
) -> tuple[dict[str, Measured], dict[str, np.ndarray]]:
    """The wanted measures of moments with interval, chance and class chance, and the values of every dimension by key.

    Debiased CKA is always included: it costs little, and alarms need it.
    """
    wanted = made_from(dict.fromkeys([*settings.measures, DEBIASED_CKA]), "moments")
    rng = generator(settings.seed, PERMUTING)
    order = rng.permutation(len(teacher.queries))
    sums = Sums(
        parts,
        (teacher.cloud.profile.norms, cloud.profile.norms),
        teacher.groups,
        m,
        [name for name, c in (("teacher", teacher.cloud), ("student", cloud)) if _equal_norms(c)],
        lambda: _permuted(teacher, cloud, order),
        teacher.made,
    )
    by_key, by_dimension = estimates(sums, wanted, wider)
    within = _within_classes(teacher, cloud, wanted, settings.seed, rng)
    fixed_note = None if within else "no class chance: too few rows share their label with another"
    measures = {}
    undefined_last = sorted(wanted, key=lambda measure: measure.key not in by_key)
    for measure in undefined_last:
        estimate, of_dimensions = by_key.get(measure.key, Estimate(None)), by_dimension.get(measure.key)
        note = measure.note(sums, estimate.value) if measure.note else None
        if estimate.value is None:
            why = (measure.undefined and measure.undefined(sums)) or note or _undefined(teacher.cloud, cloud, m.n)
            measures[measure.named(settings.k)] = Measured(estimate, m.n, note=why, declared=measure.declared())
            continue
        left_out = 0 if of_dimensions is None else int(np.isnan(of_dimensions).sum())
        if left_out:
            note = f"{left_out} of {len(m.sx)} dimensions are constant or without a partner and left out"
        notes = [note, None if measure.side else fixed_note]
        measures[measure.named(settings.k)] = Measured(
            estimate,
            m.n,
            _finite(_middle(measure.chance(sums)) if callable(measure.chance) else measure.chance),
            _finite(within.get(measure.key)),
            note="; ".join(part for part in notes if part) or None,
            quantiles=None if of_dimensions is None else quantiles(of_dimensions),
            declared=measure.declared(),
        )
    return measures, by_dimension


def _undefined(teacher: Cloud, student: Cloud, n: int) -> str:
    """Why a measure of moments has no value."""
    equal = [name for name, cloud in (("teacher", teacher), ("student", student)) if not cloud.profile.spread]
    if equal:
        zero = not (teacher if equal == ["teacher"] else student).profile.norms.any()
        return f"all vectors of the {' and of the '.join(equal)} are {'zero' if zero and len(equal) == 1 else 'equal'}"
    return f"{n:,} rows are too few" if n < MIN_ROWS else "too few of the dimensions vary, or too few rows are distinct"


def _equal_norms(cloud: Cloud) -> bool:
    """Whether the rows' lengths differ by no more than the rounding of their stored type."""
    return of_one_length(cloud.profile.norms, cloud.space.dtype)


def quantiles(by_dimension: np.ndarray) -> dict[str, float] | None:
    """The 5, 25, 50, 75 and 95% quantiles of the defined values, by level."""
    kept = by_dimension[~np.isnan(by_dimension)]
    return {str(level): float(np.quantile(kept, level)) for level in LEVELS} if len(kept) else None


def _permuted(teacher: Teacher, cloud: Cloud, order: np.ndarray) -> Moments:
    """Moments of the query rows, the student's in this order (q,)."""
    x, y = (space.take(teacher.queries).astype(np.float64) for space in (teacher.cloud.space, cloud.space))
    return grouped(x, y[order], np.zeros(len(order), dtype=np.int64), 1)[0]


def _within_classes(
    teacher: Teacher, cloud: Cloud, wanted: Iterable[Measure], seed: int, rng: np.random.Generator
) -> dict[str, float]:
    """The measures of up to 2,000 query rows, the student's moved within their classes.

    Rows that cannot move, or have no class, are left out; the result is empty where these are most.
    """
    few = teacher.queries[sample(len(teacher.queries), NULL_ROWS, seed)]
    moved = few[has_company(teacher.codes)[few]]
    if len(moved) < max(MIN_ROWS, MOVED * len(few)):
        return {}
    partner = cycled_within(teacher.codes, rng)[moved]
    x, y = teacher.cloud.space.take(moved).astype(np.float64), cloud.space.take(partner).astype(np.float64)
    norms = teacher.cloud.profile.norms[moved], cloud.profile.norms[partner]
    return values(grouped(x, y, *teacher.quarters(moved)), wanted, norms)


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
