"""Where given rows stand among all by distance from their queries, without sorting anything.

With d_ij the distance of the given row j from query i, the rows strictly nearer than d_ij and those that tie with it
are counted block by block: by float32 scores (scores.py) where these are surely above or below that of d_ij, and by
float64 distances where rounding leaves it open.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from manifold_probe.engine.cloud import BLOCK, Cloud
from manifold_probe.engine.exact import AT_ONCE, PART, TIE, is_zero, measured, parts, rounding
from manifold_probe.engine.passes import Advance, Pass, State, in_this_process, joined, read, unwatched
from manifold_probe.engine.scores import Scores, falling
from manifold_probe.engine.threads import Each, one_by_one

COLUMN = 13  # bits of a block's column: 2^13 = 8,192 rows
NO_ROW = -1.0  # in place of a distance


@dataclass(frozen=True, eq=False)
class Ranks:
    """The summary that counts the rows of a cloud nearer to each query than given ones (q, c).

    These are at ``distances`` (q, l), of which there are few where many tie, each at its ``place`` (q, c) among them.
    Rows within ``close`` (q, l) of these tie; a distance below 0 stands for no row. ``points`` (q, d) are the queries
    in float64, ``zero`` (q,) says which have no direction.
    """

    scores: Scores
    metric: str
    distances: np.ndarray = field(repr=False)
    place: np.ndarray = field(repr=False)
    close: np.ndarray = field(repr=False)
    points: np.ndarray = field(repr=False)
    zero: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, cloud: Cloud, queries: np.ndarray, rows: np.ndarray, metric: str, each: Each = one_by_one) -> Ranks:
        """Of the given ``rows`` (q, c) of each query, -1 for none."""
        distances, place = _distinct(np.where(rows < 0, NO_ROW, measured(cloud, queries, rows, metric, each)))
        close = TIE * np.abs(distances) + rounding(cloud, queries, metric, each)[:, None]
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
        """For each given row (q, c), how many rows are strictly nearer to its query, and how many tie with it."""
        nearer, tied = (np.take_along_axis(state[name], self.place, 1) for name in ("nearer", "tied"))
        return nearer, np.maximum(tied, 1)


class _Counts:
    """How many rows of a span are nearer than each given row, and how many tie with it."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.nearer, self.tied = (np.zeros(ranks.distances.shape, dtype=np.int64) for _ in range(2))
        asked, far = np.arange(len(ranks.distances)), np.maximum(ranks.distances + ranks.close, 0)
        self.levels = [
            ranks.scores.at(ranks.metric, asked, distances) for distances in (far, ranks.distances - ranks.close)
        ]
        self.asked, self.farthest = asked, far

    def add(self, start: int, blocks: tuple[np.ndarray, ...], each: Each) -> None:
        """Count the rows of a block."""
        scores, metric = self.ranks.scores, self.ranks.metric
        first, rows = scores.cloud.part(start, blocks[0])
        if not len(rows):
            return
        block = scores.block(first, rows, each)
        rounded = scores.rounded(metric, self.asked, self.farthest, block.reach)
        low, high = self.levels[0] - rounded, self.levels[1] + rounded
        doubt = scores.in_doubt(self.asked, low.min(1, initial=0.0))
        low[doubt], high[doubt] = -np.inf, np.inf
        low[self.ranks.distances < 0] = high[self.ranks.distances < 0] = np.inf  # no row: nothing is nearer
        bounds = tuple(
            np.nextafter(bound.astype(np.float32), np.float32(away)) for bound, away in ((low, -np.inf), (high, np.inf))
        )

        def count(part: slice) -> None:
            found = scores.of(metric, part, block, scores.products(part, block))
            self._count(part, found, (bounds[0][part], bounds[1][part]), rows)

        each(count, parts(len(self.asked), PART))

    def _count(self, part: slice, scores: np.ndarray, bounds: tuple[np.ndarray, np.ndarray], rows: np.ndarray) -> None:
        """Count the scores (p, b) above the upper bounds (p, c), and measure the rows between them and the lower."""
        low, high = bounds
        query, column = np.divmod(np.flatnonzero(scores >= low.min(1)[:, None]), scores.shape[1])
        keys = np.sort(_keys(query, falling(scores[query, column]), column))
        whose = np.arange(len(low))[:, None]
        begins = np.searchsorted(keys, _keys(whose, np.zeros((1, 1), np.uint32), 0))
        above = np.searchsorted(keys, _keys(whose, falling(high), 0))
        upto = np.searchsorted(keys, _keys(whose, falling(low), BLOCK - 1), side="right")
        self.nearer[part] += above - begins
        between = np.maximum(upto - above, 0)
        if not between.any():
            return
        for given in np.flatnonzero(between.any(0)):
            counts = between[:, given]
            asked = np.repeat(np.arange(len(low)), counts)
            place = np.arange(len(asked)) + np.repeat(above[:, given] - (np.cumsum(counts) - counts), counts)
            away = self._measured(part, asked, (keys[place] & np.uint64(BLOCK - 1)).astype(np.int64), rows)
            distance, close = self.ranks.distances[part][asked, given], self.ranks.close[part][asked, given]
            for found, mask in ((self.nearer, away < distance - close), (self.tied, np.abs(away - distance) <= close)):
                found[part, given] += np.bincount(asked[mask], minlength=len(low))

    def _measured(self, part: slice, asked: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Float64 distances (m,) of some rows of the block from their queries."""
        ranks, found = self.ranks, np.empty(len(asked))
        for some in parts(len(asked), AT_ONCE):
            taken, whose = rows[columns[some]], asked[some]
            away = ranks.scores.cloud.points(taken, ranks.metric) - ranks.points[part][whose]
            found[some] = np.einsum("ij,ij->i", away, away)
            if ranks.metric == "cosine":
                found[some] = np.where(is_zero(taken) | ranks.zero[part][whose], 1.0, found[some] / 2)
        return found

    def state(self) -> State:
        """The counts."""
        return {"nearer": self.nearer, "tied": self.tied}


def _distinct(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values (q, l) of every row of distances (q, c), filled up with `NO_ROW`, and where each stands."""
    order = np.argsort(distances, axis=1, kind="stable")
    rising = np.take_along_axis(distances, order, 1)
    at = np.cumsum(np.diff(rising, axis=1, prepend=-np.inf) > 0, axis=1) - 1
    found, place = np.full((len(distances), int(at.max(initial=0)) + 1), NO_ROW), np.empty_like(order)
    np.put_along_axis(found, at, rising, 1)
    np.put_along_axis(place, order, at, 1)
    return found, place


def _keys(query: np.ndarray, numbers: np.ndarray, column: np.ndarray | int) -> np.ndarray:
    """Numbers in the order of query, then falling score, then column."""
    high = query.astype(np.uint64) << np.uint64(32 + COLUMN)
    return high | (numbers.astype(np.uint64) << np.uint64(COLUMN)) | np.asarray(column).astype(np.uint64)


def places(
    cloud: Cloud,
    queries: np.ndarray,
    rows: np.ndarray,
    metric: str,
    each: Each = one_by_one,
    advance: Advance = unwatched,
) -> tuple[np.ndarray, np.ndarray]:
    """For each given row (q, c), how many rows are strictly nearer to its query, and how many tie with it, itself too.

    Its rank is 1 + the first, where the second is 1. ``advance`` receives how many more rows were read.
    """
    ranks = Ranks.of(cloud, queries, rows, metric, each)
    found = read(Pass({cloud.name: cloud.stored}, {"ranks": ranks}), in_this_process(each), advance)
    return ranks.result(found["ranks"])
