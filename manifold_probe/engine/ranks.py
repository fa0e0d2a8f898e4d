"""Ranks of given rows by distance from their queries, without sorting all rows.

With d_ij the distance of the given row j from query i, the rows strictly nearer than d_ij and those that tie with it
are counted block by block: by float32 scores (scores.py) if these are certainly above or below that of d_ij, and by
float64 distances if rounding makes it uncertain.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from manifold_probe.engine.cloud import BLOCK, Cloud
from manifold_probe.engine.exact import MEASURED_ROWS, QUERIES_AT_ONCE, TIE, is_zero, measured, parts, rounding
from manifold_probe.engine.passes import Advance, Pass, State, in_this_process, joined, read, unwatched
from manifold_probe.engine.scores import Scores, falling
from manifold_probe.engine.threads import Mapper, one_by_one

COLUMN_BITS = 13  # of a row's position in a block of 2^13 = 8,192 rows
NO_ROW = -1.0  # instead of a distance


@dataclass(frozen=True, eq=False)
class Ranks:
    """The summary that counts the rows of a cloud that are nearer to a query than given rows (q, c).

    ``distances`` (q, l) are the distinct distances of the given rows, and ``place`` (q, c) their positions in it. Rows
    within ``close`` (q, l) of a distance tie; a distance below 0 means no row. ``points`` (q, d) are the queries in
    float64, ``zero`` (q,) is the mask of zero queries.
    """

    scores: Scores
    metric: str
    distances: np.ndarray = field(repr=False)
    place: np.ndarray = field(repr=False)
    close: np.ndarray = field(repr=False)
    points: np.ndarray = field(repr=False)
    zero: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, cloud: Cloud, queries: np.ndarray, rows: np.ndarray, metric: str, mapper: Mapper = one_by_one) -> Ranks:
        """The summary for the given ``rows`` (q, c) of every query, -1 for none."""
        distances, place = _distinct(np.where(rows < 0, NO_ROW, measured(cloud, queries, rows, metric, mapper)))
        close = TIE * np.abs(distances) + rounding(cloud, queries, metric, mapper)[:, None]
        taken = cloud.space.take(queries)
        return cls(Scores(cloud, queries), metric, distances, place, close, cloud.points(taken, metric), is_zero(taken))

    @property
    def spaces(self) -> tuple[str, ...]:
        """The space whose rows are counted."""
        return (self.scores.cloud.name,)

    def start(self, first: int, last: int) -> _Counts:
        """No rows yet."""
        return _Counts(self)

    def merge(self, one: State, other: State) -> State:
        """Counts add up."""
        return joined(one, other)

    def result(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """For every given row (q, c) the number of rows strictly nearer to its query, and of rows that tie with it."""
        nearer, tied = (np.take_along_axis(state[name], self.place, 1) for name in ("nearer", "tied"))
        return nearer, np.maximum(tied, 1)


class _Counts:
    """The counts of a span."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.nearer, self.tied = (np.zeros(ranks.distances.shape, dtype=np.int64) for _ in range(2))
        self.queries, self.farthest = np.arange(len(ranks.distances)), np.maximum(ranks.distances + ranks.close, 0)
        self.levels = [
            ranks.scores.at(ranks.metric, self.queries, distances)
            for distances in (self.farthest, ranks.distances - ranks.close)
        ]

    def add(self, start: int, blocks: tuple[np.ndarray, ...], mapper: Mapper) -> None:
        """Count the rows of a block."""
        scores, metric = self.ranks.scores, self.ranks.metric
        first, rows = scores.cloud.part(start, blocks[0])
        if not len(rows):
            return
        block = scores.block(first, rows, mapper)
        rounded = scores.rounded(metric, self.queries, self.farthest, block.reach)
        low, high = self.levels[0] - rounded, self.levels[1] + rounded
        unsure = scores.in_doubt(self.queries, low.min(1, initial=0.0))
        low[unsure], high[unsure] = -np.inf, np.inf
        low[self.ranks.distances < 0] = high[self.ranks.distances < 0] = np.inf  # no row: nothing is nearer
        bounds = tuple(
            np.nextafter(bound.astype(np.float32), np.float32(end)) for bound, end in ((low, -np.inf), (high, np.inf))
        )

        def count(part: slice) -> None:
            of_part = scores.of(metric, part, block, scores.products(part, block))
            self._count(part, of_part, (bounds[0][part], bounds[1][part]), rows)

        mapper(count, parts(len(self.queries), QUERIES_AT_ONCE))

    def _count(self, part: slice, scores: np.ndarray, bounds: tuple[np.ndarray, np.ndarray], rows: np.ndarray) -> None:
        """Count the scores (p, b) above the upper bounds (p, c), and measure the rows between the bounds."""
        low, high = bounds
        query, column = np.divmod(np.flatnonzero(scores >= low.min(1)[:, None]), scores.shape[1])
        keys = np.sort(_keys(query, falling(scores[query, column]), column))
        queries = np.arange(len(low))[:, None]
        start = np.searchsorted(keys, _keys(queries, np.zeros((1, 1), np.uint32), 0))
        above = np.searchsorted(keys, _keys(queries, falling(high), 0))
        stop = np.searchsorted(keys, _keys(queries, falling(low), BLOCK - 1), side="right")
        self.nearer[part] += above - start
        between = np.maximum(stop - above, 0)
        if not between.any():
            return
        for given in np.flatnonzero(between.any(0)):
            counts = between[:, given]
            query = np.repeat(np.arange(len(low)), counts)
            position = np.arange(len(query)) + np.repeat(above[:, given] - (np.cumsum(counts) - counts), counts)
            exact = self._measured(part, query, (keys[position] & np.uint64(BLOCK - 1)).astype(np.int64), rows)
            distance, close = self.ranks.distances[part][query, given], self.ranks.close[part][query, given]
            is_nearer, is_tied = exact < distance - close, np.abs(exact - distance) <= close
            for count, mask in ((self.nearer, is_nearer), (self.tied, is_tied)):
                count[part, given] += np.bincount(query[mask], minlength=len(low))

    def _measured(self, part: slice, query: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Float64 distances (m,) of some rows of the block from their queries."""
        ranks, distances = self.ranks, np.empty(len(query))
        for some in parts(len(query), MEASURED_ROWS):
            taken, queries = rows[columns[some]], query[some]
            difference = ranks.scores.cloud.points(taken, ranks.metric) - ranks.points[part][queries]
            distances[some] = np.einsum("ij,ij->i", difference, difference)
            if ranks.metric == "cosine":
                distances[some] = np.where(is_zero(taken) | ranks.zero[part][queries], 1.0, distances[some] / 2)
        return distances

    def state(self) -> State:
        """The counts."""
        return {"nearer": self.nearer, "tied": self.tied}


def _distinct(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values (q, l) of every row of distances (q, c), padded with `NO_ROW`, and their positions (q, c)."""
    order = np.argsort(distances, axis=1, kind="stable")
    rising = np.take_along_axis(distances, order, 1)
    at = np.cumsum(np.diff(rising, axis=1, prepend=-np.inf) > 0, axis=1) - 1
    distinct, position = np.full((len(distances), int(at.max(initial=0)) + 1), NO_ROW), np.empty_like(order)
    np.put_along_axis(distinct, at, rising, 1)
    np.put_along_axis(position, order, at, 1)
    return distinct, position


def _keys(query: np.ndarray, numbers: np.ndarray, column: np.ndarray | int) -> np.ndarray:
    """Numbers in the order of query, then falling score, then column."""
    high = query.astype(np.uint64) << np.uint64(32 + COLUMN_BITS)
    return high | (numbers.astype(np.uint64) << np.uint64(COLUMN_BITS)) | np.asarray(column).astype(np.uint64)


def places(
    cloud: Cloud,
    queries: np.ndarray,
    rows: np.ndarray,
    metric: str,
    mapper: Mapper = one_by_one,
    advance: Advance = unwatched,
) -> tuple[np.ndarray, np.ndarray]:
    """For every given row (q, c) the number of rows strictly nearer to its query, and of rows that tie, with itself.

    Without ties its rank is 1 + the first. ``advance`` receives the number of new rows read.
    """
    ranks = Ranks.of(cloud, queries, rows, metric, mapper)
    states = read(Pass({cloud.name: cloud.stored}, {"ranks": ranks}), in_this_process(mapper), advance)
    return ranks.result(states["ranks"])
