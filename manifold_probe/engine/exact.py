"""Exact distances in float64: between pairs of rows, and to every row.

Distances are squared Euclidean, and 1 - cosine; a zero vector is at cosine distance 1 from everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.passes import BLOCK
from manifold_probe.engine.threads import Mapper, one_by_one

MAX_TIES = 4_000_000
TIE = 1e-12
SMALL_BYTES = 128 * 2**20  # spaces up to this size are read as a whole
READ_ROWS, MEASURED_ROWS = 4096, 512  # pairs of rows that are read, and measured, at a time
QUERIES_AT_ONCE = 128  # against a block


def parts(count: int, size: int) -> Iterator[slice]:
    """Slices of ``size`` over ``count`` items."""
    return (slice(first, min(first + size, count)) for first in range(0, count, size))


def is_zero(rows: np.ndarray) -> np.ndarray:
    """A mask (m,) of the zero rows of (m, d), which have no direction."""
    return np.einsum("ij,ij->i", rows, rows, dtype=np.float64) == 0


def measured(
    cloud: Cloud, queries: np.ndarray, rows: np.ndarray, metric: str, mapper: Mapper = one_by_one
) -> np.ndarray:
    """Distances (q, c) of candidate rows from their queries, by direct differences; infinite for -1."""
    query = np.repeat(np.arange(len(queries)), rows.shape[1])
    distances = measured_pairs(cloud, queries[query], np.maximum(rows, 0).ravel(), metric, mapper).reshape(rows.shape)
    distances[rows < 0] = np.inf
    return distances


def measured_pairs(
    cloud: Cloud, first: np.ndarray, second: np.ndarray, metric: str, mapper: Mapper = one_by_one
) -> np.ndarray:
    """Distances (p,) between the rows ``first`` (p,) and ``second`` (p,)."""
    distances = np.empty(len(first))

    def read_and_measure(pairs: slice, inner: Mapper) -> None:
        wanted, position = np.unique(np.concatenate([first[pairs], second[pairs]]), return_inverse=True)
        rows = cloud.take(wanted)
        points, zero = cloud.points(rows, metric), is_zero(rows)
        one, other = np.split(position, 2)

        def measure(part: slice) -> None:
            difference = points[other[part]]
            difference -= points[one[part]]
            distance = np.einsum("ij,ij->i", difference, difference)
            if metric == "cosine":
                distance = np.where(zero[other[part]] | zero[one[part]], 1.0, distance / 2)
            distances[pairs.start + part.start : pairs.start + part.stop] = distance

        inner(measure, parts(len(one), MEASURED_ROWS))

    if cloud.space.n * cloud.space.d * 8 <= SMALL_BYTES:
        read_and_measure(slice(0, len(first)), mapper)
    else:
        mapper(lambda pairs: read_and_measure(pairs, one_by_one), parts(len(first), READ_ROWS))
    return distances


def rounding(cloud: Cloud, queries: np.ndarray, metric: str, mapper: Mapper = one_by_one) -> np.ndarray:
    """A bound (q,) of the float64 rounding error of distances from the queries: closer distances tie."""

    def squares(some: slice) -> np.ndarray:
        points = cloud.points(cloud.take(queries[some]), metric)
        return np.einsum("ij,ij->i", points, points)

    return 1e-14 * (cloud.scale(metric) + np.concatenate(mapper(squares, parts(len(queries), READ_ROWS))))


def nearest_first(rows: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Candidates (q, c) sorted by distance, then by row number, and their distances."""
    order = np.lexsort((rows, distances), axis=1)
    return np.take_along_axis(rows, order, 1), np.take_along_axis(distances, order, 1)


def shares(rows: np.ndarray, distances: np.ndarray, k: int, close: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the first k places and their weights: 1 for nearer rows, equal shares of the rest for ties."""
    kth = distances[:, k - 1 : k]
    nearer = distances < kth - close[:, None]
    tied = ~nearer & (distances <= kth + close[:, None])
    weights = nearer + tied * ((k - nearer.sum(1)) / tied.sum(1))[:, None]
    return np.where(weights > 0, rows, -1), weights


def packed(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """The true entries of a mask (q, b), to pack them to the left: query, column, position in the packed row, and the
    largest number in a row.
    """
    query, column = np.divmod(np.flatnonzero(mask), mask.shape[1])
    counts = np.bincount(query, minlength=len(mask))
    position = np.arange(len(query)) - (np.cumsum(counts) - counts)[query]
    return query, column, position, int(counts.max(initial=0))


class Asked:
    """Queries of a cloud and their float64 distances to blocks of it, infinite to themselves."""

    def __init__(self, cloud: Cloud, queries: np.ndarray, metric: str) -> None:
        rows = cloud.take(queries)
        self.cloud, self.queries, self.metric = cloud, queries, metric
        self.points, self.zero = cloud.points(rows, metric), is_zero(rows)
        self.squares = np.einsum("ij,ij->i", self.points, self.points)

    def over(self, start: int, rows: np.ndarray, act: Callable[[slice, np.ndarray], None], mapper: Mapper) -> None:
        """Call ``act(part, distances (p, b))`` for every part of the queries; the rows (b, d) start at ``start``."""
        points = np.concatenate(mapper(lambda some: self.cloud.points(rows[some], self.metric), parts(len(rows), 512)))
        squares, zero = np.einsum("ij,ij->i", points, points), is_zero(rows)

        def one(part: slice) -> None:
            distances = self.points[part] @ points.T
            distances *= -2
            distances += self.squares[part, None]
            distances += squares
            np.maximum(distances, 0, out=distances)
            if self.metric == "cosine":
                distances /= 2
                distances[self.zero[part]] = 1.0
                distances[:, zero] = 1.0
            in_block = np.flatnonzero((self.queries[part] >= start) & (self.queries[part] < start + len(rows)))
            distances[in_block, self.queries[part][in_block] - start] = np.inf
            act(part, distances)

        mapper(one, parts(len(self.queries), QUERIES_AT_ONCE))


def exhaustive(
    cloud: Cloud, queries: np.ndarray, k: int, width: int, metric: str, mapper: Mapper = one_by_one
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Members (q, w), the nearest distances (q, width) and shares (q, w) from float64 distances to every row.

    If very many rows tie for the k-th place, only the first in row order are kept: 256, or more for fewer queries.
    """
    asked, best = Asked(cloud, queries, metric), _Nearest(len(queries), width)
    for start, rows in cloud.space.blocks(BLOCK):
        asked.over(start, rows, partial(best.add, start), mapper)
    distances = np.sort(measured(cloud, queries, best.rows, metric, mapper), axis=1)
    kth = distances[:, k - 1]
    close = TIE * kth + rounding(cloud, queries, metric, mapper)
    nearer = _Members(len(queries), k)
    tied = _Members(len(queries), max(256, MAX_TIES // len(queries)))

    def collect(at: int, part: slice, block: np.ndarray) -> None:
        near, far = (kth - close)[part, None], (kth + close)[part, None]
        nearer.collect(part, at, block < near)
        tied.collect(part, at, (block >= near) & (block <= far))

    for start, rows in cloud.space.blocks(BLOCK):
        asked.over(start, rows, partial(collect, start), mapper)
    share = (k - nearer.held) / np.maximum(tied.held, 1)
    weights = np.concatenate([nearer.rows >= 0, (tied.rows >= 0) * share[:, None]], axis=1)
    first, _ = nearest_first(nearer.rows, measured(cloud, queries, nearer.rows, metric, mapper))
    members = np.concatenate([first, tied.rows], axis=1)
    order = np.argsort(members < 0, axis=1, kind="stable")[:, : (members >= 0).sum(1).max()]
    return np.take_along_axis(members, order, 1), distances, np.take_along_axis(weights, order, 1)


class _Nearest:
    """The ``width`` nearest rows of every query so far, and their distances; ties go to the lower rows."""

    def __init__(self, queries: int, width: int) -> None:
        self.distances = np.full((queries, width), np.inf)
        self.rows = np.full((queries, width), -1)

    def add(self, start: int, part: slice, block: np.ndarray) -> None:
        """Add the distances (q, b) of the rows from ``start`` on."""
        width = self.rows.shape[1]
        limit = self.distances[part, -1:]
        if block.shape[1] > width:
            limit = np.minimum(limit, np.partition(block, width - 1, axis=1)[:, width - 1 : width])
        query, column, position, most = packed((block <= limit) & np.isfinite(block))
        distances, rows = np.full((len(block), most), np.inf), np.full((len(block), most), -1)
        distances[query, position], rows[query, position] = block[query, column], column + start
        distances = np.concatenate([self.distances[part], distances], axis=1)
        rows = np.concatenate([self.rows[part], rows], axis=1)
        order = np.lexsort((rows, distances), axis=1)[:, :width]
        self.distances[part] = np.take_along_axis(distances, order, 1)
        self.rows[part] = np.take_along_axis(rows, order, 1)


class _Members:
    """Up to ``capacity`` row numbers per query, in row order."""

    def __init__(self, queries: int, capacity: int) -> None:
        self.rows = np.full((queries, capacity), -1)
        self.held = np.zeros(queries, dtype=np.int64)

    def collect(self, part: slice, start: int, mask: np.ndarray) -> None:
        """Add the rows of a mask (q, b), up to the capacity."""
        query, column, position, _ = packed(mask)
        position = position + self.held[part][query]
        fits = position < self.rows.shape[1]
        self.rows[part][query[fits], position[fits]] = column[fits] + start
        self.held[part] = np.minimum(self.held[part] + mask.sum(1), self.rows.shape[1])
