"""What a repair is judged by: overlap@10 in both metrics and debiased CKA, of rows that the repair was not fitted on.

Rows are split in two at random, once. Neighbours are looked up within each half, so that a map fitted on one half is
read on rows and neighbours that it never saw; every rung of the ladder is read on the same rows, which pairs them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.moments import Moments
from manifold_probe.engine.neighbours import search
from manifold_probe.measures.alignment import debiased_cka
from manifold_probe.spaces.space import Space

METRICS = ("cosine", "euclidean")
CORRECTION = 1.25  # a per-query standard error is .72 to .86 of the truth, because queries share neighbours
BLOCK = 4096
PARTS = 10
MOST = 2500  # rows that a likeness is taken of


@dataclass(frozen=True)
class Faithfulness:
    """Overlap of every query, NaN for rows that were left out or not asked, by metric; and CKA of the kept rows."""

    overlap: dict[str, np.ndarray]
    cka: float

    def mean(self, metric: str = "cosine", rows: np.ndarray | None = None) -> float:
        """Mean overlap, of some rows where they are given."""
        values = self.overlap[metric] if rows is None else self.overlap[metric][rows]
        values = values[~np.isnan(values)]
        return float(values.mean()) if len(values) else float("nan")


@dataclass(frozen=True)
class Gain:
    """What a repair moved a measure by, with its standard error."""

    value: float
    error: float
    before: float
    after: float
    metric: str = "cosine"

    @property
    def low(self) -> float:
        """Lower end of the 95% interval of ``after``."""
        return self.after - 1.96 * self.error

    @property
    def high(self) -> float:
        """Upper end of the 95% interval of ``after``."""
        return self.after + 1.96 * self.error

    @property
    def z(self) -> float:
        """Standard errors from zero."""
        return self.value / max(self.error, 1e-9)


def loss_z(found: Faithfulness, metric: str = "cosine") -> float:
    """Standard errors by which the overlap is below 1."""
    lost = 1 - found.overlap[metric][~np.isnan(found.overlap[metric])]
    return float(lost.mean() / max(CORRECTION * float(lost.std()) / np.sqrt(max(len(lost), 1)), 1e-9))


class Yardstick:
    """The teacher's side of every measurement.

    Parameters
    ----------
    teacher : np.ndarray, shape (n, d)
    fold : np.ndarray of bool, shape (n,)
        The two halves.
    k : int
    queries : np.ndarray, shape (q,)
        Rows whose neighbours are looked up, each in its own half.
    """

    def __init__(self, teacher: np.ndarray, fold: np.ndarray, k: int, queries: np.ndarray) -> None:
        self.teacher, self.fold, self.k = teacher, fold, k
        self.queries = queries
        self._halves = [np.flatnonzero(fold == side) for side in (False, True)]
        self._asked = [np.flatnonzero(np.isin(half, queries)) for half in self._halves]
        self._lists = [
            neighbours(teacher[half], asked, k) for half, asked in zip(self._halves, self._asked, strict=True)
        ]

    def evened_gain(self, student: np.ndarray) -> Gain:
        """What evening out the student's hubs does to its overlap, by cosine."""
        before, after = [], []
        for place, (half, asked) in enumerate(zip(self._halves, self._asked, strict=True)):
            theirs = self._lists[place]["cosine"]
            own = nearest(student[half], asked, self.k, "cosine")
            even = evened(student[half], asked, self.k)
            before.append(shared(theirs, own))
            after.append(shared(theirs, even))
        first, second = np.concatenate(before), np.concatenate(after)
        error = CORRECTION * float((second - first).std(ddof=1)) / np.sqrt(len(first))
        return Gain(float((second - first).mean()), error, float(first.mean()), float(second.mean()))

    def likeness_gain(
        self, before: np.ndarray, after: np.ndarray, keep: np.ndarray, kept_after: np.ndarray | None = None
    ) -> Gain:
        """The gain in debiased CKA between two students, the error from the same gain in ten parts of the rows."""
        kept_after = keep if kept_after is None else kept_after
        pairs = [
            [
                shape_likeness(self.teacher[mask], x[mask])
                for x, mask in ((before, keep & part), (after, kept_after & part))
            ]
            for part in self._parts()
        ]
        steps = np.array([second - first for first, second in pairs])
        whole = [shape_likeness(self.teacher[mask], x[mask]) for x, mask in ((before, keep), (after, kept_after))]
        error = float(np.nanstd(steps, ddof=1) / np.sqrt(len(steps)))
        return Gain(whole[1] - whole[0], max(error, 1e-6), whole[0], whole[1])

    def _parts(self) -> list[np.ndarray]:
        """Ten masks that share out the rows, evenly over their order."""
        place = np.arange(len(self.teacher)) % PARTS
        return [place == part for part in range(PARTS)]

    def of(self, student: np.ndarray, keep: np.ndarray | None = None, cka: bool = True) -> Faithfulness:
        """How faithful ``student`` (n, d') is; ``keep`` (n,) of bool leaves rows out of queries and neighbours."""
        overlap = {metric: np.full(len(self.teacher), np.nan) for metric in METRICS}
        for half, asked, theirs in zip(self._halves, self._asked, self._lists, strict=True):
            rows = half[asked]
            if keep is not None and not keep[half].all():
                half, rows = half[keep[half]], rows[keep[rows]]
                asked = np.searchsorted(half, rows)
                theirs = neighbours(self.teacher[half], asked, self.k)
            own = neighbours(student[half], asked, self.k)
            for metric, found in overlap.items():
                found[rows] = shared(theirs[metric], own[metric])
        if not cka:
            return Faithfulness(overlap, float("nan"))
        rows = np.arange(len(self.teacher)) if keep is None else np.flatnonzero(keep)
        return Faithfulness(overlap, shape_likeness(self.teacher[rows], student[rows]))


def evened(x: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """(q, k): nearest others by cosine once hubs are evened out: 2 cos(i, j) - r_j, with r_j the mean cosine of j to
    its ten nearest (CSLS, Conneau et al. 2018).
    """
    unit = np.ascontiguousarray(x, dtype=np.float32)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    count = min(11, len(unit))
    reach = []
    for start in range(0, len(unit), BLOCK):
        top = np.partition(unit[start : start + BLOCK] @ unit.T, -count, axis=1)[:, -count:]
        reach.append((top.sum(1) - top.max(1)) / (count - 1))  # the largest is the row's own
    scores = 2 * (unit[queries] @ unit.T) - np.concatenate(reach)
    scores[np.arange(len(queries)), queries] = -np.inf
    return largest(scores, k)


def nearest(x: np.ndarray, queries: np.ndarray, k: int, metric: str) -> np.ndarray:
    """(q, k): the nearest other rows of ``queries`` among the rows of x (n, d)."""
    return neighbours(x, queries, k, (metric,))[metric]


def neighbours(x: np.ndarray, queries: np.ndarray, k: int, metrics: tuple[str, ...] = METRICS) -> dict[str, np.ndarray]:
    """(q, k): the nearest other rows of ``queries`` among the rows of x (n, d), in several metrics; all of few rows."""
    k = min(k, len(x) - 1)
    if k < 1:
        return dict.fromkeys(metrics, np.full((len(queries), 1), -1))
    found = search(Cloud(Space(x)), queries, k, dict.fromkeys(metrics, k), distances=False)
    return {metric: each.nearest for metric, each in found.items()}


def largest(scores: np.ndarray, k: int) -> np.ndarray:
    """(q, k): the columns of the largest scores (q, n) of each row, in no order."""
    columns: np.ndarray = np.argpartition(scores, -k, axis=1)[:, -k:]
    return columns


def scored(x: np.ndarray, metric: str, centre: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rows z (n, d) and b (n,) in float32 such that z_i z_j + b_j orders the neighbours j of i by a metric.

    About a ``centre`` (d,), that of the rows where none is given: so that a large offset rounds nothing away.
    """
    wide = seen_by(x, metric)
    centre = wide.mean(0) if centre is None else centre
    wide -= centre
    bias = wide @ centre if metric == "cosine" else -0.5 * np.einsum("ij,ij->i", wide, wide)
    return wide.astype(np.float32), bias.astype(np.float32)


def seen_by(x: np.ndarray, metric: str) -> np.ndarray:
    """The rows as a metric sees them, in float64: at unit length by cosine."""
    wide = x.astype(np.float64)
    if metric == "cosine":
        wide /= np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-150)
    return wide


def shared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(q,): the share of each list of neighbours (q, k) that is in the other list."""
    found: np.ndarray = (first[:, :, None] == second[:, None, :]).any(axis=2).mean(axis=1)
    return found


def surest_gain(before: Faithfulness, after: Faithfulness, rows: np.ndarray | None = None) -> Gain:
    """The gain in the metric in which it is the most standard errors from zero."""
    return max((gain(before, after, metric, rows) for metric in METRICS), key=lambda each: each.z)


def gain(before: Faithfulness, after: Faithfulness, metric: str = "cosine", rows: np.ndarray | None = None) -> Gain:
    """The paired difference of two measurements, over the queries that both have."""
    first, second = before.overlap[metric], after.overlap[metric]
    if rows is not None:
        first, second = first[rows], second[rows]
    both = ~(np.isnan(first) | np.isnan(second))
    if both.sum() < 2:
        return Gain(0.0, float("inf"), float("nan"), float("nan"))
    steps = second[both] - first[both]
    error = CORRECTION * float(steps.std(ddof=1)) / np.sqrt(both.sum())
    return Gain(float(steps.mean()), error, float(first[both].mean()), float(second[both].mean()), metric)


def shape_likeness(x: np.ndarray, y: np.ndarray) -> float:
    """Debiased linear CKA of at most 2,500 rows taken evenly: it needs no more."""
    if len(x) > MOST:
        rows = np.linspace(0, len(x) - 1, MOST).astype(int)
        x, y = x[rows], y[rows]
    return debiased_cka(Moments().update(x, y))


def likeness_error(x: np.ndarray, y: np.ndarray) -> float:
    """Standard error of debiased CKA, from ten parts of the rows."""
    found = [shape_likeness(x[part::PARTS], y[part::PARTS]) for part in range(PARTS)] if len(x) > 5 * PARTS else []
    return float(np.nanstd(found, ddof=1) / np.sqrt(len(found))) if np.isfinite(found).sum() > 1 else float("nan")
