"""Causes that sit in the values of single dimensions: quantised or saturated."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.case import Evidence, Finding, View, confidence_of
from manifold_probe.diagnosis.faithfulness import loss_z
from manifold_probe.diagnosis.rank import alive


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
