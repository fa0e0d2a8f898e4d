"""Where given rows stand among all by distance from their queries, in float64, without sorting anything.

With d_ij the distance of the given row j from query i, the rows strictly nearer than d_ij (less rounding) and those
that tie with it are counted block by block.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.exact import TIE, Asked, measured, rounding
from manifold_probe.engine.passes import Advance, Pass, State, in_this_process, joined, read, unwatched
from manifold_probe.engine.threads import Each, one_by_one


@dataclass(frozen=True, eq=False)
class Ranks:
    """The summary that counts how many rows of a cloud are nearer to each query than each of its limits (q, c)."""

    asked: Asked
    limits: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, cloud: Cloud, queries: np.ndarray, rows: np.ndarray, metric: str, each: Each = one_by_one) -> Ranks:
        """Of the given ``rows`` (q, c) of each query, -1 for none."""
        distances = np.where(rows < 0, 0.0, measured(cloud, queries, rows, metric, each))
        close = TIE * distances + rounding(cloud, queries, metric, each)[:, None]
        limits = np.concatenate([distances - close, distances + close], axis=1)
        limits[np.tile(rows < 0, 2)] = -np.inf
        return cls(Asked(cloud, queries, metric), limits)

    @property
    def spaces(self) -> tuple[str, ...]:
        """The space whose rows are counted."""
        return (self.asked.cloud.name,)

    def start(self, first: int, last: int) -> _Counts:
        """No rows yet."""
        return _Counts(self)

    def merge(self, one: State, other: State) -> State:
        """Counts add up."""
        return joined(one, other)

    def result(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """For each given row (q, c), how many rows are strictly nearer to its query, and how many tie with it."""
        nearer, upto = np.split(state["below"], 2, axis=1)
        return nearer, np.maximum(upto - nearer, 1)


class _Counts:
    """How many rows of a span are nearer than each limit."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.order = np.argsort(ranks.limits, axis=1)
        self.sorted = np.take_along_axis(ranks.limits, self.order, 1)
        self.slots = np.zeros((len(ranks.limits), ranks.limits.shape[1] + 1), dtype=np.int64)

    def add(self, start: int, blocks: tuple[np.ndarray, ...], each: Each) -> None:
        """Count the rows of a block."""
        asked = self.ranks.asked
        first, rows = asked.cloud.part(start, blocks[0])

        def count(part: slice, away: np.ndarray) -> None:
            # few rows are nearer than the farthest limit: only they are put in order
            for query, near in enumerate(away < self.sorted[part, -1:], part.start):
                slots = np.searchsorted(self.sorted[query], away[query - part.start, near], side="right")
                self.slots[query] += np.bincount(slots, minlength=self.slots.shape[1])

        asked.over(first, rows, count, each)

    def state(self) -> State:
        """The counts, in the order of the limits."""
        below = np.empty(self.sorted.shape, dtype=np.int64)
        np.put_along_axis(below, self.order, self.slots[:, :-1].cumsum(1), 1)
        return {"below": below}


def places(
    cloud: Cloud,
    queries: np.ndarray,
    rows: np.ndarray,
    metric: str,
    each: Each = one_by_one,
    advance: Advance = unwatched,
) -> tuple[np.ndarray, np.ndarray]:
    """For each given row (q, c), how many rows are strictly nearer to its query, and how many tie with it, itself too.

    Its rank is 1 + the first, where the second is 1. ``advance`` is told how many rows more were read.
    """
    ranks = Ranks.of(cloud, queries, rows, metric, each)
    found = read(Pass({cloud.name: cloud.stored}, {"ranks": ranks}), in_this_process(each), advance)
    return ranks.result(found["ranks"])
