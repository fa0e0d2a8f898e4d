"""Exact neighbours of query rows among all rows of a space, in blocks, in both metrics from one product.

Rows are centred at c, z = x - c. One float32 block G = Zq Zb' ranks the database for a query i in both metrics:

    Euclidean:  G_ij - |z_j|^2 / 2                      = (|z_i|^2 - d_ij^2) / 2
    cosine:     r_j G_ij + h_j + e_i (r_j - r)          = |x_i| cos_ij - constant of i

with r_j = 1/|x_j|, r = 1/rms norm, e_i = c.z_i and h_j = |c|^2 (r_j - r) + r_j c.z_j taken in float64: no term is
larger than the spread of the data, so a common offset costs no precision. The best k + a margin are measured again in
float64; where rounding could have hidden a neighbour, or more rows tie for the k-th place than were kept, that query is
searched again in float64 from end to end. A query never counts itself (by index, not by distance), and rows that tie
for the k-th place share it: each holds the same fraction of what is left of k.

Distances are squared Euclidean, and 1 - cosine; a zero vector is at cosine distance 1 from everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from manifold_probe.measures.inputs import as_matrix, check_k, check_metric
from manifold_probe.measures.profile import Profile, profile
from manifold_probe.spaces.space import Space

MARGIN = 8
TIES_KEPT = 4_000_000
TIE = 1e-10
BLOCK = 8192
QUERY_BLOCK = 2048
Progress = Callable[[str, int, int], None]


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
        return search(Cloud(space), queries, k, {check_metric(metric): k})[metric]


def device() -> torch.device:
    """A CUDA device where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class _Terms(NamedTuple):
    """Per row and in units of the spread: z (m, d), |z|^2 / 2, |x|, r, r_j - r, h and e (m,)."""

    z: np.ndarray
    half: np.ndarray
    norm: np.ndarray
    r: np.ndarray
    rho: np.ndarray
    h: np.ndarray
    e: np.ndarray


class Cloud:
    """A space with its profile: the points that distances are taken between, centred so that nothing cancels."""

    def __init__(self, space: Space, known: Profile | None = None) -> None:
        self.space = space
        self.profile = known or profile(space)
        self.centre = self.profile.mean
        self.rms = float(np.sqrt(np.mean(self.profile.norms**2))) or 1.0
        self.spread = self.profile.spread or self.rms

    def scale(self, metric: str) -> float:
        """The mean squared length of the centred points of a metric."""
        return self.spread**2 if metric == "euclidean" else (self.spread / self.rms) ** 2

    def terms(self, rows: np.ndarray) -> _Terms:
        """What the float32 scores are made of, for rows (m, d)."""
        wide = rows.astype(np.float64, copy=False)
        z, centre = (wide - self.centre) / self.spread, self.centre / self.spread
        norm = np.sqrt(np.einsum("ij,ij->i", wide, wide)) / self.spread
        r = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
        rho, e = r - self.spread / self.rms, z @ centre
        return _Terms(z, np.einsum("ij,ij->i", z, z) / 2, norm, r, rho, centre @ centre * rho + r * e, e)

    def points(self, rows: np.ndarray, metric: str) -> np.ndarray:
        """Float64 points near the origin whose squared distances (halved for cosine) are the metric's distances."""
        wide = rows.astype(np.float64, copy=False)
        if metric == "euclidean":
            return wide - self.centre
        norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        return wide / np.where(norms > 0, norms, 1)[:, None] - self.centre / self.rms


def search(
    cloud: Cloud, queries: np.ndarray, k: int, depths: dict[str, int], progress: Progress | None = None
) -> dict[str, Neighbours]:
    """Neighbours of ``queries`` in each metric of ``depths`` (metric -> how deep the list ``deep`` goes)."""
    n = cloud.space.n
    found = {m: _Best(len(queries), min(n - 1, max(depth, k + MARGIN))) for m, depth in depths.items()}
    terms = cloud.terms(cloud.space.take(queries))
    reach = _scan(cloud, queries, terms, found, progress)
    return {metric: _settle(cloud, queries, k, metric, best, terms, reach) for metric, best in found.items()}


class _Best:
    """The best scores seen so far and the rows that hold them."""

    def __init__(self, queries: int, keep: int) -> None:
        self.keep = keep
        self.scores = torch.full((queries, keep), -torch.inf)
        self.rows = torch.full((queries, keep), -1, dtype=torch.int64)

    def update(self, part: slice, scores: torch.Tensor, start: int) -> None:
        """Take in the scores (q, b) of the database rows from ``start`` on, for the queries of ``part``."""
        best, place = torch.topk(scores, min(self.keep, scores.shape[1]), dim=1)
        best, place = best.cpu(), place.cpu() + start
        if start or best.shape[1] < self.keep:
            best = torch.cat([self.scores[part], best], dim=1)
            best, order = torch.topk(best, self.keep, dim=1)
            place = torch.cat([self.rows[part], place], dim=1).gather(1, order)
        self.scores[part], self.rows[part] = best, place


def _scan(
    cloud: Cloud, queries: np.ndarray, terms: _Terms, found: dict[str, _Best], progress: Progress | None
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
            products, scores = (space_.view(-1)[: shape[0] * shape[1]].view(shape) for space_ in room)
            torch.mm(zq[part], zb.T, out=products)
            here = np.flatnonzero((queries[part] >= start) & (queries[part] < start + len(block)))
            selves = (torch.from_numpy(here).to(where), torch.from_numpy(queries[part][here] - start).to(where))
            for metric, best in found.items():
                if metric == "euclidean":
                    torch.sub(products, half, out=scores)
                else:
                    torch.mul(products, r, out=scores).add_(h).addcmul_(eq[part], rho)
                scores[selves] = -torch.inf
                best.update(part, scores, start)
        if progress:
            progress("neighbours", start + len(block), space.n)
    return reach


def _settle(
    cloud: Cloud, queries: np.ndarray, k: int, metric: str, best: _Best, terms: _Terms, reach: np.ndarray
) -> Neighbours:
    """Measure the first candidates again in float64, and the whole space for queries that this leaves in doubt."""
    n = cloud.space.n
    width = min(n - 1, k + MARGIN)
    rows, distances = measured(cloud, queries, best.rows[:, :width].numpy(), metric)
    tolerance = _tolerance(cloud, queries, distances[:, k - 1], metric)
    members, weights = _shares(rows, distances, k, tolerance)
    deep = best.rows.numpy()
    deep[:, :width] = rows
    if width < n - 1:
        edge = best.scores[:, width - 1].numpy().astype(np.float64)
        doubt = np.flatnonzero(_lowest_score(cloud, distances[:, k - 1] + tolerance, metric, terms, reach) <= edge)
        if len(doubt):
            rows, distances[doubt], shares = _exhaustive(cloud, queries[doubt], k, width, metric)
            pad = ((0, 0), (0, max(0, rows.shape[1] - width)))
            members, weights = np.pad(members, pad, constant_values=-1), np.pad(weights, pad)
            members[doubt], weights[doubt] = -1, 0
            members[doubt, : rows.shape[1]], weights[doubt, : rows.shape[1]] = rows, shares
    return Neighbours(queries, n, k, metric, members, weights, distances, deep)


def _lowest_score(cloud: Cloud, kth: np.ndarray, metric: str, terms: _Terms, reach: np.ndarray) -> np.ndarray:
    """The lowest float32 score (q,) that a row within the distance ``kth`` (q,) can have been given."""
    unit = 2.0**-24 * (4 + np.sqrt(cloud.space.d))
    size = np.sqrt(2 * terms.half)
    if metric == "euclidean":  # such a row is no further from the centre than the query and that distance together
        kth = kth / cloud.spread**2
        return terms.half - kth / 2 - 1.5 * unit * (size + np.sqrt(kth)) ** 2
    centre = cloud.centre / cloud.spread
    score = terms.norm * (1 - kth) - (centre @ centre + terms.e) * cloud.spread / cloud.rms
    return score - unit * (size * reach[0] + reach[1] + np.abs(terms.e) * reach[2])


def _tolerance(cloud: Cloud, queries: np.ndarray, kth: np.ndarray, metric: str) -> np.ndarray:
    """Distances this close to the k-th (q,) tie with it: what rounding in float64 can do, nothing more."""
    points = cloud.points(cloud.space.take(queries), metric)
    scale = cloud.scale(metric) if metric == "cosine" else 0.0  # one far row would make all others tie
    return TIE * kth + 1e-14 * (scale + np.einsum("ij,ij->i", points, points))


def measured(
    cloud: Cloud, queries: np.ndarray, rows: np.ndarray, metric: str, sort: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Candidate rows (q, c) by exact distance from their query (or as they came), with it; infinite for -1."""
    distances = np.empty(rows.shape)
    zero = cloud.profile.norms == 0
    for first in range(0, len(queries), 256):
        part = slice(first, first + 256)
        wanted, inverse = np.unique(rows[part], return_inverse=True)
        points = cloud.points(cloud.space.take(wanted), metric)[inverse.reshape(rows[part].shape)]
        away = points - cloud.points(cloud.space.take(queries[part]), metric)[:, None]
        distances[part] = np.einsum("qcd,qcd->qc", away, away)
    if metric == "cosine":
        distances = np.where(zero[rows] | zero[queries][:, None], 1.0, distances / 2)
    distances[rows < 0] = np.inf
    if not sort:
        return rows, distances
    order = np.lexsort((rows, distances), axis=1)
    return np.take_along_axis(rows, order, 1), np.take_along_axis(distances, order, 1)


def _shares(rows: np.ndarray, distances: np.ndarray, k: int, tolerance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Who holds the first k places: nearer rows whole, rows that tie with the k-th in equal parts."""
    kth = distances[:, k - 1 : k]
    nearer = distances < kth - tolerance[:, None]
    tied = ~nearer & (distances <= kth + tolerance[:, None])
    weights = nearer + tied * ((k - nearer.sum(1)) / tied.sum(1))[:, None]
    return np.where(weights > 0, rows, -1), weights


def distance_blocks(cloud: Cloud, queries: np.ndarray, metric: str) -> Iterator[tuple[slice, int, torch.Tensor]]:
    """(part of the queries, first database row, float64 distances (q, b)) over everything; infinite to itself."""
    where, zero = device(), cloud.profile.norms == 0
    for start, block in cloud.space.blocks(BLOCK):
        base = torch.from_numpy(cloud.points(block, metric)).to(where)
        size = (base * base).sum(1)
        for first in range(0, len(queries), 512):
            part = slice(first, min(first + 512, len(queries)))
            rows = torch.from_numpy(cloud.points(cloud.space.take(queries[part]), metric)).to(where)
            away = ((rows * rows).sum(1)[:, None] + size).addmm_(rows, base.T, alpha=-2).clamp_(min=0)
            if metric == "cosine":
                away /= 2
                away[torch.from_numpy(zero[queries[part]]).to(where)] = 1.0
                away[:, torch.from_numpy(zero[start : start + len(block)]).to(where)] = 1.0
            here = np.flatnonzero((queries[part] >= start) & (queries[part] < start + len(block)))
            away[torch.from_numpy(here).to(where), torch.from_numpy(queries[part][here] - start).to(where)] = torch.inf
            yield part, start, away


def _exhaustive(
    cloud: Cloud, queries: np.ndarray, k: int, width: int, metric: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Members (q, w), the nearest distances (q, width) and shares (q, w) from float64 distances to every row.

    Where very many rows tie for the k-th place, only the first in row order are kept: 256, or more for fewer queries.
    """
    best = _Best(len(queries), width)
    best.scores = best.scores.double()
    for part, start, away in distance_blocks(cloud, queries, metric):
        best.update(part, -away, start)
    _, distances = measured(cloud, queries, best.rows.numpy(), metric)
    kth = distances[:, k - 1]
    tolerance = _tolerance(cloud, queries, kth, metric)
    nearer = _Members(len(queries), k)
    tied = _Members(len(queries), max(256, TIES_KEPT // len(queries)))
    for part, start, away in distance_blocks(cloud, queries, metric):
        near = torch.from_numpy((kth - tolerance)[part, None]).to(away.device)
        far = torch.from_numpy((kth + tolerance)[part, None]).to(away.device)
        nearer.collect(part, start, away < near)
        tied.collect(part, start, (away >= near) & (away <= far))
    share = (k - nearer.held) / np.maximum(tied.held, 1)
    shares = np.concatenate([nearer.rows >= 0, (tied.rows >= 0) * share[:, None]], axis=1)
    members = np.concatenate([nearer.rows, tied.rows], axis=1)
    used = (members >= 0).any(0)
    return members[:, used], distances, shares[:, used]


class _Members:
    """Up to ``room`` row numbers a query, in row order."""

    def __init__(self, queries: int, room: int) -> None:
        self.rows = np.full((queries, room), -1)
        self.held = np.zeros(queries, dtype=np.int64)

    def collect(self, part: slice, start: int, mask: torch.Tensor) -> None:
        """Add the database rows of a mask (q, b) while there is room."""
        mask = mask.cpu()
        place = mask.cumsum(1) - 1 + torch.from_numpy(self.held[part])[:, None]
        query, row = torch.nonzero(mask & (place < self.rows.shape[1]), as_tuple=True)
        self.rows[part][query.numpy(), place[query, row].numpy()] = row.numpy() + start
        self.held[part] = np.minimum(self.held[part] + mask.sum(1).numpy(), self.rows.shape[1])


def ranks(
    cloud: Cloud, queries: np.ndarray, rows: np.ndarray, metric: str, progress: Progress | None = None
) -> np.ndarray:
    """Rank (q, c) of each given row among all others by distance from its query: 1 + how many are strictly nearer."""
    _, distances = measured(cloud, queries, rows, metric, sort=False)
    tolerance = _tolerance(cloud, queries, np.zeros(len(queries)), metric)[:, None]
    limits = distances * (1 - TIE) - tolerance
    order = np.argsort(limits, axis=1)
    sorted_limits = torch.from_numpy(np.take_along_axis(limits, order, 1))
    counts = torch.zeros(len(queries), rows.shape[1] + 1)
    for part, start, away in distance_blocks(cloud, queries, metric):
        slots = torch.searchsorted(sorted_limits[part].to(away.device), away, right=True).cpu()
        counts[part].scatter_add_(1, slots, torch.ones(1).expand(slots.shape))
        if progress:
            progress("ranks", min(start + part.stop * BLOCK // len(queries), cloud.space.n), cloud.space.n)
    nearer = np.empty(rows.shape, dtype=np.int64)
    np.put_along_axis(nearer, order, counts[:, :-1].cumsum(1).numpy().astype(np.int64), 1)
    return np.where(rows >= 0, nearer + 1, 0)
