"""Half-splits: how the neighbour measures differ between two random halves of the rows.

Within each half every query takes its first k neighbours that lie in its half, from lists a little over 3k deep, so no
new search is needed; the halves' values differ by sampling error. A measure is computed from a half by the same
function as from all rows.

The difference includes the dependence between queries, but a half has half the rows and so another spread of its
queries' terms. A difference of means is therefore divided by that spread and multiplied by the spread of all rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from manifold_probe.engine.rows import HALVING, generator
from manifold_probe.measures import classes, overlap
from manifold_probe.measures.catalogue import Measure
from manifold_probe.measures.sides import half_depth

if TYPE_CHECKING:
    from manifold_probe.measures.from_neighbours import Lists

SPLITS = 40
SPLITS_BY_K = 20  # of a curve, whose lists are four times as deep


def half_differences(lists: Lists, measures: Iterable[Measure], spreads: Mapping[str, float]) -> dict[str, np.ndarray]:
    """For each measure, by key, the difference (SPLITS,) between the two halves of random halvings of the rows.

    ``spreads``: the standard deviation over queries of the terms of each measure that is a mean.
    """
    deep = Deep(lists, half_depth(lists.k))
    differences: dict[str, list[float]] = {measure.key: [] for measure in measures}
    for half in halvings(lists.n, lists.seed):
        halves = Halves(lists, deep, half)
        for measure in measures:
            differences[measure.key].append(halves.difference(measure, spreads.get(measure.key)))
    return {key: np.array(row) for key, row in differences.items()}


def differences_by_k(deep: Deep, terms: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """The difference (SPLITS_BY_K, len(ks)) of the cosine overlap at every k between the halves of random halvings.

    ``terms`` (q, len(ks)) are the overlaps of the whole. No k is above `deepest_in_half`: beyond it, the lists end
    before a half has its k neighbours.
    """
    query, here, there = deep.shared("cosine")
    whole = terms.std(0)
    differences = []
    for half in islice(halvings(deep.lists.n, deep.lists.seed), SPLITS_BY_K):
        inside = half[deep.lists.queries]
        mine, theirs = (half[deep.rows(side, "cosine")] == inside[:, None] for side in ("teacher", "student"))
        ranks = np.maximum(_counted(mine).ravel()[here], _counted(theirs).ravel()[there])
        ranks[~mine.ravel()[here]] = ks[-1] + 1  # a row of the other half
        kept = overlap.overlap_by_k(query, ranks, len(terms), ks)
        gaps = kept[inside].mean(0) - kept[~inside].mean(0)
        differences.append(gaps * [_ratio(*spreads) for spreads in zip(whole, kept.std(0), strict=True)])
    return np.array(differences)


def deepest_in_half(depth: int) -> int:
    """The largest k of which lists ``depth`` deep hold the rows of a random half, with a chance of 0.9995."""
    return int(depth / 2 - 1.75 * np.sqrt(depth))


def halvings(n: int, seed: int) -> Iterator[np.ndarray]:
    """Masks (n,) of one half of the rows, SPLITS times."""
    rng = generator(seed, HALVING)
    for _ in range(SPLITS):
        half = np.zeros(n, dtype=bool)
        half[rng.permutation(n)[: n // 2]] = True
        yield half


class Deep:
    """Both sides' lists to a depth, and the flat places where a row stands in both, with its query."""

    def __init__(self, lists: Lists, depth: int) -> None:
        self.lists, self.depth = lists, min(lists.n - 1, depth)
        self._shared: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def rows(self, side: str, metric: str) -> np.ndarray:
        """Row numbers (q, depth), nearest first."""
        return self.lists.of(side, metric).deep[:, : self.depth]

    def shared(self, metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The query of every shared row, and its place in either list."""
        if metric not in self._shared:
            teacher, student = (self.rows(side, metric) for side in ("teacher", "student"))
            self._shared[metric] = overlap.shared(teacher, student, self.lists.n)
        return self._shared[metric]


class Halves:
    """The neighbours of all queries among the rows of their half alone; measures use it in place of `Lists`.

    ``half`` (n,) marks the rows of the first half.
    """

    def __init__(self, lists: Lists, deep: Deep, half: np.ndarray) -> None:
        self.lists, self.deep, self.half = lists, deep, half
        self.k, self.query_codes, self.inside = lists.k, lists.query_codes, half[lists.queries]
        self._near: dict[tuple[str, str], np.ndarray] = {}

    def difference(self, measure: Measure, spread: float | None) -> float:
        """The measure in the half minus that in the rest; of a mean over queries with the ``spread`` of the whole."""
        if spread is None:
            in_half, in_rest = (float(measure.made(Part(self, side))) for side in (True, False))
            return in_half - in_rest
        terms = np.asarray(measure.made(self), dtype=np.float64)
        return float(terms[self.inside].mean() - terms[~self.inside].mean()) * _ratio(spread, float(terms.std()))

    def near(self, side: str, metric: str) -> np.ndarray:
        """Mask (q, depth) of the neighbours in the deep lists."""
        if (side, metric) not in self._near:
            rows = self.deep.rows(side, metric)
            self._near[side, metric] = first_in_half(rows, self.half, self.inside, self.k)
        return self._near[side, metric]

    def common(self, metric: str) -> np.ndarray:
        """How many neighbours each query has in both spaces (q,)."""
        query, teacher_place, student_place = self.deep.shared(metric)
        both = self.near("teacher", metric).ravel()[teacher_place] & self.near("student", metric).ravel()[student_place]
        return np.bincount(query[both], minlength=len(self.inside))

    def _neighbours(self, side: str) -> tuple[np.ndarray, np.ndarray]:
        query, place = np.nonzero(self.near(side, "cosine"))
        return query, self.deep.rows(side, "cosine")[query, place]

    def _voted(self, side: str) -> np.ndarray:
        codes = self.lists.codes
        query, near = self._neighbours(side)
        return classes.majority(query, codes[near], None, len(self.inside), int(codes.max()) + 1)

    @cached_property
    def teacher_votes(self) -> np.ndarray:
        """The class (q,) that neighbours in the teacher vote for."""
        return self._voted("teacher")

    @cached_property
    def student_votes(self) -> np.ndarray:
        """The class (q,) that neighbours in the student vote for."""
        return self._voted("student")

    def occurrences(self, side: str) -> tuple[np.ndarray, int]:
        """How often each row is a neighbour (n,), and of how many queries."""
        return np.bincount(self._neighbours(side)[1], minlength=len(self.half)), len(self.inside)

    def distances(self, side: str) -> np.ndarray:
        """Squared Euclidean distances (q, w) of the nearest rows of the half, 0 for others."""
        distances = self.lists.of(side, "euclidean").distances
        near = self.near(side, "euclidean")[:, : distances.shape[1]]
        return np.where(near, distances[:, : near.shape[1]], 0.0)


class Part:
    """One of the two halves: its queries and rows alone."""

    def __init__(self, halves: Halves, inside: bool) -> None:
        self.halves, self.k = halves, halves.k
        self.kept, self.rows = halves.inside == inside, halves.half == inside

    def common(self, metric: str) -> np.ndarray:
        """As of all queries."""
        return self.halves.common(metric)[self.kept]

    @property
    def teacher_votes(self) -> np.ndarray:
        """As of all queries."""
        return self.halves.teacher_votes[self.kept]

    @property
    def student_votes(self) -> np.ndarray:
        """As of all queries."""
        return self.halves.student_votes[self.kept]

    @property
    def query_codes(self) -> np.ndarray:
        """As of all queries."""
        return self.halves.query_codes[self.kept]

    def occurrences(self, side: str) -> tuple[np.ndarray, int]:
        """How often each row of the half is a neighbour there, and of how many queries."""
        return self.halves.occurrences(side)[0][self.rows], int(self.kept.sum())

    def distances(self, side: str) -> np.ndarray:
        """As of all queries."""
        return self.halves.distances(side)[self.kept]


def _ratio(whole: float, half: float) -> float:
    """The spread of the whole over that of the halves, at most a factor of two: few terms may happen to be equal."""
    return float(np.clip(whole / half, 0.5, 2.0)) if half > 0 else 1.0


def first_in_half(rows: np.ndarray, half: np.ndarray, inside: np.ndarray, k: int) -> np.ndarray:
    """Mask (q, depth) of each query's first k neighbours that lie in its half."""
    same = half[rows] == inside[:, None]
    return same & (_counted(same) <= k)


def _counted(mask: np.ndarray) -> np.ndarray:
    """How many of a row's places so far are True (q, depth); numpy counts along a flat array 20 times faster."""
    counts = np.cumsum(mask.ravel().astype(np.int32), dtype=np.int32).reshape(mask.shape)
    counts[1:] -= counts[:-1, -1:].copy()
    return counts
