"""Is a planted fault visible? If not, "healthy" is the right answer.

A fault is visible when, compared with the same student without it on the same rows,

    overlap@10 with the teacher, by cosine or by Euclidean distance, falls by 5% of itself, or by 15% of itself among
    the rows of the classes concerned, and the 95% interval of the paired difference (over rows) leaves out zero;
    or debiased linear CKA falls by .02;
    or the length of the mean direction (the mean of the rows at unit length) rises by .2;
    or the spread of log norms falls below .4 of the teacher's and was not below it before.

Nothing is fitted to the rows, so all of them are held out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.neighbours import search
from manifold_probe.measures import Neighbours, debiased_linear_cka
from manifold_probe.measures.overlap import intersections
from manifold_probe.spaces.space import Space

K = 10
METRICS = ("cosine", "euclidean")
OVERLAP, IN_CLASS, CKA, DIRECTION, NORMS = 0.05, 0.15, 0.02, 0.2, 0.4
_kept: dict[tuple, dict[str, Neighbours]] = {}


@dataclass
class State:
    """The values of a pair for the rule: overlap per row and metric (n,), CKA, mean direction, spread of log norms."""

    overlap: dict[str, np.ndarray]
    cka: float
    direction: float
    spread: float
    teacher_spread: float


def neighbours(rows: np.ndarray, key: tuple | None = None) -> dict[str, Neighbours]:
    """The K nearest of every row, by both metrics; kept under ``key`` where one is given."""
    if key is None or key not in _kept:
        lists = search(Cloud(Space(rows)), np.arange(len(rows)), K, dict.fromkeys(METRICS, K))
        if key is None:
            return lists
        if len(_kept) > 8:
            _kept.clear()
        _kept[key] = lists
    return _kept[key]


def state(teacher: np.ndarray, student: np.ndarray, key: tuple | None = None) -> State:
    """Measure a pair; ``key`` names the teacher's array, whose neighbours are then kept."""
    teacher_lists, student_lists = neighbours(teacher, key), neighbours(student)
    overlap = {metric: intersections(teacher_lists[metric], student_lists[metric]) / K for metric in METRICS}
    cka = debiased_linear_cka(teacher, student)
    return State(overlap, float(cka), mean_direction(student), log_spread(student), log_spread(teacher))


def mean_direction(rows: np.ndarray) -> float:
    """Length of the mean of the rows at unit length; 1 where all point the same way."""
    return float(np.linalg.norm((rows / lengths(rows)[:, None]).mean(0)))


def log_spread(rows: np.ndarray) -> float:
    """Standard deviation of the log norms."""
    return float(np.log(lengths(rows)).std())


def lengths(rows: np.ndarray) -> np.ndarray:
    """Norms (n,), those of zero rows raised to the smallest number."""
    return np.maximum(np.linalg.norm(rows, axis=1), 1e-12)


def visible(before: State, after: State, concerned: np.ndarray | None = None) -> dict[str, float | bool]:
    """Whether a fault is ``visible``, its effects, and whether it ``costs`` overlap or CKA; ``concerned`` are the rows
    (n,) of the classes that were changed."""
    drops: dict[str, float | bool] = {}
    shows = []
    for metric in METRICS:
        drops[f"drop {metric}"], sure = relative_drop(before.overlap[metric], after.overlap[metric])
        shows.append(sure and drops[f"drop {metric}"] >= OVERLAP)
        if concerned is not None and concerned.sum() > K:
            inside = relative_drop(before.overlap[metric][concerned], after.overlap[metric][concerned])
            drops[f"drop {metric} inside"] = inside[0]
            shows.append(inside[1] and inside[0] >= IN_CLASS)
    drops["cka"] = before.cka - after.cka
    drops["direction"] = after.direction - before.direction
    drops["norms"] = after.spread / max(after.teacher_spread, 1e-12)
    costs = any(shows) or drops["cka"] >= CKA
    return {"visible": costs or drops["direction"] >= DIRECTION or after_only(before, after), "costs": costs, **drops}


def after_only(before: State, after: State) -> bool:
    """Whether norms have become too similar; never for a teacher of (nearly) equal norms."""
    if after.teacher_spread < 0.01:
        return False
    limit = NORMS * after.teacher_spread
    return after.spread < limit <= before.spread


def relative_drop(before: np.ndarray, after: np.ndarray) -> tuple[float, bool]:
    """Share of the overlap that is lost, and whether the paired difference's interval lies above zero."""
    lost = before - after
    half = 1.96 * lost.std(ddof=1) / np.sqrt(len(lost))
    return float(lost.mean() / max(before.mean(), 1e-9)), bool(lost.mean() - half > 0)


@lru_cache(maxsize=64)
def quality(overlap: float) -> str:
    """The quality of a student by its overlap@10 (cosine, 1,000 rows)."""
    return "clean" if overlap >= 0.6 else "imperfect" if overlap >= 0.25 else "weak"
