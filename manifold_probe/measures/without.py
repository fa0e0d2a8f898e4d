"""The pair measured again without what may decide its result: far rows, dominating dimensions, copies.

Each is a pass of its own, made only where an alarm asks for it: what a dominating part leaves of float64 sums is not
precise, and neighbours cannot be corrected at all. Neighbours are those of up to 500 of the queries, among every row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.exact import BLOCK
from manifold_probe.engine.moments import Moments
from manifold_probe.engine.neighbours import search
from manifold_probe.engine.rows import sample
from manifold_probe.measures.alignment import debiased_cka
from manifold_probe.measures.overlap import intersections
from manifold_probe.spaces.space import Space

QUERIES = 500
DOMINANT_SHARE = 0.5
GAP, STEP = 10.0, 3.0
MOST_COLUMNS = 5


def cka_without_rows(teacher: Space, student: Space, rows: np.ndarray) -> float:
    """Debiased CKA of all other rows."""
    m, n = Moments(), student.n
    for start in range(0, n, BLOCK):
        kept = np.setdiff1d(np.arange(start, min(start + BLOCK, n)), rows)
        m.update(teacher.take(kept), student.take(kept))
    return debiased_cka(m)


def dominating_columns(importance: np.ndarray) -> np.ndarray:
    """The few dimensions that hold over half of ``importance`` (d,) and stand out of the spectrum, largest first.

    At most five, and an eighth of all. The last of them, m in all, has ten times the importance of the next, and that
    step is three times the fall from there to place 2 (m + 1): a spectrum that decays as a power, or faster, has none.
    """
    order = np.argsort(-importance, kind="stable")
    falling, total = importance[order], float(importance.sum())
    for count in range(min(MOST_COLUMNS, max(1, len(order) // 8), len(order) - 1), 0, -1):
        rest, later = falling[count], falling[min(2 * count + 1, len(order) - 1)]
        if not later > 0:
            continue
        step = falling[count - 1] / rest
        if step >= max(GAP, STEP * rest / later) and falling[:count].sum() > DOMINANT_SHARE * total:
            return order[:count]
    return order[:0]


class Remeasured(NamedTuple):
    """Debiased CKA, and the overlap of ``queries`` rows, before and after."""

    cka: float
    overlap_before: float
    overlap: float
    queries: int


def without_columns(teacher: Cloud, student: Cloud, columns: tuple[np.ndarray, np.ndarray], asked: Asked) -> Remeasured:
    """The pair without some dimensions of the teacher and of the student."""
    first, second = _without(teacher.space, columns[0]), _without(student.space, columns[1])
    overlap = overlap_of(first, second, asked.rows, asked.k)
    cka = cka_without_rows(first, second, np.empty(0, dtype=np.int64))
    return Remeasured(cka, float(asked.terms.mean()), overlap, len(asked.rows))


class Asked(NamedTuple):
    """The queries that are looked up again: their row numbers (q,), their overlap (q,) as it is, and k."""

    rows: np.ndarray
    terms: np.ndarray
    k: int


def asked_again(queries: np.ndarray, terms: np.ndarray, k: int, seed: int) -> Asked:
    """Up to 500 of the queries."""
    some = sample(len(queries), QUERIES, seed)
    return Asked(queries[some], terms[some], k)


def overlap_of(teacher: Space, student: Space, queries: np.ndarray, k: int) -> float:
    """Overlap (cosine) of some rows."""
    first, second = (search(Cloud(space), queries, k, {"cosine": k})["cosine"] for space in (teacher, student))
    return float(intersections(first, second).mean() / k)


def distinct_rows(teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
    """The first of every group of rows (row hashes (n,) of both spaces) that are the same in both spaces, ascending."""
    return np.sort(np.unique(np.stack([teacher, student]), axis=1, return_index=True)[1])


def overlap_among(teacher: Space, student: Space, rows: np.ndarray, k: int, seed: int) -> float:
    """Overlap (cosine) of up to 500 of the given rows, among these rows alone."""
    return overlap_of(teacher.select(rows), student.select(rows), sample(len(rows), QUERIES, seed), k)


def _without(space: Space, columns: np.ndarray) -> Space:
    """The space without some columns, still read lazily."""
    return Space(_FewerColumns(space, np.setdiff1d(np.arange(space.d), columns))) if len(columns) else space


class _FewerColumns:
    """Rows of a space in some of its columns."""

    def __init__(self, space: Space, columns: np.ndarray) -> None:
        self.space, self.columns = space, columns
        self.shape, self.dtype = (space.n, len(columns)), space.dtype

    def __len__(self) -> int:
        return self.space.n

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        rows = self.space.read(index.start, index.stop) if isinstance(index, slice) else self.space.take(index)
        return rows[:, self.columns]
