"""The measures that need only neighbour lists, as they are declared, with half-split or per-query intervals.

value         declaration.value(lists): a number, or one term a query, whose mean is the value
interval      from half-splits, or per query; declaration.interval corrects it
chance        declaration.chance, declaration.class_chance

Queries share neighbours, so a per-query standard error is too small where most rows are queries; there random halves of
the rows are compared (see halving.py): SE = sqrt(mean (a - b)^2) / 2. Where at most a quarter of the rows are queries
the per-query error is right and is used. Rows are never resampled with replacement: copies would be false neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from manifold_probe.engine.neighbours import Neighbours
from manifold_probe.engine.rows import random_groups, sample
from manifold_probe.measures import classes, geometry, overlap
from manifold_probe.measures.catalogue import MEASURES, OVERLAP, Measure, made_from
from manifold_probe.measures.class_measures import measure_classes, moved_note
from manifold_probe.measures.from_moments import defined
from manifold_probe.measures.halving import first_in_half, half_differences
from manifold_probe.measures.results import Measured
from manifold_probe.measures.sides import Settings, Side, Teacher
from manifold_probe.measures.uncertainty import Estimate, half_splits, jackknife, over_queries

SPARSE_QUERIES = 0.25  # of the rows
MIN_HUB_QUERIES, MIN_HUB_QUERY_SHARE = 500, 0.05  # below, the correction for thinning is too noisy
RANK_ALL_ROWS = 5_000  # up to so many rows ranks are counted for every query
RANK_QUERIES = 1_000


class Lists:
    """The summary of measures of neighbours and of their votes: the same queries' neighbours in both spaces.

    ``codes`` (n,) are the classes of the rows, -1 for none; without them there are no votes. ``seed`` is the seed of
    halvings and permutations.
    """

    def __init__(self, teacher: Side, student: Side, codes: np.ndarray | None = None, seed: int = 0) -> None:
        self.teacher, self.student, self.seed = teacher, student, seed
        self.k, self.n, self.queries = teacher.k, teacher.n, teacher.queries
        self.codes = np.full(self.n, -1) if codes is None else codes
        self.query_codes = self.codes[self.queries]
        self._common: dict[str, np.ndarray] = {}

    def of(self, side: str, metric: str) -> Neighbours:
        """The neighbours in one space."""
        return getattr(getattr(self, side), metric)

    def only(self, kept: np.ndarray) -> Lists:
        """The same for some of the queries, by mask or position."""
        return Lists(self.teacher.only(kept), self.student.only(kept), self.codes, self.seed)

    @property
    def sparse(self) -> bool:
        """Whether errors are per query: where few of the rows are queries, or rows are too few for halves."""
        return len(self.queries) <= SPARSE_QUERIES * self.n or self.n // 2 <= self.k + 1

    def common(self, metric: str) -> np.ndarray:
        """How many neighbours each query has in both spaces (q,), rows that tie for a place sharing it."""
        if metric not in self._common:
            self._common[metric] = overlap.intersections(self.of("teacher", metric), self.of("student", metric))
        return self._common[metric]

    @property
    def kept_all(self) -> bool:
        """Whether every query keeps all its neighbours."""
        return float((self.common("cosine") / self.k).mean()) == 1

    @cached_property
    def teacher_votes(self) -> np.ndarray:
        """The class (q,) that neighbours in the teacher vote for."""
        return classes.predictions(self.teacher.cosine, self.codes)

    @cached_property
    def student_votes(self) -> np.ndarray:
        """The class (q,) that neighbours in the student vote for."""
        return classes.predictions(self.student.cosine, self.codes)

    @cached_property
    def chance(self) -> classes.VoteChance:
        """The class measures by chance."""
        return classes.vote_chance(self.teacher.cosine, self.student.cosine, self.codes, self.seed)

    def occurrences(self, side: str) -> tuple[np.ndarray, int]:
        """How often each row is a neighbour (n,), and of how many queries; NaN where these are too few."""
        neighbours = self.of(side, "cosine")
        query_count = len(neighbours.queries)
        if query_count == neighbours.n:
            return geometry.occurrences(neighbours), query_count
        if query_count < max(MIN_HUB_QUERIES, MIN_HUB_QUERY_SHARE * neighbours.n):
            return np.full(neighbours.n, np.nan), query_count
        # factorial moments need whole counts
        return np.bincount(neighbours.deep[:, : neighbours.k].ravel(), minlength=neighbours.n), query_count

    def occurrences_without(self, side: str) -> Iterator[tuple[np.ndarray, int]]:
        """The same among the other rows when each group of rows is left out in turn."""
        neighbours = self.of(side, "cosine")
        groups, count = random_groups(self.n, self.seed)
        for group in range(count):
            kept = groups != group
            positions = np.flatnonzero(kept[self.queries])
            rows = neighbours.deep[positions]
            near = rows[first_in_half(rows, kept, kept[self.queries[positions]], self.k)]
            yield np.bincount(near, minlength=self.n)[kept], len(positions)

    def distances(self, side: str) -> np.ndarray:
        """Squared Euclidean distances (q, w) of the nearest rows, ascending."""
        return self.of(side, "euclidean").distances


@dataclass(frozen=True)
class Ranked:
    """The summary of measures of ranks: the ranks of each space's neighbours in the other space.

    ``teacher`` and ``student`` are the neighbours of the queries at positions ``kept``. ``in_teacher`` and
    ``in_student`` hold, for each neighbour in the other space, how many rows are nearer there, and how many tied.
    """

    kept: np.ndarray
    teacher: Neighbours
    student: Neighbours
    in_teacher: tuple[np.ndarray, np.ndarray]
    in_student: tuple[np.ndarray, np.ndarray]

    @property
    def k(self) -> int:
        """Neighbours a query."""
        return self.teacher.k

    @property
    def n(self) -> int:
        """Rows ranked."""
        return self.teacher.n


def values(
    teacher: Side, student: Side, codes: np.ndarray | None, wanted: Iterable[Measure] = MEASURES
) -> dict[str, float]:
    """The wanted measures of neighbours and, with ``codes``, of classes, by the key of their declaration."""
    lists = Lists(teacher, student, codes)
    needs = ("neighbours",) if codes is None else ("neighbours", "classes")
    return {measure.key: float(np.mean(measure.made(lists))) for measure in made_from(wanted, *needs)}


def estimates(lists: Lists, measures: Iterable[Measure]) -> tuple[dict[str, Estimate], float]:
    """Measures by the key of their declaration with intervals, and the factor by which dependence widens the overlap's.

    The overlap is always included.
    """
    measures = list(dict.fromkeys([OVERLAP, *measures]))
    made = {measure.key: measure.made(lists) for measure in measures}
    terms = {key: np.asarray(value, dtype=np.float64) for key, value in made.items() if np.ndim(value)}
    values_by_key = {key: float(np.mean(value)) for key, value in made.items()}
    by_key: dict[str, Estimate] = {}
    if lists.sparse:
        by_key = {
            measure.key: over_queries(values_by_key[measure.key], terms[measure.key], measure.bounds)
            for measure in measures
            if measure.key in terms
        }
        by_key |= _jackknifed(lists, [measure for measure in measures if measure.key not in terms], values_by_key)
    else:
        spreads = {key: float(term.std()) for key, term in terms.items()}
        differences = half_differences(lists, measures, spreads)
        by_key = {
            measure.key: half_splits(values_by_key[measure.key], differences[measure.key], measure.bounds)
            for measure in measures
        }
    for measure in measures:
        if measure.interval is not None:
            by_key[measure.key] = measure.interval(lists, by_key[measure.key])
    wider = 1.0
    if not lists.sparse:
        alone = over_queries(values_by_key[OVERLAP.key], terms[OVERLAP.key]).standard_error
        together = by_key[OVERLAP.key].standard_error
        wider = together / alone if alone and together else 1.0
    return {key: defined(estimate) for key, estimate in by_key.items()}, wider


def _jackknifed(lists: Lists, measures: list[Measure], whole: dict[str, float]) -> dict[str, Estimate]:
    """Intervals of the measures that are not means, over groups of queries."""
    groups, count = random_groups(len(lists.queries), lists.seed)
    left_out = [lists.only(groups != group) for group in range(count)] if measures else []
    return {
        measure.key: jackknife(whole[measure.key], np.array([measure.made(rest) for rest in left_out]), measure.bounds)
        for measure in measures
    }


def measure_neighbours(
    teacher: Teacher,
    side: Side,
    student: Side,
    voters: Side | None,
    settings: Settings,
    ranked: Ranked | None,
) -> tuple[dict[str, Measured], float]:
    """The wanted measures of neighbours with chance values; and the factor by which dependence widens errors.

    ``side`` and ``student`` are the neighbours in both spaces, ``voters`` the student's among the rows with a class,
    None where these are too few; ``ranked`` the ranks, where a measure needs them.
    """
    k, seed, voting = settings.k, settings.seed, teacher.voters
    local, voted = (made_from(settings.measures, needs) for needs in ("neighbours", "classes"))
    lists = Lists(side, student, teacher.codes, seed)
    all_labelled = len(voting.rows) == lists.n
    by_key, wider = estimates(lists, [*local, *voted] if all_labelled else local)
    measures = {measure.named(k): _measured(measure, by_key[measure.key], lists, teacher) for measure in local}
    if voted:
        votes: Lists | None = lists
        if not all_labelled:
            votes = None if voting.side is None or voters is None else Lists(voting.side, voters, voting.codes, seed)
            by_key = {} if votes is None else estimates(votes, voted)[0]
        measures |= measure_classes(teacher, k, votes, by_key, voted)
    by_rank = made_from(settings.measures, "ranks")
    if ranked is not None:
        measures |= {measure.named(k): _of_ranks(measure, ranked, lists, wider) for measure in by_rank}
    return measures, wider


def _measured(measure: Measure, estimate: Estimate, lists: Lists, teacher: Teacher) -> Measured:
    """A measure of neighbours with its chance values."""
    notes = [
        measure.note(lists, estimate.value) if measure.note else None,
        moved_note(teacher) if measure.class_chance else None,
    ]
    note = "; ".join(part for part in notes if part) or None
    if estimate.value is None:
        note = note or "too few of these rows are distinct"
    return Measured(
        estimate,
        len(lists.queries),
        measure.chance(lists) if callable(measure.chance) else measure.chance,
        measure.class_chance(lists) if measure.class_chance else None,
        metric=measure.metric,
        note=note,
        declared=measure.declared(),
    )


def ranked_queries(query_count: int, n: int) -> np.ndarray:
    """Positions of the queries whose ranks are counted: all up to 5,000 rows, else 1,000."""
    return np.arange(query_count) if n <= RANK_ALL_ROWS else sample(query_count, RANK_QUERIES, 0)


def rank_values(ranked: Ranked, wanted: Iterable[Measure]) -> dict[str, float]:
    """The wanted measures of ranks by the key of their declaration, where they are defined."""
    defined_measures = [measure for measure in wanted if measure.undefined is None or measure.undefined(ranked) is None]
    return {measure.key: float(np.mean(measure.made(ranked))) for measure in defined_measures}


def _of_ranks(measure: Measure, ranked: Ranked, lists: Lists, wider: float) -> Measured:
    """A measure of ranks, its interval widened by the dependence between queries that the overlap shows."""
    query_count = len(ranked.kept)
    common: dict[str, Any] = {"metric": measure.metric, "declared": measure.declared()}
    if why := measure.undefined and measure.undefined(ranked):
        return Measured(Estimate(None), query_count, note=why, **common)
    terms = np.asarray(measure.made(ranked), dtype=np.float64)
    estimate = over_queries(float(terms.mean()), terms, measure.bounds).widened(wider)
    note = None if query_count == len(lists.queries) else f"from {query_count:,} of the {len(lists.queries):,} queries"
    chance = measure.chance(ranked) if callable(measure.chance) else measure.chance
    return Measured(estimate, query_count, chance, note=note, **common)


def named(key: str, k: int) -> str:
    """The key of a declaration for ``k`` neighbours."""
    return key.replace("{k}", str(k))
