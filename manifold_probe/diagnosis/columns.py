"""Causes that sit in single dimensions or in their number: dead, missing, collapsed, rescaled, quantised, saturated."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from manifold_probe.diagnosis.case import Evidence, Finding, Repair, View, confidence_of
from manifold_probe.diagnosis.faithfulness import surest_gain

STEPS = 300
LOSS_GROUP = ["quantisation", "saturation", "noise"]


def alive(x: np.ndarray) -> np.ndarray:
    """(d,) of bool: dimensions that vary."""
    spread = x.std(0)
    return spread > 1e-6 * max(float(np.median(spread[spread > 0])) if (spread > 0).any() else 0.0, 1e-30)


def matched_columns(view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(student columns, their teacher columns one to one, |correlation|)."""
    keep = view.keep
    own, theirs = np.flatnonzero(alive(view.student[keep])), np.flatnonzero(alive(view.teacher[keep]))
    first, second = (_standard(x[keep][:, chosen]) for x, chosen in ((view.student, own), (view.teacher, theirs)))
    correlation = np.abs(first.T @ second) / keep.sum()
    rows, columns = linear_sum_assignment(-correlation)
    return own[rows], theirs[columns], correlation[rows, columns]


def dead_dimensions(view: View) -> Finding | None:
    """Dimensions that never change, beyond the teacher's share of them."""
    keep = view.keep
    dead = ~alive(view.student[keep])
    theirs = float((~alive(view.teacher[keep])).mean())
    extra = float(dead.mean()) - theirs
    if extra < 0.03 or dead.sum() < 2 or view.gap < 0.02:
        return None
    lost, names = _lost_alike(view, dead)
    return Finding(
        "dead_dimensions",
        [Evidence("share of dimensions of zero variance", float(dead.mean()), theirs), *names],
        None,
        view.case.with_student(view.student[:, ~dead]),
        share=lost,
        confidence=confidence_of(2 + 10 * extra),
        where={"dimensions": np.flatnonzero(dead)},
    )


def _lost_alike(view: View, dead: np.ndarray) -> tuple[float, list[Evidence]]:
    """The share of the gap that the teacher loses with as few of its columns, where columns correspond."""
    if view.student.shape[1] != view.teacher.shape[1]:
        return 0.5, []  # no telling which
    cut = view.teacher.copy()
    cut[:, dead] = view.teacher[view.keep][:, dead].mean(0)
    alike = view.judge(cut).mean()
    share = min(1.0, (1 - alike) / view.gap)
    return share, [Evidence("overlap@10 of the teacher without its columns of these numbers", alike, view.now.mean())]


def truncated_dimensions(view: View) -> Finding | None:
    """Columns of the teacher that have no counterpart, where all of the student's have one."""
    own, theirs, correlation = matched_columns(view)
    width = int(alive(view.teacher[view.keep]).sum())
    if len(own) >= 0.95 * width or len(own) < 2 or np.median(correlation) < 0.75:
        return None
    rest = np.setdiff1d(np.flatnonzero(alive(view.teacher[view.keep])), theirs)
    cut = view.teacher[:, theirs]
    predicted = view.judge(cut)
    alike = 1 - predicted.mean()
    if alike < 0.35 * view.gap:
        return None
    return Finding(
        "truncated_dimensions",
        [
            Evidence(
                "student's columns with a counterpart of their own, median correlation",
                float(np.median(correlation)),
                None,
            ),
            Evidence("teacher's columns without one", float(len(rest)), 0.0),
            Evidence("overlap@10 of the teacher, cut alike", predicted.mean(), view.now.mean()),
        ],
        None,
        view.case,
        share=min(1.0, alike / view.gap),
        confidence=confidence_of(4.0 + 4 * (float(np.median(correlation)) - 0.75)),
        where={"dimensions": rest},
        or_=[],
    )


def dimensional_collapse(view: View) -> Finding | None:
    """A cliff in the student's spectrum where the teacher's has none, or far fewer dimensions in use."""
    keep = view.keep
    own, theirs = (spectrum(x[keep]) for x in (view.student, view.teacher))
    most = int(0.8 * min(len(own), len(theirs), keep.sum() - 1))
    if most < 6:
        return None
    cliff, left = _cliff(own, most)
    usual, _ = _cliff(theirs, most)
    ranks = [participation(values) for values in (own, theirs[: len(own)])]
    if not (cliff > np.log(8) and cliff > 2 * usual):
        return None
    cut = _principal(view.teacher, keep, left)
    predicted = view.judge(cut)
    alike = 1 - predicted.mean()
    if alike < 0.25 * view.gap or view.gap < 0.02:
        return None
    if cliff < np.log(20) and alike < 0.6 * view.gap:
        return None  # a small cliff must explain most of the loss
    own_columns = alive(view.student[keep]).sum()
    return Finding(
        "dimensional_collapse",
        [
            Evidence(f"drop of the spectrum behind direction {left}, log", float(cliff), float(usual)),
            Evidence("participation ratio of the spectrum", ranks[0], ranks[1]),
            Evidence("overlap@10 of the teacher, cut to as many directions", predicted.mean(), view.now.mean()),
        ],
        None,
        view.case,
        share=min(1.0, alike / view.gap),
        confidence=confidence_of(2 + cliff),
        where={"dimensions": np.arange(left, own_columns)},
        or_=["truncated_dimensions", "dead_dimensions"],
    )


def spectrum(x: np.ndarray) -> np.ndarray:
    """Eigenvalues of the covariance, largest first."""
    centred = (x - x.mean(0)).astype(np.float64)
    gram = centred @ centred.T if len(x) < x.shape[1] else centred.T @ centred
    return np.maximum(np.linalg.eigvalsh(gram)[::-1], 0) / len(x)


def participation(values: np.ndarray) -> float:
    """(sum of eigenvalues)^2 over the sum of their squares."""
    return float(values.sum() ** 2 / max(float(np.square(values).sum()), 1e-300))


def _cliff(values: np.ndarray, most: int) -> tuple[float, int]:
    """(largest drop of the log spectrum between neighbours, how many stand before it)."""
    floor = max(values[0], 1e-300) * 1e-9
    logs = np.log(np.maximum(values[: most + 1], floor))
    drops = logs[:-1] - logs[1:]
    drops[:3] = 0  # the first few directions always tower
    place = int(drops.argmax())
    return float(drops[place]), place + 1


def _principal(x: np.ndarray, keep: np.ndarray, count: int) -> np.ndarray:
    centre = x[keep].mean(0)
    _, _, directions = np.linalg.svd((x[keep] - centre).astype(np.float64), full_matrices=False)
    chosen = directions[:count]
    return (((x - centre) @ chosen.T) @ chosen + centre).astype(np.float32)


def dimension_rescaling(view: View) -> Finding | None:
    """Weights of the student's dimensions, fitted to the teacher's products on one half, that mend the other."""
    keep = view.keep
    repaired = np.empty_like(view.student)
    spreads = []
    for side in (False, True):
        learn = keep & (view.fold != side)
        weights = gram_weights(view.student[learn], view.teacher[learn])
        repaired[view.fold == side] = view.student[view.fold == side] * np.sqrt(weights)
        spreads.append(weights)
    after = view.judge(repaired)
    moved = surest_gain(view.now, after, keep)
    linear = view.judge(view.recovered)
    best = max(linear.mean(), linear.mean("euclidean"), after.mean(), after.mean("euclidean"))
    reach = best - min(view.now.mean(), view.now.mean("euclidean"))
    shape = after.cka - view.now.cka
    if moved.z < 4 or moved.value < max(0.04, 0.1 * view.gap) or moved.value < 0.45 * reach:
        return None
    ratio = np.log(np.maximum(spreads[0], 1e-12) / np.maximum(np.median(spreads[0]), 1e-12))
    return Finding(
        "dimension_rescaling",
        [
            Evidence(
                "spread of the fitted log weights",
                float(np.std(ratio[spreads[0] > 0])) if (spreads[0] > 0).any() else 0.0,
                None,
            ),
            Evidence("debiased_linear_cka gained", shape, 0.0),
        ],
        Repair("dimensions weighted", "overlap@10", moved, 0.0),
        view.case.with_student(repaired),
        share=min(1.0, moved.value / view.gap),
        confidence=confidence_of(moved.z),
        where={"dimensions": np.argsort(-np.abs(ratio))[:20]},
    )


def gram_weights(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """w >= 0 that minimise |K_T - sum_j w_j s_j s_j'|^2 over the centred products, up to one scale."""
    own = (student - student.mean(0)).astype(np.float64)
    theirs = (teacher - teacher.mean(0)).astype(np.float64)
    scale = own.std(0)
    good = scale > 1e-9 * scale.max()
    own = own[:, good] / scale[good]
    products = np.square(own.T @ own)
    target = np.square(own.T @ theirs).sum(1)
    found = np.full(len(products), target.sum() / max(float(products.sum()), 1e-300))
    for _ in range(STEPS):  # multiplicative steps: everything is non-negative, so w stays so, and the error falls
        found *= target / np.maximum(products @ found, 1e-300)
    weights = np.zeros(student.shape[1])
    weights[good] = np.maximum(found, 0.01 * np.median(found[found > 0]) if (found > 0).any() else 1.0)
    weights[good] /= np.square(scale[good])
    return weights / max(float(weights.mean()), 1e-300)


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
            Evidence("overlap@10 of the teacher, rounded alike", predicted.mean(), view.now.mean()),
        ],
        None,
        view.case,
        share=min(1.0, alike / view.gap),
        confidence=confidence_of(5.0 + np.log(theirs / own)),
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
    if excess < 0.04 or view.gap < 0.02:
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
            Evidence("overlap@10 of the teacher, clipped alike", predicted.mean(), view.now.mean()),
        ],
        None,
        view.case,
        share=share,
        confidence=confidence_of(2 + 30 * excess),
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


def _standard(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(0)
    return centred / np.maximum(centred.std(0), 1e-12)
