"""The pair measured again without parts that may decide its result: far rows, dominating dimensions, copies.

Alarms need it: subtracting a dominating part from float64 sums is not precise, and neighbours cannot be corrected at
all. Neighbours are those of up to 500 of the queries, among every row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.moments import Moments
from manifold_probe.engine.neighbours import Candidates
from manifold_probe.engine.passes import State
from manifold_probe.engine.rows import sample
from manifold_probe.engine.sums import GroupedMoments
from manifold_probe.engine.threads import Mapper
from manifold_probe.measures.alignment import debiased_cka
from manifold_probe.measures.overlap import intersections

QUERIES = 500
DOMINANT_SHARE = 0.5
MIN_GAP = 10.0  # importance of the last dominating dimension over the next
MIN_STEP = 3.0  # that gap over the fall after it, see `dominating_columns`
MAX_COLUMNS = 5
Held = tuple[tuple[str, np.ndarray], ...]
Clouds = tuple[Cloud, Cloud]
NO_ROWS = np.empty(0, dtype=np.int64)


class Remeasured(NamedTuple):
    """Debiased CKA, and the overlap of ``queries`` rows, before and after."""

    cka: float
    overlap_before: float
    overlap: float
    queries: int


def moments_without(clouds: Clouds, rows: np.ndarray = NO_ROWS) -> GroupedMoments:
    """The summary of the moments of all other rows, about the medians, which the left out rows do not move."""
    groups = np.zeros(clouds[0].space.n, dtype=np.int8)
    groups[rows] = 1
    return GroupedMoments(clouds, groups, 1, (clouds[0].centre, clouds[1].centre))


def cka_of(summary: GroupedMoments, state: State) -> float:
    """Debiased CKA of the remaining rows."""
    return debiased_cka(summary.result(state)[0][0][0])


def overlap_of(summaries: tuple[Candidates, Candidates], states: tuple[State, State], parallel: Mapper) -> float:
    """Overlap (cosine) of the same queries in two spaces."""
    first, second = (
        summary.settled(state, parallel)["cosine"] for summary, state in zip(summaries, states, strict=True)
    )
    return float(intersections(first, second).mean() / first.k)


def searched_again(clouds: Clouds, queries: np.ndarray, k: int) -> tuple[Candidates, Candidates]:
    """The summaries for the overlap of some rows."""
    return Candidates(clouds[0], queries, k, {"cosine": k}), Candidates(clouds[1], queries, k, {"cosine": k})


def some_of(count: int, seed: int) -> np.ndarray:
    """Positions of the queries that are searched again: up to 500 of ``count``."""
    return sample(count, QUERIES, seed)


def dominating_columns(importance: np.ndarray) -> np.ndarray:
    """The few dimensions that hold over half of ``importance`` (d,) and exceed the rest of the spectrum, largest first.

    At most five, and an eighth of all. The last of m has ten times the importance of the next one, and that ratio is
    three times the ratio from there to place 2 (m + 1): a spectrum that decays as a power, or faster, has none.
    """
    order = np.argsort(-importance, kind="stable")
    falling, total = importance[order], float(importance.sum())
    for count in range(min(MAX_COLUMNS, max(1, len(order) // 8), len(order) - 1), 0, -1):
        rest, later = falling[count], falling[min(2 * count + 1, len(order) - 1)]
        if not later > 0:
            continue
        step = falling[count - 1] / rest
        if step >= max(MIN_GAP, MIN_STEP * rest / later) and falling[:count].sum() > DOMINANT_SHARE * total:
            return order[:count]
    return order[:0]


def held(m: Moments) -> tuple[Held, Held]:
    """The variance and the squared length (d,) of each dimension, for teacher and student."""
    variances = [np.maximum(np.diag(products), 0) / m.n for products in m.covariance[::2]]
    teacher, student = (
        (("variance", variance), ("squared length", variance + mean**2))
        for variance, mean in zip(variances, m.means, strict=True)
    )
    return teacher, student


def columns_of(both: tuple[Held, Held]) -> tuple[np.ndarray, np.ndarray]:
    """The dominating dimensions of teacher and student."""
    teacher, student = (
        np.unique(np.concatenate([dominating_columns(importance) for _, importance in side])) for side in both
    )
    return teacher, student


def distinct_rows(teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
    """The first of every group of rows (row hashes (n,) of both spaces) that are the same in both spaces, ascending."""
    return np.sort(np.unique(np.stack([teacher, student]), axis=1, return_index=True)[1])
