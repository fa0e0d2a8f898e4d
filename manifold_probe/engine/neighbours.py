"""Exact neighbours of query rows among all rows of a space, in blocks, in both metrics from one product.

Rows are centred at c, near their median: z = x - c. One float32 block G = Zq Zb' ranks the database for a query i in
both metrics:

    Euclidean:  G_ij - |z_j|^2 / 2                      = (|z_i|^2 - d_ij^2) / 2
    cosine:     r_j G_ij + h_j + e_i (r_j - r)          = |x_i| cos_ij - constant of i

with r_j = 1/|x_j|, r = 1/median norm, e_i = c.z_i and h_j = |c|^2 (r_j - r) + r_j c.z_j taken in float64: no term is
larger than the spread of the data, so a common offset costs no precision. The best k + a margin are measured again in
float64; where rounding could have hidden a neighbour, or more rows tie for the k-th place than were kept, that query is
searched again in float64 from end to end. A query never counts itself (by index, not by distance), and rows that tie
for the k-th place share it: each holds the same fraction of what is left of k.

Distances are squared Euclidean, and 1 - cosine; a zero vector is at cosine distance 1 from everything.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from manifold_probe.engine.cloud import Cloud, Terms, device
from manifold_probe.engine.exact import (
    BLOCK,
    TIE,
    Best,
    Progress,
    exhaustive,
    measured,
    nearest_first,
    shares,
)
from manifold_probe.engine.inputs import as_matrix, check_k, check_metric
from manifold_probe.spaces.space import Space

MARGIN = 8
QUERY_BLOCK = 512


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of queries in one space and metric.

    Attributes
    ----------
    queries : np.ndarray, shape (q,)
        Row numbers of the queries among the n rows.
    n, k : int
        Rows searched and neighbours asked for.
    members, weights : np.ndarray, shape (q, w)
        Row numbers that hold one of the first k places and the share they hold: 1, or a fraction where rows tie for
        the k-th place; weights sum to k. Padded with -1 and weight 0. Nearest first.
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
        found = search(cloud, queries, k, {check_metric(metric): k})[metric]
        if metric == "cosine" or not cloud.profile.exponent:
            return found
        with np.errstate(over="ignore"):  # a square beyond float64 is infinite
            return replace(found, distances=np.ldexp(found.distances, 2 * cloud.profile.exponent))


def search(
    cloud: Cloud, queries: np.ndarray, k: int, depths: dict[str, int], progress: Progress | None = None
) -> dict[str, Neighbours]:
    """Neighbours of ``queries`` in each metric of ``depths`` (metric -> how deep the list ``deep`` goes)."""
    n = cloud.space.n
    found = {m: Best(len(queries), min(n - 1, max(depth, k + MARGIN))) for m, depth in depths.items()}
    terms = cloud.terms(cloud.space.take(queries))
    reach = _scan(cloud, queries, terms, found, progress)
    return {metric: _settle(cloud, queries, k, metric, best, terms, reach) for metric, best in found.items()}


def _scan(
    cloud: Cloud, queries: np.ndarray, terms: Terms, found: dict[str, Best], progress: Progress | None
) -> np.ndarray:
    """One pass over the database in float32 that scores both metrics from one product.

    Returns the largest |z_j| r_j, |h_j| and |r_j - r| met, which bound the rounding of the cosine scores.
    """
    where, space, reach = device(), cloud.space, np.zeros(3)
    zq, eq = (torch.from_numpy(t.astype(np.float32)).to(where) for t in (terms.z, terms.e[:, None]))
    room = torch.empty(2, min(QUERY_BLOCK, len(queries)) * min(BLOCK, space.n), device=where)
    for start, block in space.blocks(BLOCK):
        own = cloud.terms(block)
        reach = np.maximum(reach, [(np.sqrt(2 * own.half) * own.r).max(), np.abs(own.h).max(), np.abs(own.rho).max()])
        zb, half, r, rho, h = (
            torch.from_numpy(t.astype(np.float32)).to(where) for t in (own.z, own.half, own.r, own.rho, own.h)
        )
        for first in range(0, len(queries), QUERY_BLOCK):
            part = slice(first, min(first + QUERY_BLOCK, len(queries)))
            shape = (part.stop - part.start, len(block))
            products, scores = (scratch.view(-1)[: shape[0] * shape[1]].view(shape) for scratch in room)
            torch.mm(zq[part], zb.T, out=products)
            here = np.flatnonzero((queries[part] >= start) & (queries[part] < start + len(block)))
            selves = (torch.from_numpy(here).to(where), torch.from_numpy(queries[part][here] - start).to(where))
            for metric, best in found.items():
                if metric == "euclidean":
                    torch.sub(products, half, out=scores)
                else:
                    torch.addmm(h, eq[part], rho[None], out=scores).addcmul_(products, r)
                scores[selves] = -torch.inf
                best.update(part, scores, start)
        if progress:
            progress("neighbours", start + len(block), space.n)
    return reach


def _settle(
    cloud: Cloud, queries: np.ndarray, k: int, metric: str, best: Best, terms: Terms, reach: np.ndarray
) -> Neighbours:
    """Measure the first candidates again in float64, and the whole space for queries that this leaves in doubt."""
    n = cloud.space.n
    width = min(n - 1, k + MARGIN)
    rows = best.rows[:, :width].numpy()
    found, rounding = measured(cloud, queries, rows, metric)
    rows, distances = nearest_first(rows, found)
    close = TIE * distances[:, k - 1] + rounding
    members, weights = shares(rows, distances, k, close)
    deep = best.rows.numpy()
    deep[:, :width] = rows
    if width < n - 1:
        edge = best.scores[:, width - 1].numpy().astype(np.float64)
        doubt = np.flatnonzero(_lowest_score(cloud, distances[:, k - 1] + close, metric, terms, reach) <= edge)
        if len(doubt):
            rows, distances[doubt], held = exhaustive(cloud, queries[doubt], k, width, metric)
            pad = ((0, 0), (0, max(0, rows.shape[1] - width)))
            members, weights = np.pad(members, pad, constant_values=-1), np.pad(weights, pad)
            members[doubt], weights[doubt] = -1, 0
            members[doubt, : rows.shape[1]], weights[doubt, : rows.shape[1]] = rows, held
    return Neighbours(queries, n, k, metric, members, weights, distances, deep)


def _lowest_score(cloud: Cloud, kth: np.ndarray, metric: str, terms: Terms, reach: np.ndarray) -> np.ndarray:
    """The lowest float32 score (q,) that a row within the distance ``kth`` (q,) can have been given."""
    unit = 2.0**-24 * (4 + np.sqrt(cloud.space.d))
    size = np.sqrt(2 * terms.half)
    if metric == "euclidean":  # such a row is no further from the centre than the query and that distance together
        kth = kth / cloud.spread**2
        return terms.half - kth / 2 - 1.5 * unit * (size + np.sqrt(kth)) ** 2
    centre = cloud.centre / cloud.spread
    score = terms.norm * (1 - kth) - (centre @ centre + terms.e) * cloud.spread / cloud.size
    # the lengths, far larger than the spread where an offset is, bring float64's own rounding
    wide = 1e-15 * (terms.norm + np.linalg.norm(centre))
    return score - unit * (size * reach[0] + reach[1] + np.abs(terms.e) * reach[2]) - wide
