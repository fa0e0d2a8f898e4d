"""Exact neighbours of query rows among all rows of a space, in blocks, in both metrics from one product.

Rows are centred at c, near their median: z = x - c. One float32 block G = Zq Zb' ranks the database for a query i in
both metrics:

    Euclidean:  G_ij - |z_j|^2 / 2                      = (|z_i|^2 - d_ij^2) / 2
    cosine:     r_j G_ij + h_j + e_i (r_j - r)          = |x_i| cos_ij - constant of i

with r_j = 1/|x_j|, r = 1/median norm, e_i = c.z_i and h_j = |c|^2 (r_j - r) + r_j c.z_j taken in float64: no term is
larger than the spread of the data, so a common offset costs no precision. The best k + a margin are measured again in
float64. Where rounding could have hidden a neighbour, or more rows tie for the k-th place, all that were kept are, and
where these are too few that query is compared with every row. A query never counts itself (by index, not by distance),
and rows that tie for the k-th place share it: each holds the same fraction of what is left of k.

Distances are squared Euclidean, and 1 - cosine; a zero vector is at cosine distance 1 from everything.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from manifold_probe.engine.cloud import FAR, Cloud
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
from manifold_probe.engine.threads import Each, one_by_one, threads
from manifold_probe.spaces.space import Space

MARGIN = 8
TERMS = 512  # rows of a block whose terms are made at once
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
        the k-th place; weights sum to k. Padded with -1 and weight 0. Nearest first, rows that tie for the k-th place
        in row order.
    distances : np.ndarray, shape (q, k or more)
        Exact distances of the nearest rows, ascending.
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
    def search(cls, x: Any, k: int = 10, metric: str = "cosine", queries: np.ndarray | None = None) -> Neighbours:
        """Neighbours of the rows ``queries`` (all by default) of an array (n, d) or Space."""
        space = x if isinstance(x, Space) else Space(as_matrix(x))
        k = check_k(k, space.n)
        queries = np.arange(space.n) if queries is None else np.asarray(queries)
        cloud = Cloud(space)
        with threads() as each:
            found = search(cloud, queries, k, {check_metric(metric): k}, each)[metric]
        if metric == "cosine" or not cloud.exponent:
            return found
        with np.errstate(over="ignore"):  # a square beyond float64 is infinite
            return replace(found, distances=np.ldexp(found.distances, 2 * cloud.exponent))

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
) -> dict[str, Neighbours]:
    """Neighbours of ``queries`` in each metric of ``depths`` (metric -> how deep the list ``deep`` goes)."""
    best = Candidates(cloud, queries, k, depths)
    found = read(Pass({cloud.name: cloud.stored}, {"best": best}), in_this_process(each), advance)
    return best.settled(found["best"], each)


class Candidates:
    """The summary that keeps the best rows of a cloud for each query, by float32 scores, in each metric of ``depths``.

    Its state holds a number a candidate, (q, depth) in ascending order: the score's bits, reversed so that the best
    comes first, above the row's number. So candidates have one total order, score then row.
    """

    def __init__(self, cloud: Cloud, queries: np.ndarray, k: int, depths: dict[str, int]) -> None:
        self.cloud, self.queries, self.k = cloud, queries, k
        self.keep = {metric: min(cloud.others, max(depth, k + MARGIN)) for metric, depth in depths.items()}
        self.terms = cloud.terms(cloud.take(queries))

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
        limits = rounding(cloud, queries, metric, each)
        kept = width = min(others, k + MARGIN)
        doubt = np.arange(len(queries))
        deep[:, :width], distances = nearest_first(
            deep[:, :width], measured(cloud, queries, deep[:, :width], metric, each)
        )
        close = TIE * distances[:, k - 1] + limits
        members, weights = shares(deep[:, :width], distances, k, close)
        self._put_in_order(metric, deep[:, width:], scores[:, width:], reach, each)
        while kept < others:
            kth = distances[doubt, k - 1] + close[doubt]
            lowest = self._score(metric, doubt, kth) - self._rounded(metric, doubt, kth, reach)
            edge = scores[doubt, kept - 1]
            # scores of rows this far, or of such queries, are not in the order of distance
            far = (edge < -(FAR**2) / 4) | (self.terms.far[doubt] > FAR)
            doubt = doubt[(lowest <= edge) | far]
            if not len(doubt):
                break
            if kept == deep.shape[1]:
                rows, distances[doubt], held = exhaustive(cloud, queries[doubt], k, width, metric, each)
                members, weights = _put(members, weights, doubt, rows, held)
                break
            kept = deep.shape[1]
            away = measured(cloud, queries[doubt], deep[doubt], metric, each)
            deep[doubt], away = nearest_first(deep[doubt], away)
            distances[doubt], close[doubt] = away[:, :width], TIE * away[:, k - 1] + limits[doubt]
            members, weights = _put(members, weights, doubt, *shares(deep[doubt], away, k, close[doubt]))
        return Neighbours(queries, cloud.space.n, k, metric, members, weights, distances, deep)

    def _put_in_order(self, metric: str, rows: np.ndarray, scores: np.ndarray, reach: np.ndarray, each: Each) -> None:
        """Put candidates (q, c) whose scores are closer than rounding in the order of their float64 distances."""
        if rows.shape[1] < 2:
            return
        everyone = np.arange(len(rows))
        farthest = self._distance(metric, scores[:, -1])
        near = -np.diff(scores, axis=1) <= 2 * self._rounded(metric, everyone, farthest, reach)[:, None]
        alone = np.pad(~near, ((0, 0), (1, 0)), constant_values=True)
        runs = np.cumsum(alone, axis=1)  # candidates of one run are in doubt among themselves
        within = np.pad(near, ((0, 0), (0, 1))) | np.pad(near, ((0, 0), (1, 0)))
        query, column = np.nonzero(within)
        away = np.zeros(rows.shape)
        away[query, column] = measured_pairs(self.cloud, self.queries[query], rows[query, column], metric, each)
        order = np.lexsort((rows, away, runs), axis=1)
        rows[:] = np.take_along_axis(rows, order, 1)

    def _distance(self, metric: str, scores: np.ndarray) -> np.ndarray:
        """The distances (q,) that scores (q,) stand for."""
        cloud, terms = self.cloud, self.terms
        if metric == "euclidean":
            return np.maximum(2 * (terms.half - scores), 0) * cloud.spread**2
        return 1 - (scores + self._constant()) / np.where(terms.norm > 0, terms.norm, 1)

    def _score(self, metric: str, asked: np.ndarray, distances: np.ndarray) -> np.ndarray:
        """The score (q,) of a row at a distance (q,) from each of some queries."""
        if metric == "euclidean":
            return self.terms.half[asked] - distances / self.cloud.spread**2 / 2
        return self.terms.norm[asked] * (1 - distances) - self._constant()[asked]

    def _constant(self) -> np.ndarray:
        """What cosine scores lack of |x_i| cos_ij, (q,)."""
        centre = self.cloud.centre / self.cloud.spread
        return (centre @ centre + self.terms.e) * self.cloud.spread / self.cloud.size

    def _rounded(self, metric: str, asked: np.ndarray, distances: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """What rounding in float32 can do to the scores (q,) of rows within a distance (q,) of each query."""
        cloud, terms = self.cloud, self.terms
        unit = 2.0**-24 * (4 + np.sqrt(cloud.space.d))
        size, e = np.sqrt(2 * terms.half[asked]), np.abs(terms.e[asked])
        if metric == "euclidean":  # such a row is no further from the centre than the query and that distance together
            return 1.5 * unit * (size + np.sqrt(distances) / cloud.spread) ** 2
        # the lengths, far larger than the spread where an offset is, bring float64's own rounding
        wide = 1e-15 * (terms.norm[asked] + np.linalg.norm(cloud.centre / cloud.spread))
        return unit * (size * reach[0] + reach[1] + e * reach[2]) + wide


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
    """A span's candidates, and the largest |z_j| r_j, |h_j| and |r_j - r| met, which bound the scores' rounding."""

    def __init__(self, of: Candidates) -> None:
        self.of, count = of, len(of.queries)
        self.keys = {metric: np.full((count, keep), EMPTY) for metric, keep in of.keep.items()}
        self.worst = {metric: np.full(count, -np.inf, dtype=np.float32) for metric in of.keep}
        self.reach = np.zeros(3)
        self.z, self.e = of.terms.z.astype(np.float32), of.terms.e.astype(np.float32)

    def add(self, start: int, blocks: tuple[np.ndarray, ...], each: Each) -> None:
        """Score the rows of a block for every query, in both metrics from one product."""
        first, rows = self.of.cloud.part(start, blocks[0])
        if not len(rows):
            return
        made = each(lambda some: self._terms(rows[some]), parts(len(rows), TERMS))
        self.reach = np.max([self.reach, *(reach for _, reach in made)], axis=0)
        z, half, r, rho, h = (np.concatenate(column) for column in zip(*(terms for terms, _ in made), strict=True))

        def score(part: slice) -> None:
            products = self.z[part] @ z.T
            queries = self.of.queries[part]
            here = np.flatnonzero((queries >= first) & (queries < first + len(rows)))
            for metric in self.keys:
                if metric == "euclidean":
                    scores = products - half
                else:
                    scores = products * r
                    scores += h
                    scores += self.e[part, None] * rho
                scores[here, queries[here] - first] = -np.inf
                self._take_in(metric, part, scores, first)

        each(score, parts(len(self.of.queries), PART))

    def _terms(self, rows: np.ndarray) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """The float32 terms of some rows, and what bounds their scores' rounding."""
        own = self.of.cloud.terms(rows)
        reach = [(np.sqrt(2 * own.half) * own.r).max(), np.abs(own.h).max(), np.abs(own.rho).max()]
        wanted = (own.z, own.half, own.r, own.rho, own.h)
        return tuple(term.astype(np.float32) for term in wanted), np.array(reach)

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
    bits = (scores + np.float32(0)).view(np.uint32)  # -0.0 and 0.0 are the same score
    falling = np.where(bits >> 31, bits, ~bits & np.uint32(2**31 - 1))
    return (falling.astype(np.uint64) << np.uint64(32)) | rows.astype(np.uint64)


def _rows(keys: np.ndarray) -> np.ndarray:
    """The rows of keys, -1 for none."""
    return np.where(keys == EMPTY, -1, (keys & np.uint64(2**32 - 1)).astype(np.int64))


def _scores(keys: np.ndarray) -> np.ndarray:
    """The float32 scores of keys, -inf for none."""
    falling = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(falling >> 31, falling, ~falling & np.uint32(2**31 - 1))
    return np.where(keys == EMPTY, np.float32(-np.inf), bits.view(np.float32))
