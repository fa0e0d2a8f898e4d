"""Causes that sit in the values of single dimensions: one that decides everything, quantised or saturated ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from manifold_probe.diagnosis.case import Case, Evidence, Finding, Repair, View, confidence_of
from manifold_probe.diagnosis.faithfulness import METRICS, Gain, Yardstick, gain, loss_z, shape_likeness
from manifold_probe.diagnosis.rank import alive

DOMINANT, STEP = 0.5, 10  # share of the variance; times the variance of the next dimension
MOVED, PROVED = 0.05, 4.0  # what leaving the dimension out moves a measure by, at least; standard errors
CONFIDENT = 8.0


def dominating_dimension(view: View) -> Finding | None:
    """One dimension of either side, or one of each, that holds most of the variance and decides the measures.

    A dimension on one side alone hides what the student keeps; one on both sides hides what it lost. Left out, the
    measures of the rest say which.
    """
    sides = {"teacher": view.teacher, "student": view.student}
    held = {side: found for side, x in sides.items() if (found := dominant(x[view.keep])) is not None}
    if not held or any(sides[side].shape[1] < 3 for side in held):
        return None
    case = without_columns(view.case, {side: column for side, (column, _) in held.items()})
    after = View(case)
    steps = [gain(view.now, after.now, metric) for metric in METRICS] + [_likeness_step(view, after)]
    keys = ["overlap@10", "overlap@10", "debiased_linear_cka"]  # the first gain says its metric itself
    moved = max(range(3), key=lambda place: abs(steps[place].z) if abs(steps[place].value) > MOVED else 0.0)
    step = steps[moved]
    hidden = len(held) == 2 and step.after < 0.5 * step.before
    if abs(step.value) < MOVED or abs(step.z) < PROVED or not (step.value > 0 or hidden):
        return None
    evidence = [Evidence(f"share of the {side}'s variance", share, None) for side, (_, share) in held.items()]
    beside = "overlap@10" if keys[moved] != "overlap@10" else "debiased_linear_cka"
    other = after.now.mean() if beside == "overlap@10" else after.now.cka
    now = view.now.mean() if beside == "overlap@10" else view.now.cka
    return Finding(
        "dominating_dimension",
        [*evidence, Evidence(f"{beside} with it", now, None), Evidence(f"{beside} without it", other, None)],
        Repair("this dimension left out", keys[moved], step),
        case,
        share=1.0 if hidden else min(1.0, step.value / max(1 - step.before, 1e-3)),
        confidence=confidence_of(min(abs(step.z), CONFIDENT)),
        z=abs(step.z),
        where={"dimensions": [column for column, _ in held.values()], "sides": list(held)},
    )


def dominant(x: np.ndarray) -> tuple[int, float] | None:
    """The dimension of (n, d) that holds most of the variance and stands far above the next, and its share."""
    variances = x.astype(np.float64).var(0)
    largest = int(variances.argmax())
    share = float(variances[largest] / max(variances.sum(), 1e-300))
    if share < DOMINANT or variances[largest] < STEP * np.delete(variances, largest).max(initial=0.0):
        return None
    return largest, share


def without_columns(case: Case, columns: dict[str, int]) -> Case:
    """The case without a dimension of the teacher, of the student, or of both."""
    left = {side: np.delete(getattr(case, side), column, axis=1) for side, column in columns.items()}
    found = replace(case, **left)
    if "teacher" not in left:
        return found
    old = case.yardstick
    return replace(found, yardstick=Yardstick(left["teacher"], old.fold, old.k, old.queries), damaged=None)


def _likeness_step(before: View, after: View) -> Gain:
    """The step in debiased CKA, its error from ten parts of the rows."""
    rows = np.flatnonzero(before.keep)
    parts = [[shape_likeness(v.teacher[part], v.student[part]) for v in (before, after)] for part in _tenths(rows)]
    steps = np.diff(np.array(parts), axis=1)[:, 0]
    error = max(float(np.nanstd(steps, ddof=1) / np.sqrt(len(steps))), 1e-6)
    return Gain(after.now.cka - before.now.cka, error, before.now.cka, after.now.cka)


def _tenths(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[part::10] for part in range(10)]


def quantisation(view: View) -> Finding | None:
    """Few values a dimension, where the teacher has many: the teacher, rounded alike, loses what the student lost."""
    keep = view.keep
    own, theirs = (distinct_values(x[keep][:, alive(x[keep])]) for x in (view.student, view.teacher))
    if not (own <= 64 and own < 0.25 * theirs) or inner_variety(view.student[keep]) > 0.5:
        return None
    levels = max(2, round(own))
    rounded = round_to(view.teacher, keep, levels)
    predicted = view.judge(rounded)
    alike = 1 - predicted.mean()
    if view.gap < 0.02 or alike < 0.04:
        return None
    return Finding(
        "quantisation",
        [
            Evidence("distinct values a dimension, median", own, theirs),
            Evidence("overlap@10 of the teacher, rounded alike", predicted.mean(), 1.0),
        ],
        None,
        view.case.beside(rounded),
        share=min(1.0, alike / view.gap),
        confidence=confidence_of(5.0 + np.log(theirs / own)),
        z=loss_z(predicted),
    )


def distinct_values(x: np.ndarray) -> float:
    """The median number of distinct values of a dimension."""
    return float(
        np.median([len(np.unique(x[:, column])) for column in range(0, x.shape[1], max(1, x.shape[1] // 128))])
    )


def round_to(x: np.ndarray, keep: np.ndarray, levels: int) -> np.ndarray:
    """Every dimension on as many even steps between its extremes."""
    low, high = x[keep].min(0), x[keep].max(0)
    step = np.maximum((high - low) / max(levels - 1, 1), 1e-12)
    return (np.round((x - low) / step) * step + low).astype(np.float32)


def saturation(view: View) -> Finding | None:
    """Values that pile up at the ends of a dimension's range, beyond the teacher's own: clipped, or pressed flat."""
    keep = view.keep
    own, theirs = (piled(x[keep][:, alive(x[keep])]) for x in (view.student, view.teacher))
    excess = max(own[0] - theirs[0], 0.0) + max(own[1] - theirs[1], 0.0)
    if excess < 0.04 or view.gap < 0.02 or own[1] - theirs[1] < 0.02:  # a pile at the lower end alone is a ReLU's
        return None
    if distinct_values(view.student[keep]) <= 64 and inner_variety(view.student[keep]) <= 0.5:
        return None  # rounding piles up as well
    clipped = clip_alike(view.teacher, keep, own)
    predicted = view.judge(clipped)
    share = min(1.0, (1 - predicted.mean()) / view.gap)
    if share < 0.05:
        return None
    return Finding(
        "saturation",
        [
            Evidence("share of values at the ends of their range", sum(own), sum(theirs)),
            Evidence("overlap@10 of the teacher, clipped alike", predicted.mean(), 1.0),
        ],
        None,
        view.case.beside(clipped),
        share=share,
        confidence=confidence_of(2 + 30 * excess),
        z=loss_z(predicted),
    )


def piled(x: np.ndarray) -> tuple[float, float]:
    """Median shares of values in the lowest and the highest hundredth of a dimension's range; zeros that a ReLU left at
    the lower end are no pile."""
    low, high = x.min(0), x.max(0)
    margin = 0.01 * (high - low)
    lower = np.where(low == 0, 0.0, (x <= low + margin).mean(0))
    return float(np.median(lower)), float(np.median((x >= high - margin).mean(0)))


def inner_variety(x: np.ndarray) -> float:
    """Distinct values over all values away from the ends of the range, median: 1 where nothing is rounded."""
    shares = []
    for column in range(0, x.shape[1], max(1, x.shape[1] // 128)):
        values = x[:, column]
        margin = 0.01 * (values.max() - values.min())
        inner = values[(values > values.min() + margin) & (values < values.max() - margin)]
        if len(inner) >= 5:
            shares.append(len(np.unique(inner)) / len(inner))
    return float(np.median(shares)) if shares else 0.0


def clip_alike(x: np.ndarray, keep: np.ndarray, shares: tuple[float, float]) -> np.ndarray:
    """Every dimension cut off so that these shares of its values lie at the ends."""
    low, high = (
        np.quantile(x[keep], min(shares[0], 0.45), axis=0),
        np.quantile(x[keep], 1 - min(shares[1], 0.45), axis=0),
    )
    return np.clip(x, low, high).astype(np.float32)
