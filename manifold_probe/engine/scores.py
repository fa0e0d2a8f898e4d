"""Float32 scores of rows for queries, in both metrics from one product, and bounds of their rounding error.

Rows are centred at c, near their median: z = x - c. One float32 block G = Zq Zb' ranks the rows for a query i in both
metrics:

    Euclidean:  G_ij - |z_j|^2 / 2                      = (|z_i|^2 - d_ij^2) / 2
    cosine:     r_j G_ij + h_j + e_i (r_j - r)          = |x_i| cos_ij - constant of i

with r_j = 1/|x_j|, r = 1/median norm, e_i = c.z_i and h_j = |c|^2 (r_j - r) + r_j c.z_j computed in float64: no term is
larger than the spread of the data, so a common offset costs no precision. For a single metric, the product of rows with
extra columns is the score: (z_i, 1) (z_j, -|z_j|^2 / 2)', or (z_i, 1, e_i) (r_j z_j, h_j, r_j - r)'.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manifold_probe.engine.cloud import FAR, Cloud
from manifold_probe.engine.exact import parts
from manifold_probe.engine.threads import Mapper

ROWS_AT_ONCE = 512  # whose terms are computed at a time


class Block(NamedTuple):
    """The float32 terms of a block of rows, and the largest |z_j| r_j, |h_j| and |r_j - r|, which bound rounding.

    ``first`` is the number of the first row."""

    first: int
    z: np.ndarray
    half: np.ndarray
    r: np.ndarray
    rho: np.ndarray
    h: np.ndarray
    reach: np.ndarray


class Scores:
    """Scores of a cloud's rows for queries, in both metrics or ``only`` one; a higher score is nearer."""

    def __init__(self, cloud: Cloud, queries: np.ndarray, only: str | None = None) -> None:
        self.cloud, self.queries, self.only = cloud, queries, only
        terms = cloud.terms(cloud.take(queries))
        one = np.ones(len(queries))
        extra = {None: (), "euclidean": (one,), "cosine": (one, terms.e)}[only]
        self.z, self.e = np.column_stack([terms.z, *extra]).astype(np.float32), terms.e.astype(np.float32)
        self.terms = terms._replace(z=np.empty((len(queries), 0)))

    def block(self, first: int, rows: np.ndarray, mapper: Mapper) -> Block:
        """The terms of the cloud's rows (m, d) from ``first`` on."""

        def make(some: slice) -> tuple[list[np.ndarray], list[float]]:
            terms = self.cloud.terms(rows[some])
            reach = [(np.sqrt(2 * terms.half) * terms.r).max(), np.abs(terms.h).max(), np.abs(terms.rho).max()]
            z = terms.z
            if self.only == "euclidean":
                z = np.column_stack([z, -terms.half])
            elif self.only == "cosine":
                z = np.column_stack([z * terms.r[:, None], terms.h, terms.rho])
            return [term.astype(np.float32) for term in (z, terms.half, terms.r, terms.rho, terms.h)], reach

        pieces = mapper(make, parts(len(rows), ROWS_AT_ONCE))
        z, half, r, rho, h = (np.concatenate(column) for column in zip(*(terms for terms, _ in pieces), strict=True))
        return Block(first, z, half, r, rho, h, np.max([reach for _, reach in pieces], axis=0))

    def products(self, part: slice, block: Block) -> np.ndarray:
        """G (p, m) for a part of the queries; with ``only`` one metric, the scores."""
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
        in_block = np.flatnonzero((queries >= block.first) & (queries < block.first + len(block.r)))
        scores[in_block, queries[in_block] - block.first] = -np.inf
        return scores

    def at(self, metric: str, queries: np.ndarray, distances: np.ndarray) -> np.ndarray:
        """The float64 scores (q,) or (q, c) of rows at distances of the same shape from some queries."""
        column = (slice(None), *[None] * (distances.ndim - 1))
        if metric == "euclidean":
            return self.terms.half[queries][column] - distances / self.cloud.spread**2 / 2
        return self.terms.norm[queries][column] * (1 - distances) - self._constant()[queries][column]

    def distance(self, metric: str, scores: np.ndarray) -> np.ndarray:
        """The distances (q,) for scores (q,)."""
        if metric == "euclidean":
            return np.maximum(2 * (self.terms.half - scores), 0) * self.cloud.spread**2
        return 1 - (scores + self._constant()) / np.where(self.terms.norm > 0, self.terms.norm, 1)

    def _constant(self) -> np.ndarray:
        """The difference (q,) between |x_i| cos_ij and the cosine scores."""
        centre = self.cloud.centre / self.cloud.spread
        return (centre @ centre + self.terms.e) * self.cloud.spread / self.cloud.size

    def rounded(self, metric: str, queries: np.ndarray, distances: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """A bound of the float32 rounding error of the scores of rows within distances (q,) or (q, c) of a query."""
        cloud, terms = self.cloud, self.terms
        unit = 2.0**-24 * (4 + np.sqrt(cloud.d))
        column = (slice(None), *[None] * (distances.ndim - 1))
        size, e = np.sqrt(2 * terms.half[queries])[column], np.abs(terms.e[queries])[column]
        if metric == "euclidean":  # by the triangle inequality about the centre
            return 1.5 * unit * (size + np.sqrt(distances) / cloud.spread) ** 2
        # with an offset, the lengths are much larger than the spread, so their float64 rounding matters
        wide = 1e-15 * (terms.norm[queries][column] + np.linalg.norm(cloud.centre / cloud.spread))
        return unit * (size * reach[0] + reach[1] + e * reach[2]) + wide + np.zeros_like(distances)

    def in_doubt(self, queries: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """A mask (q,) of the queries for which such low scores are meaningless: rows or the query exceed float32."""
        return (scores < -(FAR**2) / 4) | (self.terms.far[queries] > FAR)


def falling(scores: np.ndarray) -> np.ndarray:
    """Unsigned numbers in the order of falling float32 scores."""
    bits = (scores + np.float32(0)).view(np.uint32)  # -0.0 and 0.0 are the same score
    return np.where(bits >> 31, bits, ~bits & np.uint32(2**31 - 1))


def of_falling(numbers: np.ndarray) -> np.ndarray:
    """The scores of numbers that `falling` made."""
    return np.where(numbers >> 31, numbers, ~numbers & np.uint32(2**31 - 1)).view(np.float32)
