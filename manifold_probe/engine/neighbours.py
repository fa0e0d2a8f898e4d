"""Exact neighbours of query rows among all rows of a space, in blocks, in both metrics from one product.

Rows are ranked by float32 scores (scores.py). The best k + a margin are measured again in float64. If rounding could
have hidden a neighbour, or more rows tie for the k-th place, all kept candidates are measured, and if these are too few
the query is compared with every row. A query never counts itself (by index, not by distance), and rows that tie for the
k-th place share it in equal fractions.

Distances are squared Euclidean, and 1 - cosine; a zero vector is at cosine distance 1 from everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.exact import (
    QUERIES_AT_ONCE,
    TIE,
    exhaustive,
    measured,
    measured_pairs,
    nearest_first,
    packed,
    parts,
    rounding,
    shares,
)
from manifold_probe.engine.inputs import as_matrix, check_k, check_metric
from manifold_probe.engine.passes import Advance, Pass, State, in_this_process, read, unwatched
from manifold_probe.engine.scores import Scores, falling, of_falling
from manifold_probe.engine.threads import Mapper, one_by_one, threads
from manifold_probe.spaces.space import Space

MARGIN = 8
EMPTY = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of queries in one space and metric.

    Attributes
    ----------
    queries : np.ndarray, shape (q,)
        Row numbers of the queries; from n on they are rows outside the bank.
    n, k : int
        Number of rows searched, and of neighbours.
    members, weights : np.ndarray, shape (q, w)
        Row numbers in the first k places and their weights: 1, or a fraction if rows tie for the k-th place; weights
        sum to k. Padded with -1 and weight 0. Nearest first.
    distances : np.ndarray, shape (q, k or more)
        Exact distances of the nearest rows, ascending; (q, 0) if not requested.
    deep : np.ndarray, shape (q, depth)
        Row numbers of the nearest rows, nearest first; the order of ties is not defined.

    Examples
    --------
    >>> import numpy as np
    >>> neighbours = Neighbours.search(np.array([[0.0], [1.0], [3.0], [7.0]]), k=1, metric="euclidean")
    >>> neighbours.members[:, 0]
    array([1, 0, 1, 2])
    """

    queries: np.ndarray
    n: int
    k: int
    metric: str
    members: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    distances: np.ndarray = field(repr=False)
    deep: np.ndarray = field(repr=False)

    @classmethod
    def search(
        cls,
        x: Any,
        k: int = 10,
        metric: str = "cosine",
        queries: np.ndarray | None = None,
        *,
        distances: bool = True,
    ) -> Neighbours:
        """Neighbours of the rows ``queries`` (all by default) of an array (n, d) or Space; see `search`."""
        space = x if isinstance(x, Space) else Space(as_matrix(x))
        k = check_k(k, space.n)
        queries = np.arange(space.n) if queries is None else np.asarray(queries)
        cloud = Cloud(space)
        with threads() as mapper:
            neighbours = search(cloud, queries, k, {check_metric(metric): k}, mapper, distances=distances)[metric]
        if metric == "cosine" or not cloud.exponent:
            return neighbours
        with np.errstate(over="ignore"):  # a square beyond float64 is infinite
            return replace(neighbours, distances=np.ldexp(neighbours.distances, 2 * cloud.exponent))

    @property
    def nearest(self) -> np.ndarray:
        """Row numbers (q, k) of the nearest rows, nearest first; ties for the k-th place go to the first rows."""
        rows = self.members[:, : self.k].copy()
        shared = np.flatnonzero(((self.weights > 0) & (self.weights < 1)).any(1))
        last = np.where(self.weights[shared] < 1, self.members.shape[1], np.arange(self.members.shape[1]))
        row = np.where(self.members[shared] < 0, self.n, self.members[shared])
        order = np.lexsort((row, last), axis=1)[:, : self.k]
        rows[shared] = np.take_along_axis(self.members[shared], order, 1)
        return rows

    def only(self, kept: np.ndarray) -> Neighbours:
        """The neighbours of some of the queries, by mask or position."""
        lists = (self.members[kept], self.weights[kept], self.distances[kept], self.deep[kept])
        return Neighbours(self.queries[kept], self.n, self.k, self.metric, *lists)


def search(
    cloud: Cloud,
    queries: np.ndarray,
    k: int,
    depths: dict[str, int],
    mapper: Mapper = one_by_one,
    advance: Advance = unwatched,
    *,
    distances: bool = True,
) -> dict[str, Neighbours]:
    """Neighbours of ``queries`` in every metric of ``depths`` (metric -> length of the list ``deep``).

    Without ``distances`` only candidates whose order is uncertain because of rounding are measured, which is faster.
    """
    candidates = Candidates(cloud, queries, k, depths, distances)
    work = Pass({cloud.name: cloud.stored}, {"best": candidates})
    return candidates.settled(read(work, in_this_process(mapper), advance)["best"], mapper)


def nearest_rows(cloud: Cloud, queries: np.ndarray, k: int, metrics: Iterable[str]) -> dict[str, np.ndarray]:
    """The rows (q, k) nearest to the queries by float32 scores only, nearest first, by metric.

    If rounding makes the order uncertain, or rows tie, the score decides and then the row's number. For experiments
    that compare many versions of a few thousand rows, where thousands of rows may tie.
    """
    candidates = Candidates(cloud, queries, k, dict.fromkeys(metrics, k), distances=False)
    work = Pass({cloud.name: cloud.stored}, {"best": candidates})
    state = read(work, in_this_process(one_by_one), unwatched)["best"]
    return {metric: _rows(np.sort(state[metric])[:, :k]) for metric in metrics}


class Candidates:
    """The summary of the best rows of a cloud for every query, by float32 scores, in every metric of ``depths``.

    Its state holds a number per candidate, (q, depth) in ascending order: the bits of the score, inverted so that the
    best comes first, above the row's number. So candidates have a total order, score then row.
    """

    def __init__(
        self, cloud: Cloud, queries: np.ndarray, k: int, depths: dict[str, int], distances: bool = True
    ) -> None:
        self.cloud, self.queries, self.k, self.distances = cloud, queries, k, distances
        self.kept = {metric: min(cloud.others, max(depth, k + MARGIN)) for metric, depth in depths.items()}
        self.scores = Scores(cloud, queries, next(iter(depths)) if len(depths) == 1 else None)

    @property
    def spaces(self) -> tuple[str, ...]:
        """The space that is searched."""
        return (self.cloud.name,)

    def start(self, first: int, last: int) -> _Best:
        """No rows yet."""
        return _Best(self)

    def merge(self, one: State, other: State) -> State:
        """The best of both."""
        merged = {"reach": np.maximum(one["reach"], other["reach"])}
        for metric, keep in self.kept.items():
            merged[metric] = _first(np.concatenate([one[metric], other[metric]], axis=1), keep)
        return merged

    def settled(self, state: State, mapper: Mapper = one_by_one) -> dict[str, Neighbours]:
        """The exact neighbours by metric."""
        return {metric: self._settled(metric, np.sort(state[metric]), state["reach"], mapper) for metric in self.kept}

    def _settled(self, metric: str, keys: np.ndarray, reach: np.ndarray, mapper: Mapper) -> Neighbours:
        """Measure the first candidates again in float64; for queries that are still uncertain all, then every row."""
        cloud, queries, k, others = self.cloud, self.queries, self.k, self.cloud.others
        scores, deep = _scores(keys).astype(np.float64), _rows(keys)
        kept = width = min(others, k + MARGIN)
        distances = np.empty((len(queries), width if self.distances else 0))
        first = distances.shape[1]
        self._put_in_order(metric, deep[:, first:], scores[:, first:], reach, mapper)
        members, weights = deep[:, :k].copy(), np.ones((len(queries), k))
        unsure = np.arange(len(queries)) if self.distances else self._unsure(metric, scores, reach)
        while len(unsure):
            rows = deep[unsure, :kept]
            rows, exact = nearest_first(rows, measured(cloud, queries[unsure], rows, metric, mapper))
            deep[unsure, :kept] = rows
            distances[unsure], kth = exact[:, :first], exact[:, k - 1]
            close = TIE * kth + rounding(cloud, queries[unsure], metric, mapper)
            members, weights = _put(members, weights, unsure, *shares(rows, exact, k, close))
            if kept == others:
                break
            lowest = self.scores.at(metric, unsure, kth + close)
            lowest -= self.scores.rounded(metric, unsure, kth + close, reach)
            edge = scores[unsure, kept - 1]
            unsure = unsure[(lowest <= edge) | self.scores.in_doubt(unsure, edge)]
            if kept == deep.shape[1] and len(unsure):
                rows, exact, shared = exhaustive(cloud, queries[unsure], k, width, metric, mapper)
                distances[unsure] = exact[:, :first]
                members, weights = _put(members, weights, unsure, rows, shared)
                break
            kept = deep.shape[1]
        return Neighbours(queries, cloud.space.n, k, metric, members, weights, distances, deep)

    def _unsure(self, metric: str, scores: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """The queries whose k-th and next candidates may be in the wrong order because of rounding, or tie."""
        if scores.shape[1] == self.k:
            return np.arange(0)
        queries, last, following = np.arange(len(scores)), scores[:, self.k - 1], scores[:, self.k]
        rounded = self.scores.rounded(metric, queries, self.scores.distance(metric, last), reach)
        return np.flatnonzero((last - following <= 2 * rounded) | self.scores.in_doubt(queries, following))

    def _put_in_order(
        self, metric: str, rows: np.ndarray, scores: np.ndarray, reach: np.ndarray, mapper: Mapper
    ) -> None:
        """Sort candidates (q, c) whose scores differ by less than rounding by their float64 distances, in place."""
        if rows.shape[1] < 2:
            return
        queries = np.arange(len(rows))
        farthest = self.scores.distance(metric, scores[:, -1])
        near = -np.diff(scores, axis=1) <= 2 * self.scores.rounded(metric, queries, farthest, reach)[:, None]
        some = np.flatnonzero(near.any(1))
        near, unsorted = near[some], rows[some]
        starts_run = np.pad(~near, ((0, 0), (1, 0)), constant_values=True)
        runs = np.cumsum(starts_run, axis=1)  # the order within a run is uncertain
        in_run = np.pad(near, ((0, 0), (0, 1))) | np.pad(near, ((0, 0), (1, 0)))
        query, column = np.nonzero(in_run)
        exact = np.zeros(unsorted.shape)
        numbers = self.queries[some[query]]
        exact[query, column] = measured_pairs(self.cloud, numbers, unsorted[query, column], metric, mapper)
        rows[some] = np.take_along_axis(unsorted, np.lexsort((unsorted, exact, runs), axis=1), 1)


def _put(
    members: np.ndarray, weights: np.ndarray, queries: np.ndarray, rows: np.ndarray, shared: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Members and weights (q, w), widened if needed, with those of some queries replaced."""
    pad = ((0, 0), (0, max(0, rows.shape[1] - members.shape[1])))
    members, weights = np.pad(members, pad, constant_values=-1), np.pad(weights, pad)
    members[queries], weights[queries] = -1, 0
    members[queries, : rows.shape[1]], weights[queries, : rows.shape[1]] = rows, shared
    return members, weights


class _Best:
    """The candidates of a span, and the terms that bound the rounding of their scores."""

    def __init__(self, summary: Candidates) -> None:
        self.summary, count = summary, len(summary.queries)
        self.keys = {metric: np.full((count, keep), EMPTY) for metric, keep in summary.kept.items()}
        self.worst = {metric: np.full(count, -np.inf, dtype=np.float32) for metric in summary.kept}
        self.reach = np.zeros(3)

    def add(self, start: int, blocks: tuple[np.ndarray, ...], mapper: Mapper) -> None:
        """Score the rows of a block for every query, in both metrics from one product."""
        first, rows = self.summary.cloud.part(start, blocks[0])
        if not len(rows):
            return
        scores = self.summary.scores
        block = scores.block(first, rows, mapper)
        self.reach = np.maximum(self.reach, block.reach)

        def score(part: slice) -> None:
            products = scores.products(part, block)
            for metric in self.keys:
                self._add(metric, part, scores.of(metric, part, block, products), first)

        mapper(score, parts(len(self.summary.queries), QUERIES_AT_ONCE))

    def _add(self, metric: str, part: slice, scores: np.ndarray, start: int) -> None:
        """Keep the best of the scores (q, b) of the rows from ``start`` on.

        After a few blocks, few scores of a block are among the best: selecting these is faster than sorting all.
        """
        keep, worst = self.summary.kept[metric], self.worst[metric][part]
        if scores.shape[1] > keep and not np.isfinite(worst).all():
            wanted = scores >= np.partition(scores, -keep, axis=1)[:, -keep, None]
            wanted &= scores > worst[:, None]
        else:
            wanted = scores > worst[:, None]
        query, column, position, most = packed(wanted)
        if not most:
            return
        new = np.full((len(scores), most), EMPTY)
        new[query, position] = _keys(scores[query, column], column + start)
        keys = _first(np.concatenate([self.keys[metric][part], new], axis=1), keep)
        self.keys[metric][part], self.worst[metric][part] = keys, _scores(keys.max(axis=1))

    def state(self) -> State:
        """The candidates and the reach."""
        return {**self.keys, "reach": self.reach}


def _first(keys: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` lowest keys of every row, unsorted."""
    return np.partition(keys, count - 1, axis=1)[:, :count] if keys.shape[1] > count else keys


def _keys(scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Numbers in the order of falling scores, then of rows."""
    return (falling(scores).astype(np.uint64) << np.uint64(32)) | rows.astype(np.uint64)


def _rows(keys: np.ndarray) -> np.ndarray:
    """The rows of keys, -1 for none."""
    return np.where(keys == EMPTY, -1, (keys & np.uint64(2**32 - 1)).astype(np.int64))


def _scores(keys: np.ndarray) -> np.ndarray:
    """The float32 scores of keys, -inf for none."""
    return np.where(keys == EMPTY, np.float32(-np.inf), of_falling((keys >> np.uint64(32)).astype(np.uint32)))
