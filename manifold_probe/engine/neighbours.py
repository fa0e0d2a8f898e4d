"""Exact neighbours of query rows among all rows of a space, in blocks, in both metrics from one product.

Rows are ranked by float32 scores (scores.py). The best k + a margin are measured again in
float64. Where rounding could have hidden a neighbour, or more rows tie for the k-th place, all that were kept are, and
where these are too few that query is compared with every row. A query never counts itself (by index, not by distance),
and rows that tie for the k-th place share it: each holds the same fraction of what is left of k.

Distances are squared Euclidean, and 1 - cosine; a zero vector is at cosine distance 1 from everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.exact import (
    PART,
    TIE,
    exhaustive,
    measured,
    measured_pairs,
    nearest_first,
    parts,
    rounding,
    set_out,
    shares,
)
from manifold_probe.engine.inputs import as_matrix, check_k, check_metric
from manifold_probe.engine.passes import Advance, Pass, State, in_this_process, read, unwatched
from manifold_probe.engine.scores import Scores, falling, of_falling
from manifold_probe.engine.threads import Each, one_by_one, threads
from manifold_probe.spaces.space import Space

MARGIN = 8
EMPTY = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of queries in one space and metric.

    Attributes
    ----------
    queries : np.ndarray, shape (q,)
        Row numbers of the queries among the n rows, or from n on.
    n, k : int
        Rows searched and neighbours asked for.
    members, weights : np.ndarray, shape (q, w)
        Row numbers that hold one of the first k places and the share they hold: 1, or a fraction where rows tie for
        the k-th place; weights sum to k. Padded with -1 and weight 0. Nearest first.
    distances : np.ndarray, shape (q, k or more)
        Exact distances of the nearest rows, ascending; (q, 0) where they were not asked for.
    deep : np.ndarray, shape (q, depth)
        Row numbers of the nearest rows, nearest first, ties in no certain order.

    Examples
    --------
    >>> import numpy as np
    >>> found = Neighbours.search(np.array([[0.0], [1.0], [3.0], [7.0]]), k=1, metric="euclidean")
    >>> found.members[:, 0]
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
        with threads() as each:
            found = search(cloud, queries, k, {check_metric(metric): k}, each, distances=distances)[metric]
        if metric == "cosine" or not cloud.exponent:
            return found
        with np.errstate(over="ignore"):  # a square beyond float64 is infinite
            return replace(found, distances=np.ldexp(found.distances, 2 * cloud.exponent))

    @property
    def nearest(self) -> np.ndarray:
        """Row numbers (q, k) of the nearest, nearest first; of rows that tie for the k-th place the first ones."""
        rows = self.members[:, : self.k].copy()
        shared = np.flatnonzero(((self.weights > 0) & (self.weights < 1)).any(1))
        last = np.where(self.weights[shared] < 1, self.members.shape[1], np.arange(self.members.shape[1]))
        behind = np.where(self.members[shared] < 0, self.n, self.members[shared])
        order = np.lexsort((behind, last), axis=1)[:, : self.k]
        rows[shared] = np.take_along_axis(self.members[shared], order, 1)
        return rows

    def only(self, kept: np.ndarray) -> Neighbours:
        """The same for some of the queries, by mask or position."""
        lists = (self.members[kept], self.weights[kept], self.distances[kept], self.deep[kept])
        return Neighbours(self.queries[kept], self.n, self.k, self.metric, *lists)


def search(
    cloud: Cloud,
    queries: np.ndarray,
    k: int,
    depths: dict[str, int],
    each: Each = one_by_one,
    advance: Advance = unwatched,
    *,
    distances: bool = True,
) -> dict[str, Neighbours]:
    """Neighbours of ``queries`` in each metric of ``depths`` (metric -> how deep the list ``deep`` goes).

    Without ``distances`` only candidates that rounding leaves in doubt are measured, which is quicker.
    """
    best = Candidates(cloud, queries, k, depths, distances)
    found = read(Pass({cloud.name: cloud.stored}, {"best": best}), in_this_process(each), advance)
    return best.settled(found["best"], each)


def nearest_rows(cloud: Cloud, queries: np.ndarray, k: int, metrics: Iterable[str]) -> dict[str, np.ndarray]:
    """The rows (q, k) nearest to each query by float32 scores alone, nearest first, in each metric.

    Where rounding leaves the order in doubt, or rows tie, the score decides and then the row's number. For experiments
    that compare many versions of a few thousand rows, of which some may tie in thousands.
    """
    best = Candidates(cloud, queries, k, dict.fromkeys(metrics, k), distances=False)
    found = read(Pass({cloud.name: cloud.stored}, {"best": best}), in_this_process(one_by_one), unwatched)["best"]
    return {metric: _rows(np.sort(found[metric])[:, :k]) for metric in metrics}


class Candidates:
    """The summary that keeps the best rows of a cloud for each query, by float32 scores, in each metric of ``depths``.

    Its state holds a number a candidate, (q, depth) in ascending order: the score's bits, reversed so that the best
    comes first, above the row's number. So candidates have one total order, score then row.
    """

    def __init__(
        self, cloud: Cloud, queries: np.ndarray, k: int, depths: dict[str, int], distances: bool = True
    ) -> None:
        self.cloud, self.queries, self.k, self.distances = cloud, queries, k, distances
        self.keep = {metric: min(cloud.others, max(depth, k + MARGIN)) for metric, depth in depths.items()}
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
        for metric, keep in self.keep.items():
            merged[metric] = _first(np.concatenate([one[metric], other[metric]], axis=1), keep)
        return merged

    def settled(self, state: State, each: Each = one_by_one) -> dict[str, Neighbours]:
        """The neighbours in each metric, exact."""
        return {metric: self._settled(metric, np.sort(state[metric]), state["reach"], each) for metric in self.keep}

    def _settled(self, metric: str, keys: np.ndarray, reach: np.ndarray, each: Each) -> Neighbours:
        """Measure the first candidates again in float64; for queries that this leaves in doubt all, then every row."""
        cloud, queries, k, others = self.cloud, self.queries, self.k, self.cloud.others
        scores, deep = _scores(keys).astype(np.float64), _rows(keys)
        kept = width = min(others, k + MARGIN)
        distances = np.empty((len(queries), width if self.distances else 0))
        first = distances.shape[1]
        self._put_in_order(metric, deep[:, first:], scores[:, first:], reach, each)
        members, weights = deep[:, :k].copy(), np.ones((len(queries), k))
        doubt = np.arange(len(queries)) if self.distances else self._unclear(metric, scores, reach)
        while len(doubt):
            rows, away = deep[doubt, :kept], measured(cloud, queries[doubt], deep[doubt, :kept], metric, each)
            deep[doubt, :kept], away = rows, away = nearest_first(rows, away)
            distances[doubt], kth = away[:, :first], away[:, k - 1]
            close = TIE * kth + rounding(cloud, queries[doubt], metric, each)
            members, weights = _put(members, weights, doubt, *shares(rows, away, k, close))
            if kept == others:
                break
            lowest = self.scores.at(metric, doubt, kth + close)
            lowest -= self.scores.rounded(metric, doubt, kth + close, reach)
            edge = scores[doubt, kept - 1]
            doubt = doubt[(lowest <= edge) | self.scores.in_doubt(doubt, edge)]
            if kept == deep.shape[1] and len(doubt):
                rows, away, held = exhaustive(cloud, queries[doubt], k, width, metric, each)
                distances[doubt] = away[:, :first]
                members, weights = _put(members, weights, doubt, rows, held)
                break
            kept = deep.shape[1]
        return Neighbours(queries, cloud.space.n, k, metric, members, weights, distances, deep)

    def _unclear(self, metric: str, scores: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """The queries whose k-th and next candidates rounding could have swapped, or may tie."""
        if scores.shape[1] == self.k:
            return np.arange(0)
        everyone, last, following = np.arange(len(scores)), scores[:, self.k - 1], scores[:, self.k]
        rounded = self.scores.rounded(metric, everyone, self.scores.distance(metric, last), reach)
        return np.flatnonzero((last - following <= 2 * rounded) | self.scores.in_doubt(everyone, following))

    def _put_in_order(self, metric: str, rows: np.ndarray, scores: np.ndarray, reach: np.ndarray, each: Each) -> None:
        """Put candidates (q, c) whose scores are closer than rounding in the order of their float64 distances."""
        if rows.shape[1] < 2:
            return
        everyone = np.arange(len(rows))
        farthest = self.scores.distance(metric, scores[:, -1])
        near = -np.diff(scores, axis=1) <= 2 * self.scores.rounded(metric, everyone, farthest, reach)[:, None]
        some = np.flatnonzero(near.any(1))
        near, unsorted = near[some], rows[some]
        alone = np.pad(~near, ((0, 0), (1, 0)), constant_values=True)
        runs = np.cumsum(alone, axis=1)  # candidates of one run are in doubt among themselves
        within = np.pad(near, ((0, 0), (0, 1))) | np.pad(near, ((0, 0), (1, 0)))
        query, column = np.nonzero(within)
        away = np.zeros(unsorted.shape)
        asked = self.queries[some[query]]
        away[query, column] = measured_pairs(self.cloud, asked, unsorted[query, column], metric, each)
        rows[some] = np.take_along_axis(unsorted, np.lexsort((unsorted, away, runs), axis=1), 1)


def _put(
    members: np.ndarray, weights: np.ndarray, asked: np.ndarray, rows: np.ndarray, held: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Members and weights (q, w) with those of some queries replaced, as wide as they need."""
    pad = ((0, 0), (0, max(0, rows.shape[1] - members.shape[1])))
    members, weights = np.pad(members, pad, constant_values=-1), np.pad(weights, pad)
    members[asked], weights[asked] = -1, 0
    members[asked, : rows.shape[1]], weights[asked, : rows.shape[1]] = rows, held
    return members, weights


class _Best:
    """A span's candidates, and what bounds their scores' rounding."""

    def __init__(self, of: Candidates) -> None:
        self.of, count = of, len(of.queries)
        self.keys = {metric: np.full((count, keep), EMPTY) for metric, keep in of.keep.items()}
        self.worst = {metric: np.full(count, -np.inf, dtype=np.float32) for metric in of.keep}
        self.reach = np.zeros(3)

    def add(self, start: int, blocks: tuple[np.ndarray, ...], each: Each) -> None:
        """Score the rows of a block for every query, in both metrics from one product."""
        first, rows = self.of.cloud.part(start, blocks[0])
        if not len(rows):
            return
        scores = self.of.scores
        block = scores.block(first, rows, each)
        self.reach = np.maximum(self.reach, block.reach)

        def score(part: slice) -> None:
            products = scores.products(part, block)
            for metric in self.keys:
                self._take_in(metric, part, scores.of(metric, part, block, products), first)

        each(score, parts(len(self.of.queries), PART))

    def _take_in(self, metric: str, part: slice, scores: np.ndarray, start: int) -> None:
        """Keep the best of the scores (q, b) of the rows from ``start`` on.

        Once a few blocks are read, few scores of a block are among the best: to find these is quicker than to sort all.
        """
        keep, worst = self.of.keep[metric], self.worst[metric][part]
        if scores.shape[1] > keep and not np.isfinite(worst).all():
            wanted = scores >= np.partition(scores, -keep, axis=1)[:, -keep, None]
            wanted &= scores > worst[:, None]
        else:
            wanted = scores > worst[:, None]
        query, column, place, most = set_out(wanted)
        if not most:
            return
        found = np.full((len(scores), most), EMPTY)
        found[query, place] = _keys(scores[query, column], column + start)
        keys = _first(np.concatenate([self.keys[metric][part], found], axis=1), keep)
        self.keys[metric][part], self.worst[metric][part] = keys, _scores(keys.max(axis=1))

    def state(self) -> State:
        """The candidates and the reach."""
        return {**self.keys, "reach": self.reach}


def _first(keys: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` lowest keys of every row, in no certain order."""
    return np.partition(keys, count - 1, axis=1)[:, :count] if keys.shape[1] > count else keys


def _keys(scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Numbers in the order of falling scores, and of rows where scores are equal."""
    return (falling(scores).astype(np.uint64) << np.uint64(32)) | rows.astype(np.uint64)


def _rows(keys: np.ndarray) -> np.ndarray:
    """The rows of keys, -1 for none."""
    return np.where(keys == EMPTY, -1, (keys & np.uint64(2**32 - 1)).astype(np.int64))


def _scores(keys: np.ndarray) -> np.ndarray:
    """The float32 scores of keys, -inf for none."""
    return np.where(keys == EMPTY, np.float32(-np.inf), of_falling((keys >> np.uint64(32)).astype(np.uint32)))
