"""Float32 scores of rows for queries, in both metrics from one product, and what rounding can do to them.

Rows are centred at c, near their median: z = x - c. One float32 block G = Zq Zb' ranks the rows for a query i in both
metrics:

    Euclidean:  G_ij - |z_j|^2 / 2                      = (|z_i|^2 - d_ij^2) / 2
    cosine:     r_j G_ij + h_j + e_i (r_j - r)          = |x_i| cos_ij - constant of i

with r_j = 1/|x_j|, r = 1/median norm, e_i = c.z_i and h_j = |c|^2 (r_j - r) + r_j c.z_j taken in float64: no term is
larger than the spread of the data, so a common offset costs no precision. Where one metric is enough, the product of
rows with a few columns more is its score: (z_i, 1) (z_j, -|z_j|^2 / 2)', or (z_i, 1, e_i) (r_j z_j, h_j, r_j - r)'.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manifold_probe.engine.cloud import FAR, Cloud
from manifold_probe.engine.exact import parts
from manifold_probe.engine.threads import Each

TERMS = 512  # rows of a block whose terms are made at once


class Block(NamedTuple):
    """The float32 terms of a block of rows, and the largest |z_j| r_j, |h_j| and |r_j - r|, which bound the rounding.

    ``first`` is the number of the first row."""

    first: int
    z: np.ndarray
    half: np.ndarray
    r: np.ndarray
    rho: np.ndarray
    h: np.ndarray
    reach: np.ndarray


class Scores:
    """Scores of a cloud's rows for some of them, the queries, in both metrics or in ``only`` one; more is nearer."""

    def __init__(self, cloud: Cloud, queries: np.ndarray, only: str | None = None) -> None:
        self.cloud, self.queries, self.only = cloud, queries, only
        terms = cloud.terms(cloud.take(queries))
        one = np.ones(len(queries))
        more = {None: (), "euclidean": (one,), "cosine": (one, terms.e)}[only]
        self.z, self.e = np.column_stack([terms.z, *more]).astype(np.float32), terms.e.astype(np.float32)
        self.terms = terms._replace(z=np.empty((len(queries), 0)))

    def block(self, first: int, rows: np.ndarray, each: Each) -> Block:
        """The terms of the cloud's rows (m, d) from ``first`` on."""

        def make(some: slice) -> tuple[list[np.ndarray], list[float]]:
            own = self.cloud.terms(rows[some])
            reach = [(np.sqrt(2 * own.half) * own.r).max(), np.abs(own.h).max(), np.abs(own.rho).max()]
            z = own.z
            if self.only == "euclidean":
                z = np.column_stack([z, -own.half])
            elif self.only == "cosine":
                z = np.column_stack([z * own.r[:, None], own.h, own.rho])
            return [term.astype(np.float32) for term in (z, own.half, own.r, own.rho, own.h)], reach

        made = each(make, parts(len(rows), TERMS))
        z, half, r, rho, h = (np.concatenate(column) for column in zip(*(terms for terms, _ in made), strict=True))
        return Block(first, z, half, r, rho, h, np.max([reach for _, reach in made], axis=0))

    def products(self, part: slice, block: Block) -> np.ndarray:
        """G (p, m) of a part of the queries; the scores where one metric is enough."""
        return self.z[part] @ block.z.T

    def of(self, metric: str, part: slice, block: Block, products: np.ndarray) -> np.ndarray:
        """The scores (p, m) of a block's rows; -inf for a query itself."""
        if self.only:
            scores = products
        elif metric == "euclidean":
            scores = products - block.half
        else:
            scores = products * block.r
            scores += block.h
            scores += self.e[part, None] * block.rho
        queries = self.queries[part]
        here = np.flatnonzero((queries >= block.first) & (queries < block.first + len(block.r)))
        scores[here, queries[here] - block.first] = -np.inf
        return scores

    def at(self, metric: str, asked: np.ndarray, distances: np.ndarray) -> np.ndarray:
        """The score (q,) or (q, c) of rows at distances of the same shape from some queries, in float64."""
        column = (slice(None), *[None] * (distances.ndim - 1))
        if metric == "euclidean":
            return self.terms.half[asked][column] - distances / self.cloud.spread**2 / 2
        return self.terms.norm[asked][column] * (1 - distances) - self._constant()[asked][column]

    def distance(self, metric: str, scores: np.ndarray) -> np.ndarray:
        """The distances (q,) that scores (q,) stand for."""
        if metric == "euclidean":
            return np.maximum(2 * (self.terms.half - scores), 0) * self.cloud.spread**2
        return 1 - (scores + self._constant()) / np.where(self.terms.norm > 0, self.terms.norm, 1)

    def _constant(self) -> np.ndarray:
        """What cosine scores lack of |x_i| cos_ij, (q,)."""
        centre = self.cloud.centre / self.cloud.spread
        return (centre @ centre + self.terms.e) * self.cloud.spread / self.cloud.size

    def rounded(self, metric: str, asked: np.ndarray, distances: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """What rounding in float32 can do to the scores of rows within distances (q,) or (q, c) of each query."""
        cloud, terms = self.cloud, self.terms
        unit = 2.0**-24 * (4 + np.sqrt(cloud.d))
        column = (slice(None), *[None] * (distances.ndim - 1))
        size, e = np.sqrt(2 * terms.half[asked])[column], np.abs(terms.e[asked])[column]
        if metric == "euclidean":  # such a row is no further from the centre than the query and that distance together
            return 1.5 * unit * (size + np.sqrt(distances) / cloud.spread) ** 2
        # the lengths, far larger than the spread where an offset is, bring float64's own rounding
        wide = 1e-15 * (terms.norm[asked][column] + np.linalg.norm(cloud.centre / cloud.spread))
        return unit * (size * reach[0] + reach[1] + e * reach[2]) + wide + np.zeros_like(distances)

    def in_doubt(self, asked: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """For which of some queries (q,) scores this low say nothing: rows, or the query, are beyond float32."""
        return (scores < -(FAR**2) / 4) | (self.terms.far[asked] > FAR)


def falling(scores: np.ndarray) -> np.ndarray:
    """Unsigned numbers in the order of falling float32 scores."""
    bits = (scores + np.float32(0)).view(np.uint32)  # -0.0 and 0.0 are the same score
    return np.where(bits >> 31, bits, ~bits & np.uint32(2**31 - 1))


def of_falling(numbers: np.ndarray) -> np.ndarray:
    """The scores of which `falling` made these numbers."""
    return np.where(numbers >> 31, numbers, ~numbers & np.uint32(2**31 - 1)).view(np.float32)
