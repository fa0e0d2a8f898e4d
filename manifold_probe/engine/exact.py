"""Exact distances in float64: of chosen rows, to every row, and where a row stands among all by distance.

Distances are squared Euclidean, and 1 - cosine; a zero vector is at cosine distance 1 from everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from manifold_probe.engine.cloud import Cloud, device

TIES_KEPT = 4_000_000
TIE = 1e-12
BLOCK = 8192
WHOLE = 128 * 2**20
Progress = Callable[[str, int, int], None]


def measured(cloud: Cloud, queries: np.ndarray, rows: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Distances (q, c) of candidate rows from their queries, by direct differences; infinite for -1.

    Also what rounding in float64 can do to a distance from each query (q,): distances closer than that tie.
    """
    distances, rounding = np.empty(rows.shape), np.empty(len(queries))
    zero = cloud.profile.norms == 0
    step = len(queries) if cloud.space.n * cloud.space.d * 8 <= WHOLE else 256
    for start in range(0, len(queries), step):
        own, near = queries[start : start + step], np.maximum(rows[start : start + step], 0)
        wanted, inverse = np.unique(np.concatenate([own, near.ravel()]), return_inverse=True)
        points = torch.from_numpy(cloud.points(cloud.space.take(wanted), metric)).to(device())
        place = torch.from_numpy(inverse).to(points.device)
        mine = points[place[: len(own)]]
        rounding[start : start + step] = 1e-14 * (cloud.scale(metric) + mine.square().sum(1).cpu().numpy())
        for first in range(0, len(own), 256):
            last = min(first + 256, len(own))
            candidates = points[place[len(own) :].view(near.shape)[first:last]]
            away = torch.cdist(mine[first:last, None], candidates, 2, "donot_use_mm_for_euclid_dist")
            distances[start + first : start + last] = away[:, 0].square().cpu().numpy()
    if metric == "cosine":
        distances = np.where(zero[rows] | zero[queries][:, None], 1.0, distances / 2)
    distances[rows < 0] = np.inf
    return distances, rounding


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


class Best:
    """The best scores seen so far, best first, and the rows that hold them; of equal scores the lower rows."""

    def __init__(self, queries: int, keep: int, dtype: torch.dtype = torch.float32) -> None:
        self.keep = keep
        self.scores = torch.full((queries, keep), -torch.inf, dtype=dtype)
        self.rows = torch.full((queries, keep), -1, dtype=torch.int64)

    def update(self, part: slice, scores: torch.Tensor, start: int) -> None:
        """Take in the scores (q, b) of the database rows from ``start`` on, for the queries of ``part``."""
        if start:
            better = _above(scores, self.scores[part, -1:])
            if better is None:
                return
            best, rows = better[0], torch.where(better[1] < 0, -1, better[1] + start)
            best = torch.cat([self.scores[part], best], dim=1)
            best, order = torch.topk(best, self.keep, dim=1)
            rows = torch.cat([self.rows[part], rows], dim=1).gather(1, order)
        else:
            found, place = torch.topk(scores, min(self.keep, scores.shape[1]), dim=1)
            missing = self.keep - found.shape[1]
            best = torch.nn.functional.pad(found.cpu(), (0, missing), value=-torch.inf)
            rows = torch.nn.functional.pad(place.cpu(), (0, missing), value=-1)
        self.scores[part], self.rows[part] = best, rows


def _above(scores: torch.Tensor, least: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The scores (q, b) above ``least`` (q, 1) in rows of equal length (q, w), and their columns; padded with -inf, -1.

    Once a few blocks are read, few scores of a block are among the best: to find these is quicker than to sort all.
    """
    query, column = torch.nonzero(scores > least.to(scores.device), as_tuple=True)
    if not len(query):
        return None
    values, query, column = scores[query, column].cpu(), query.cpu(), column.cpu()
    counts = torch.bincount(query, minlength=len(scores))
    place = torch.arange(len(query)) - (counts.cumsum(0) - counts)[query]
    shape = (len(scores), int(counts.max()))
    found, columns = torch.full(shape, -torch.inf, dtype=scores.dtype), torch.full(shape, -1)
    found[query, place], columns[query, place] = values, column
    return found, columns


def exhaustive(
    cloud: Cloud, queries: np.ndarray, k: int, width: int, metric: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Members (q, w), the nearest distances (q, width) and shares (q, w) from float64 distances to every row.

    Where very many rows tie for the k-th place, only the first in row order are kept: 256, or more for fewer queries.
    """
    best = Best(len(queries), width, torch.float64)
    for part, start, away in distance_blocks(cloud, queries, metric):
        best.update(part, -away, start)
    distances, rounding = measured(cloud, queries, best.rows.numpy(), metric)
    distances.sort(axis=1)
    kth = distances[:, k - 1]
    close = TIE * kth + rounding
    nearer = _Members(len(queries), k)
    tied = _Members(len(queries), max(256, TIES_KEPT // len(queries)))
    for part, start, away in distance_blocks(cloud, queries, metric):
        near = torch.from_numpy((kth - close)[part, None]).to(away.device)
        far = torch.from_numpy((kth + close)[part, None]).to(away.device)
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


def places(
    cloud: Cloud, queries: np.ndarray, rows: np.ndarray, metric: str, progress: Progress | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """For each given row (q, c), how many rows are strictly nearer to its query, and how many tie with it, itself too.

    Its rank is 1 + the first, where the second is 1.
    """
    distances, rounding = measured(cloud, queries, rows, metric)
    distances[rows < 0] = 0.0
    close = TIE * distances + rounding[:, None]
    limits = np.concatenate([distances - close, distances + close], axis=1)
    limits[np.tile(rows < 0, 2)] = np.inf
    order = np.argsort(limits, axis=1)
    sorted_limits = torch.from_numpy(np.take_along_axis(limits, order, 1))
    counts = torch.zeros(len(queries), limits.shape[1] + 1)
    n = cloud.space.n
    for part, start, away in distance_blocks(cloud, queries, metric):
        slots = torch.searchsorted(sorted_limits[part].to(away.device), away, right=True).cpu()
        counts[part].scatter_add_(1, slots, torch.ones(1).expand(slots.shape))
        if progress:
            progress("ranks", min(start + part.stop * BLOCK // len(queries), n), n)
    below = np.empty(limits.shape, dtype=np.int64)
    np.put_along_axis(below, order, counts[:, :-1].cumsum(1).numpy().astype(np.int64), 1)
    nearer, upto = np.split(below, 2, axis=1)
    return nearer, np.maximum(upto - nearer, 1)
