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
from manifold_probe.measures.linear_maps import Half, halves
from manifold_probe.measures.results import Measured
from manifold_probe.measures.sides import NULL_ROWS, Settings, Teacher
from manifold_probe.measures.uncertainty import FEWEST_GROUPS, Estimate, jackknife

FEW = 10
ROUNDING = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23}
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
UNKNOWN = np.full(2, np.nan)
Norms = tuple[np.ndarray, np.ndarray]
T = TypeVar("T")


class Sums:
    """What measures of moments are made from.

    ``parts`` are the moments of the groups of rows and ``m`` those of all; ``norms`` the rows' lengths (n,) in both
    spaces, with their ``groups`` (n,). Without norms, what is made from them is NaN.
    """

    most_moved = NULL_ROWS

    def __init__(
        self,
        parts: Sequence[Moments],
        norms: Norms = (UNKNOWN, UNKNOWN),
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
        """What ``make`` gives, made once: a value and its interval often share their work.

        What is made of the "teacher" ``side`` alone is made once for all students.
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
        """Whether there are groups enough for an interval."""
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
    norms: Norms = (UNKNOWN, UNKNOWN),
) -> dict[str, float]:
    """The wanted measures of both spaces by key, without intervals: of moved rows, and of the reference."""
    sums = Sums(parts, norms)
    return {each.key: _middle(each.made(sums)) for each in _defined(sums, wanted) if not each.side}


def _defined(sums: Sums, wanted: Iterable[Measure]) -> list[Measure]:
    return [each for each in made_from(wanted, "moments") if each.undefined is None or each.undefined(sums) is None]


def _middle(value: Any) -> float:
    """A value, or the median of those of the dimensions."""
    return median(value) if np.ndim(value) else float(value)


def estimates(
    sums: Sums, wanted: Iterable[Measure] = MEASURES, wider: float = 1.0
) -> tuple[dict[str, Estimate], dict[str, np.ndarray]]:
    """The wanted measures by key with their intervals, and the values of every dimension behind those that are medians.

    ``wider``: what heavy tails widen the errors by, see `uncertainty.tail_factor`.
    """
    measures = _defined(sums, wanted)
    whole = {each.key: each.made(sums) for each in measures}
    left_out: dict[str, Any] = {key: [] for key in whole}
    for each in measures if sums.enough else ():
        if each.interval is not None:
            left_out[each.key] = each.interval(sums)
    exact = [each for each in measures if each.interval is None]
    for group in range(len(sums.parts) if sums.enough and exact else 0):
        without = sums.without(group)
        for each in exact:
            left_out[each.key].append(each.made(without))
    found = {}
    for each in measures:
        value, (least, most) = _middle(whole[each.key]), each.bounds
        if not sums.enough:
            found[each.key] = Estimate(value)
            continue
        bounds = (least, most if each.at_most is None else each.at_most(sums))
        found[each.key] = jackknife(value, np.array([_middle(row) for row in left_out[each.key]]), bounds)
    by_dimension = {key: np.asarray(value) for key, value in whole.items() if np.ndim(value)}
    return {key: defined(estimate).widened(wider) for key, estimate in found.items()}, by_dimension


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

    Debiased CKA is always there: it costs little, and alarms read it.
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
    found, by_dimension = estimates(sums, wanted, wider)
    within = _within_classes(teacher, cloud, wanted, settings.seed, rng)
    still = None if within else "no class chance: too few rows share their label with another"
    measures = {}
    for each in sorted(wanted, key=lambda each: each.key not in found):  # what these spaces cannot have comes last
        estimate, of_dimensions = found.get(each.key, Estimate(None)), by_dimension.get(each.key)
        note = each.note(sums, estimate.value) if each.note else None
        if estimate.value is None:
            why = (each.undefined and each.undefined(sums)) or note or _undefined(teacher.cloud, cloud, m.n)
            measures[each.named(settings.k)] = Measured(estimate, m.n, note=why, declared=each.declared())
            continue
        left_out = 0 if of_dimensions is None else int(np.isnan(of_dimensions).sum())
        if left_out:
            note = f"{left_out} of {len(m.sx)} dimensions are constant or without a partner and left out"
        notes = [note, None if each.side else still]
        measures[each.named(settings.k)] = Measured(
            estimate,
            m.n,
            _finite(_middle(each.chance(sums)) if callable(each.chance) else each.chance),
            _finite(within.get(each.key)),
            note="; ".join(said for said in notes if said) or None,
            quantiles=None if of_dimensions is None else quantiles(of_dimensions),
            declared=each.declared(),
        )
    return measures, by_dimension


def _undefined(teacher: Cloud, student: Cloud, n: int) -> str:
    """Why a measure of moments has no value."""
    equal = [name for name, cloud in (("teacher", teacher), ("student", student)) if not cloud.profile.spread]
    if equal:
        zero = not (teacher if equal == ["teacher"] else student).profile.norms.any()
        return f"all vectors of the {' and of the '.join(equal)} are {'zero' if zero and len(equal) == 1 else 'equal'}"
    return f"{n:,} rows are too few" if n < FEW else "too few of the dimensions vary, or too few rows are distinct"


def _equal_norms(cloud: Cloud) -> bool:
    """Whether the rows' lengths differ by no more than the rounding of their stored type."""
    norms = cloud.profile.norms
    return float(np.ptp(norms)) <= 4 * ROUNDING.get(cloud.space.dtype, 1e-12) * float(norms.max())


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

    Rows that cannot move, or have no class, are left out; nothing is known where they are most.
    """
    few = teacher.queries[sample(len(teacher.queries), NULL_ROWS, seed)]
    moved = few[has_company(teacher.codes)[few]]
    if len(moved) < max(FEW, MOVED * len(few)):
        return {}
    other = cycled_within(teacher.codes, rng)[moved]
    x, y = teacher.cloud.space.take(moved).astype(np.float64), cloud.space.take(other).astype(np.float64)
    norms = teacher.cloud.profile.norms[moved], cloud.profile.norms[other]
    return values(grouped(x, y, *teacher.quarters(moved)), wanted, norms)


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
