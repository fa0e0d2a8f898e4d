"""Causes that concern the whole cloud: a shared offset, a common direction, lost norms, hubs, bent maps, noise."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.case import Evidence, Finding, Repair, View, confidence_of
from manifold_probe.diagnosis.columns import LOSS_GROUP, participation
from manifold_probe.diagnosis.faithfulness import METRICS, Gain, gain, nearest, surest_gain
from manifold_probe.diagnosis.linear import MOST, cross_fitted, explained

WAYS = 512  # random features of the nonlinear regressor
BENT = 0.3  # of what a straight map leaves


def mean_direction(x: np.ndarray) -> float:
    """Length of the mean of the rows at unit length: 1 where all point one way."""
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return float(np.linalg.norm(unit.mean(0)))


def offset(view: View) -> Finding | None:
    """A mean that is long against the spread, where the teacher's is not: cosines see the mean."""
    keep = view.keep
    own, theirs = mean_direction(view.student[keep]), mean_direction(view.teacher[keep])
    ratio, usual = (
        float(np.linalg.norm(x[keep].mean(0)) / np.sqrt(np.square(x[keep] - x[keep].mean(0)).sum(1).mean()))
        for x in (view.student, view.teacher)
    )
    if own < theirs + 0.15 or ratio < 1.5 * usual or ratio < 0.7:
        return None
    shift = view.student[keep].mean(0) * (1 - min(usual / ratio, 1.0))
    repaired = view.student - shift
    after = view.judge(repaired)
    moved = gain(view.now, after)
    twin = view.twin
    healthy = gain(view.twin_now, view.judge(twin - twin[keep].mean(0) * (1 - min(usual / ratio, 1.0))))
    if not (moved.value > max(0.01, healthy.value + 0.01) and moved.z > 3) and own < theirs + 0.3:
        return None
    return Finding(
        "offset",
        [Evidence("length of the mean direction", own, theirs), Evidence("mean over spread", ratio, usual)],
        Repair("centred", "overlap@10", moved, healthy.value),
        view.case.with_student(repaired),
        share=min(1.0, max(moved.value, 0.0) / view.gap),
        confidence=confidence_of(2 + 15 * (own - theirs - 0.1)),
    )


def common_direction(view: View) -> Finding | None:
    """One direction that towers in what the teacher does not predict, in all classes alike."""
    keep = view.keep
    residual = (view.residual - view.residual[keep].mean(0)).astype(np.float64)
    values, vectors = np.linalg.eigh(residual[keep].T @ residual[keep] / keep.sum())
    first, second = values[-1], max(values[-2], 1e-30)
    share = float(first / values.sum())
    if first < 3 * second or share < 0.15:
        return None
    direction = vectors[:, -1]
    along = residual @ direction
    spread = [along[keep & (view.codes == code)].std() for code in np.unique(view.codes[keep])]
    if np.median(spread) < 0.7 * along[keep].std():
        return None  # it tells classes apart: that is another cause
    centre = view.student[keep].mean(0)
    repaired = view.student - np.outer((view.student - centre) @ direction, direction).astype(np.float32)
    after = view.judge(repaired)
    moved = surest_gain(view.now, after)
    shape = after.cka - view.now.cka
    if not ((moved.z > 3 and moved.value > 0.005) or (shape > 0.02 and moved.z > -3)):
        return None
    best = (
        moved
        if moved.value / view.gap > shape / max(1 - view.now.cka, 1e-3)
        else Gain(shape, 0.005, view.now.cka, after.cka)
    )
    return Finding(
        "common_direction",
        [
            Evidence("largest over second eigenvalue of the residual", float(first / second), 1.5),
            Evidence("its share of the residual", share, None),
        ],
        Repair("this direction dropped", "overlap@10" if best is moved else "debiased_linear_cka", best, 0.0),
        view.case.with_student(repaired),
        share=min(1.0, max(moved.value / view.gap, shape / max(1 - view.now.cka, 1e-3))),
        confidence=confidence_of(float(np.log(first / second)) * 2),
        where={"dimensions": np.argsort(-np.abs(direction))[:10]},
    )


def norm_loss(view: View) -> Finding | None:
    """Lengths that no longer vary as the teacher's do."""
    keep = view.keep
    logs = [np.log(np.maximum(np.linalg.norm(x, axis=1), 1e-30)) for x in (view.student, view.teacher)]
    own, theirs = (float(each[keep].std()) for each in logs)
    if theirs < 0.03 or own > 0.85 * theirs:
        return None
    lengths = np.exp(logs[1] - logs[0])[:, None]
    repaired = view.student * lengths.astype(np.float32)
    moved = gain(view.now, view.judge(repaired), "euclidean")
    twin = view.twin
    twin_lengths = np.exp(logs[1])[:, None] / np.maximum(np.linalg.norm(twin, axis=1, keepdims=True), 1e-30)
    healthy = gain(view.twin_now, view.judge((twin * twin_lengths).astype(np.float32)), "euclidean")
    now, twin_now = view.now, view.twin_now
    behind = (now.mean() - now.mean("euclidean")) - (twin_now.mean() - twin_now.mean("euclidean"))
    proved = own < 0.7 * theirs and behind > 0.05 * now.mean() and moved.value > healthy.value + 0.015 and moved.z > 4
    if not (proved or own < 0.15 * theirs or (own < 0.4 * theirs and moved.value > healthy.value)):
        return None
    return Finding(
        "norm_loss",
        [Evidence("deviation of the log norms", own, theirs)],
        Repair("teacher's norms given back", "overlap@10:euclidean", moved, healthy.value),
        view.case.with_student(repaired),
        share=min(1.0, max(moved.value, 0.0) / max(1 - view.now.mean("euclidean"), 1e-3)),
        confidence=confidence_of(max(2 + 5 * (0.5 - own / theirs), min(moved.z, 5.0) if proved else 0.0)),
    )


def hubness(view: View) -> Finding | None:
    """Rows that moved towards the middle, or a few rows by whatever way, became everybody's neighbours."""
    return _drawn_in(view) or _hubs(view)


def _drawn_in(view: View) -> Finding | None:
    """Rows far shorter, from the centre, than the teacher predicts, which serve as neighbours too often."""
    keep = view.keep
    centre = view.student[keep].mean(0)
    own = np.linalg.norm(view.student - centre, axis=1)
    predicted = np.linalg.norm(view.expected - view.expected[keep].mean(0), axis=1)
    ratio = np.log(np.maximum(own, 1e-30)) - np.log(np.maximum(predicted, 1e-30))
    middle = float(np.median(ratio[keep]))
    spread = 1.4826 * float(np.median(np.abs(ratio[keep] - middle)))
    short = keep & (ratio < middle - max(3.0 * spread, 0.2))
    if not 0.02 * keep.sum() < short.sum() < 0.4 * keep.sum():
        return None
    served = np.bincount(
        nearest(view.student[keep], np.arange(keep.sum()), 10, "euclidean").ravel(), minlength=keep.sum()
    )
    often, usual = float(served[short[keep]].mean()), float(served[~short[keep]].mean())
    repaired = view.student.copy()
    repaired[short] = centre + (repaired[short] - centre) * np.exp(middle - ratio[short])[:, None]
    after = view.judge(repaired.astype(np.float32))
    moved = gain(view.now, after, "euclidean")
    if often < 1.3 * usual or moved.value < 0.015 or moved.z < 4:
        return None
    return Finding(
        "hubness",
        [Evidence("times that these rows serve as neighbours", often, usual)],
        Repair("lengths from the centre given back", "overlap@10:euclidean", moved, 0.0),
        view.case.with_student(repaired),
        share=min(1.0, moved.value / max(1 - view.now.mean("euclidean"), 1e-3)),
        confidence=confidence_of(moved.z),
        where={"rows": np.flatnonzero(short)},
    )


def _hubs(view: View) -> Finding | None:
    """A few rows that are everybody's neighbours, in the student alone."""
    rows = np.flatnonzero(view.keep)
    skew = [_skewness(x[rows], metric) for x in (view.student, view.teacher) for metric in METRICS]
    own, theirs = max(skew[:2]), max(skew[2:])
    twin = max(_skewness(view.twin[rows], metric) for metric in METRICS)
    expected = max(theirs, twin)
    if own < expected + 1.5 or own < 2.5:
        return None
    moved = view.case.yardstick.evened_gain(view.student)
    healthy = view.case.yardstick.evened_gain(view.twin)
    if moved.value < max(healthy.value, 0.0) + 0.015 or moved.z < 3:
        return None
    return Finding(
        "hubness",
        [Evidence("skewness of how often rows serve as neighbours", own, expected)],
        Repair("hubs evened out (CSLS)", "overlap@10", moved, healthy.value),
        view.case,
        share=min(1.0, moved.value / view.gap),
        confidence=confidence_of(own - expected + 1),
    )


def _skewness(x: np.ndarray, metric: str, k: int = 10) -> float:
    counts = np.bincount(nearest(x, np.arange(len(x)), k, metric).ravel(), minlength=len(x)).astype(float)
    centred = counts - counts.mean()
    return float((centred**3).mean() / max(centred.std() ** 3, 1e-12))


def nonlinear_warp(view: View) -> Finding | None:
    """A space bent dimension by dimension, or as a whole."""
    return _bent_dimensions(view) or _bent_space(view) or _bent_forward(view)


def _bent_forward(view: View) -> Finding | None:
    """A student that is a bent function of the teacher, whether or not it can be bent back."""
    keep = view.keep
    lifted = lift(view.teacher, keep, view.case.seed)
    straight = view.explained
    bent = explained(view.student[keep].astype(np.float64), cross_fitted(lifted, view.student, view.fold, keep)[keep])
    if bent - straight < BENT * (1 - straight):
        return None
    twin = view.twin
    twin_straight = cross_fitted(view.teacher, twin, view.fold, keep)
    twin_bent = cross_fitted(lifted, twin, view.fold, keep)
    whole = twin[keep].astype(np.float64)
    healthy = explained(whole, twin_bent[keep]) - explained(whole, twin_straight[keep])
    if bent - straight < max(healthy, 0.0) + BENT * (1 - straight):
        return None
    return Finding(
        "nonlinear_warp",
        [
            Evidence(
                "student's variance that a bent map of the teacher explains beyond a straight one",
                bent - straight,
                healthy,
            ),
        ],
        None,
        view.case,
        share=float(np.clip((bent - straight) / max(1 - straight, 1e-3), 0, 1)),
        confidence=confidence_of(2 + 12 * ((bent - straight) / max(1 - straight, 1e-3) - BENT)),
    )


def _bent_dimensions(view: View) -> Finding | None:
    """Every dimension brought back to a normal distribution by its ranks, where that mends more than a healthy twin."""
    straightened = by_ranks(view.student, view.keep)
    moved = surest_gain(view.now, view.judge(straightened))
    scaled = view.judge(_unit_deviation(view.student, view.keep))
    plain = max((gain(view.now, scaled, metric) for metric in METRICS), key=lambda each: each.value)
    healthy = gain(view.twin_now, view.judge(by_ranks(view.twin, view.keep)))
    if moved.value < max(healthy.value, plain.value, 0.0) + 0.025 or moved.z < 4:
        return None
    return Finding(
        "nonlinear_warp",
        [Evidence("overlap@10 gained by scaling dimensions alone", plain.value, moved.value)],
        Repair("dimensions straightened by their ranks", "overlap@10", moved, healthy.value),
        view.case.with_student(straightened),
        share=min(1.0, moved.value / view.gap),
        confidence=confidence_of(moved.z),
    )


def by_ranks(x: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Every dimension as the normal quantiles of its values' ranks, at its own deviation."""
    from scipy.stats import norm, rankdata

    ranks = rankdata(x, axis=0) / (len(x) + 1)
    return (norm.ppf(ranks) * x[keep].std(0)).astype(np.float32)


def _unit_deviation(x: np.ndarray, keep: np.ndarray) -> np.ndarray:
    spread = x[keep].std(0)
    return ((x - x[keep].mean(0)) / np.maximum(spread, 0.05 * max(float(np.median(spread)), 1e-30))).astype(np.float32)


def _bent_space(view: View) -> Finding | None:
    """A bent map back to the teacher that beats the straight one on rows it was not fitted on."""
    keep = view.keep
    lifted = lift(view.student, keep, view.case.seed)
    bent = cross_fitted(lifted, view.teacher, view.fold, keep).astype(np.float32)
    straight = view.recovered
    first, second = (explained(view.teacher[keep].astype(np.float64), x[keep]) for x in (straight, bent))
    moved = gain(view.judge(straight), view.judge(bent))
    if second - first < 0.008 or moved.value < 0.01 or moved.z < 3:
        return None
    twin = view.twin
    twin_straight = cross_fitted(twin, view.teacher, view.fold, keep).astype(np.float32)
    twin_bent = cross_fitted(lift(twin, keep, view.case.seed), view.teacher, view.fold, keep).astype(np.float32)
    healthy = gain(view.judge(twin_straight), view.judge(twin_bent))
    healthy_r2 = explained(view.teacher[keep].astype(np.float64), twin_bent[keep]) - explained(
        view.teacher[keep].astype(np.float64), twin_straight[keep]
    )
    if second - first < max(0.008, healthy_r2 + 0.006) or moved.value < max(0.01, healthy.value + 0.012) or moved.z < 3:
        return None
    return Finding(
        "nonlinear_warp",
        [Evidence("teacher's variance explained by a bent map beyond a straight one", second - first, healthy_r2)],
        Repair("a bent map in place of a straight one", "overlap@10", moved, healthy.value),
        view.case.with_student(bent),
        share=min(1.0, moved.value / view.gap),
        confidence=confidence_of(moved.z),
    )


def lift(x: np.ndarray, keep: np.ndarray, seed: int) -> np.ndarray:
    """The rows, whitened to their main directions, beside random cosine features of two widths."""
    centre = x[keep].mean(0)
    some = (x[keep] - centre)[:MOST].astype(np.float64)
    squares, vectors = np.linalg.eigh(some.T @ some)
    values, directions = np.sqrt(np.maximum(squares[::-1], 0)), vectors[:, ::-1].T
    most = min(48, int((values > 1e-4 * values[0]).sum()))
    narrow = (x - centre) @ directions[:most].T
    narrow = narrow / np.sqrt(np.square(narrow[keep]).sum(1).mean())
    draw = np.random.default_rng([seed, 5])
    parts = [(x - centre) / max(float(values[0]), 1e-12) * np.sqrt(keep.sum())]
    for width in (1.0, 2.5):
        ways = draw.normal(size=(most, WAYS // 2)) * width
        parts.append(np.cos(narrow @ ways + draw.uniform(0, 2 * np.pi, WAYS // 2)) * np.sqrt(2 / WAYS))
    return np.concatenate(parts, axis=1)


def noise(view: View) -> Finding | None:
    """What is left is spread evenly over all directions, and as much noise on the teacher's image loses as much."""
    keep = view.keep
    if view.now.mean() > 0.85:
        return None
    residual = (view.residual - view.residual[keep].mean(0))[keep]
    values = np.linalg.eigvalsh((residual.T @ residual / len(residual)).astype(np.float64))
    even = participation(values) / len(values)
    draw = np.random.default_rng([view.case.seed, 8])
    sigma = float(np.sqrt(values.mean()))
    fresh = draw.normal(size=residual.shape)
    expected = participation(np.linalg.eigvalsh(fresh.T @ fresh / len(fresh))) / len(values)
    if even < 0.6 * expected:
        return None
    signal = view.expected
    simulated = view.judge((signal + sigma * draw.normal(size=signal.shape)).astype(np.float32))
    if abs(simulated.mean() - view.now.mean()) > 0.08 + 0.2 * view.now.mean():
        return None
    return Finding(
        "noise",
        [
            Evidence("evenness of the residual over directions", even, expected),
            Evidence("overlap@10 of the teacher's image with such noise", simulated.mean(), view.now.mean()),
        ],
        None,
        view.case,
        share=min(1.0, (1 - simulated.mean()) / view.gap),
        confidence=confidence_of(2 + 4 * (even / expected - 0.6)),
        or_=[name for name in LOSS_GROUP if name != "noise"],
    )
