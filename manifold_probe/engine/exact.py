"""Exact distances in float64: of chosen rows, and to every row.

Distances are squared Euclidean, and 1 - cosine; a zero vector is at cosine distance 1 from everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.passes import BLOCK
from manifold_probe.engine.threads import Each, one_by_one

TIES_KEPT = 4_000_000
TIE = 1e-12
WHOLE = 128 * 2**20
TOGETHER, AT_ONCE = 4096, 512  # pairs of rows that are read together, and measured at once
PART = 128  # of the queries, against a block


def parts(count: int, size: int) -> Iterator[slice]:
    """``count`` things in parts of ``size``."""
    return (slice(first, min(first + size, count)) for first in range(0, count, size))


def is_zero(rows: np.ndarray) -> np.ndarray:
    """Which rows (m, d) have no direction."""
    return np.einsum("ij,ij->i", rows, rows, dtype=np.float64) == 0


def measured(cloud: Cloud, queries: np.ndarray, rows: np.ndarray, metric: str, each: Each = one_by_one) -> np.ndarray:
    """Distances (q, c) of candidate rows from their queries, by direct differences; infinite for -1."""
    which = np.repeat(np.arange(len(queries)), rows.shape[1])
    distances = measured_pairs(cloud, queries[which], np.maximum(rows, 0).ravel(), metric, each).reshape(rows.shape)
    distances[rows < 0] = np.inf
    return distances


def measured_pairs(
    cloud: Cloud, ones: np.ndarray, others: np.ndarray, metric: str, each: Each = one_by_one
) -> np.ndarray:
    """Distances (p,) between two rows each."""
    distances = np.empty(len(ones))

    def together(some: slice, at_once: Each) -> None:
        wanted, place = np.unique(np.concatenate([ones[some], others[some]]), return_inverse=True)
        taken = cloud.take(wanted)
        points, zero = cloud.points(taken, metric), is_zero(taken)
        here, there = np.split(place, 2)

        def measure(part: slice) -> None:
            away = points[there[part]]
            away -= points[here[part]]
            apart = np.einsum("ij,ij->i", away, away)
            if metric == "cosine":
                apart = np.where(zero[there[part]] | zero[here[part]], 1.0, apart / 2)
            distances[some.start + part.start : some.start + part.stop] = apart

        at_once(measure, parts(len(here), AT_ONCE))

    if cloud.space.n * cloud.space.d * 8 <= WHOLE:
        together(slice(0, len(ones)), each)
    else:
        each(lambda some: together(some, one_by_one), parts(len(ones), TOGETHER))
    return distances


def rounding(cloud: Cloud, queries: np.ndarray, metric: str, each: Each = one_by_one) -> np.ndarray:
    """What rounding in float64 can do to a distance from each query (q,): distances closer than that tie."""

    def squares(some: slice) -> np.ndarray:
        points = cloud.points(cloud.take(queries[some]), metric)
        return np.einsum("ij,ij->i", points, points)

    return 1e-14 * (cloud.scale(metric) + np.concatenate(each(squares, parts(len(queries), TOGETHER))))


def nearest_first(rows: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Candidates (q, c) by distance, and by row number where equal, with their distances."""
    order = np.lexsort((rows, distances), axis=1)
    return np.take_along_axis(rows, order, 1), np.take_along_axis(distances, order, 1)


def shares(rows: np.ndarray, distances: np.ndarray, k: int, close: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Who holds the first k places: nearer rows whole, rows that tie with the k-th in equal parts."""
    kth = distances[:, k - 1 : k]
    nearer = distances < kth - close[:, None]
    tied = ~nearer & (distances <= kth + close[:, None])
    weights = nearer + tied * ((k - nearer.sum(1)) / tied.sum(1))[:, None]
    return np.where(weights > 0, rows, -1), weights


def set_out(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Where a mask (q, b) holds, for rows of equal length: query, column, place in the row, and that length."""
    query, column = np.divmod(np.flatnonzero(mask), mask.shape[1])
    counts = np.bincount(query, minlength=len(mask))
    place = np.arange(len(query)) - (np.cumsum(counts) - counts)[query]
    return query, column, place, int(counts.max(initial=0))


class Asked:
    """Queries among the rows of a cloud and their distances to blocks of it, float64, infinite to themselves."""

    def __init__(self, cloud: Cloud, queries: np.ndarray, metric: str) -> None:
        rows = cloud.take(queries)
        self.cloud, self.queries, self.metric = cloud, queries, metric
        self.points, self.zero = cloud.points(rows, metric), is_zero(rows)
        self.squares = np.einsum("ij,ij->i", self.points, self.points)

    def over(self, start: int, rows: np.ndarray, act: Callable[[slice, np.ndarray], None], each: Each) -> None:
        """``act(part, distances (p, b))`` for every part of the queries, to the rows (b, d) from ``start`` on."""
        base = np.concatenate(each(lambda s: self.cloud.points(rows[s], self.metric), parts(len(rows), 512)))
        squares, zero = np.einsum("ij,ij->i", base, base), is_zero(rows)

        def one(part: slice) -> None:
            away = self.points[part] @ base.T
            away *= -2
            away += self.squares[part, None]
            away += squares
            np.maximum(away, 0, out=away)
            if self.metric == "cosine":
                away /= 2
                away[self.zero[part]] = 1.0
                away[:, zero] = 1.0
            here = np.flatnonzero((self.queries[part] >= start) & (self.queries[part] < start + len(rows)))
            away[here, self.queries[part][here] - start] = np.inf
            act(part, away)

        each(one, parts(len(self.queries), PART))


def exhaustive(
    cloud: Cloud, queries: np.ndarray, k: int, width: int, metric: str, each: Each = one_by_one
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Members (q, w), the nearest distances (q, width) and shares (q, w) from float64 distances to every row.

    Where very many rows tie for the k-th place, only the first in row order are kept: 256, or more for fewer queries.
    """
    asked, best = Asked(cloud, queries, metric), _Nearest(len(queries), width)
    for start, rows in cloud.space.blocks(BLOCK):
        asked.over(start, rows, partial(best.take_in, start), each)
    distances = np.sort(measured(cloud, queries, best.rows, metric, each), axis=1)
    kth = distances[:, k - 1]
    close = TIE * kth + rounding(cloud, queries, metric, each)
    nearer = _Members(len(queries), k)
    tied = _Members(len(queries), max(256, TIES_KEPT // len(queries)))

    def collect(at: int, part: slice, away: np.ndarray) -> None:
        near, far = (kth - close)[part, None], (kth + close)[part, None]
        nearer.collect(part, at, away < near)
        tied.collect(part, at, (away >= near) & (away <= far))

    for start, rows in cloud.space.blocks(BLOCK):
        asked.over(start, rows, partial(collect, start), each)
    share = (k - nearer.held) / np.maximum(tied.held, 1)
    weights = np.concatenate([nearer.rows >= 0, (tied.rows >= 0) * share[:, None]], axis=1)
    first, _ = nearest_first(nearer.rows, measured(cloud, queries, nearer.rows, metric, each))
    members = np.concatenate([first, tied.rows], axis=1)
    order = np.argsort(members < 0, axis=1, kind="stable")[:, : (members >= 0).sum(1).max()]
    return np.take_along_axis(members, order, 1), distances, np.take_along_axis(weights, order, 1)


class _Nearest:
    """The ``width`` nearest rows of every query so far, and their distances; of equal ones the lower rows."""

    def __init__(self, queries: int, width: int) -> None:
        self.distances = np.full((queries, width), np.inf)
        self.rows = np.full((queries, width), -1)

    def take_in(self, start: int, part: slice, away: np.ndarray) -> None:
        """Take in the distances (q, b) of the rows from ``start`` on."""
        width = self.rows.shape[1]
        limit = self.distances[part, -1:]
        if away.shape[1] > width:
            limit = np.minimum(limit, np.partition(away, width - 1, axis=1)[:, width - 1 : width])
        query, column, place, most = set_out((away <= limit) & np.isfinite(away))
        found, rows = np.full((len(away), most), np.inf), np.full((len(away), most), -1)
        found[query, place], rows[query, place] = away[query, column], column + start
        found = np.concatenate([self.distances[part], found], axis=1)
        rows = np.concatenate([self.rows[part], rows], axis=1)
        order = np.lexsort((rows, found), axis=1)[:, :width]
        self.distances[part] = np.take_along_axis(found, order, 1)
        self.rows[part] = np.take_along_axis(rows, order, 1)


class _Members:
    """Up to ``room`` row numbers a query, in row order."""

    def __init__(self, queries: int, room: int) -> None:
        self.rows = np.full((queries, room), -1)
        self.held = np.zeros(queries, dtype=np.int64)

    def collect(self, part: slice, start: int, mask: np.ndarray) -> None:
        """Add the database rows of a mask (q, b) while there is room."""
        query, column, place, _ = set_out(mask)
        place = place + self.held[part][query]
        fits = place < self.rows.shape[1]
        self.rows[part][query[fits], place[fits]] = column[fits] + start
        self.held[part] = np.minimum(self.held[part] + mask.sum(1), self.rows.shape[1])
