"""Causes that concern the whole cloud: a shared offset, a common direction, lost norms, noise."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from manifold_probe.diagnosis.case import Evidence, Finding, Repair, View, confidence_of
from manifold_probe.diagnosis.faithfulness import gain, surest_gain

LOSS_GROUP = ["quantisation", "saturation", "noise"]
EVEN = 0.14  # evenness of the residual times the share of the overlap that it takes


def mean_direction(x: np.ndarray) -> float:
    """Length of the mean of the rows at unit length: 1 where all point one way."""
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return float(np.linalg.norm(unit.mean(0)))


def offset(view: View) -> Finding | None:
    """A mean that is long against the spread, where the teacher's is not: cosines see the mean."""
    keep = view.keep
    own, theirs = mean_direction(view.student[keep]), mean_direction(view.reference[keep])
    ratio, usual = (
        float(np.linalg.norm(x[keep].mean(0)) / np.sqrt(np.square(x[keep] - x[keep].mean(0)).sum(1).mean()))
        for x in (view.student, view.reference)
    )
    far = ratio > 4 * usual and own > theirs + 0.05  # a mean direction cannot be longer than 1
    if (own < theirs + 0.2 and not far) or ratio < 1.5 * usual or ratio < 0.7:
        return None
    shift = view.student[keep].mean(0) * (1 - min(usual / ratio, 1.0))
    repaired = view.student - shift
    after = view.judge(repaired)
    moved = gain(view.now, after)
    twin = view.twin
    healthy = gain(view.twin_now, view.judge(twin - twin[keep].mean(0) * (1 - min(usual / ratio, 1.0))))
    mended = moved.value > max(0.01, healthy.value + 0.01) and moved.z > 3
    if not (mended or far) and (own < theirs + 0.24 or ratio < 2 * usual):
        return None
    return Finding(
        "offset",
        [Evidence("length of the mean direction", own, theirs), Evidence("mean over spread", ratio, usual)],
        Repair("centred", "overlap@10", moved, healthy.value),
        view.case.with_student(repaired),
        share=min(1.0, max(moved.value, 0.0) / view.gap),
        confidence=confidence_of(2 + 15 * (own - theirs - 0.1)),
        z=(own - theirs) * np.sqrt(float(keep.sum())),  # a mean of unit vectors errs by one over the root of n
    )


def common_direction(view: View) -> Finding | None:
    """One direction that towers in what the teacher does not predict, in all classes alike."""
    keep = view.keep
    residual = (view.residual - view.residual[keep].mean(0)).astype(np.float64)
    products = residual[keep].T @ residual[keep] / keep.sum()
    width = len(products)
    values, vectors = eigh(products, subset_by_index=[max(width - 2, 0), width - 1])
    first, second = values[-1], max(values[0], 1e-30)
    share = float(first / max(float(np.trace(products)), 1e-300))
    if first < 3 * second or share < 0.15:
        return None
    direction = vectors[:, -1]
    along = residual @ direction
    known = keep & view.classed
    spread = [along[known & (view.codes == code)].std() for code in np.unique(view.codes[known])]
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
        else view.case.yardstick.likeness_gain(view.student, repaired, keep)
    )
    twin = view.twin - np.outer((view.twin - view.twin[keep].mean(0)) @ direction, direction).astype(np.float32)
    dropped = view.judge(twin)
    healthy = gain(view.twin_now, dropped, moved.metric).value if best is moved else dropped.cka - view.twin_now.cka
    return Finding(
        "common_direction",
        [
            Evidence("largest over second eigenvalue of the residual", float(first / second), 1.5),
            Evidence("its share of the residual", share, None),
        ],
        Repair("this direction dropped", "overlap@10" if best is moved else "debiased_linear_cka", best, healthy),
        view.case.with_student(repaired),
        share=min(1.0, max(moved.value / view.gap, shape / max(1 - view.now.cka, 1e-3))),
        confidence=confidence_of(float(np.log(first / second)) * 2),
        z=best.z,
        where={"dimensions": np.argsort(-np.abs(direction))[:10]},
    )


def norm_loss(view: View) -> Finding | None:
    """Lengths that no longer vary as the teacher's do, nor as those of a healthy twin."""
    keep = view.keep
    logs = [np.log(np.maximum(np.linalg.norm(x, axis=1), 1e-30)) for x in (view.student, view.reference, view.twin)]
    own, theirs, healthy_spread = (float(each[keep].std()) for each in logs)
    if theirs < 0.03 or own > 0.7 * theirs or own > 0.93 * healthy_spread:
        return None
    lengths = np.exp(logs[1] - logs[0])[:, None]
    repaired = (view.student * lengths).astype(np.float32)
    moved = gain(view.now, view.judge(repaired), "euclidean")
    twin = (view.twin * np.exp(logs[1] - logs[2])[:, None]).astype(np.float32)
    healthy = gain(view.twin_now, view.judge(twin), "euclidean")
    proved = own < 0.65 * theirs and moved.value > max(healthy.value, 0.0) + 0.015 and moved.z > 4
    if not (proved or own < 0.4 * theirs):
        return None
    return Finding(
        "norm_loss",
        [
            Evidence("deviation of the log norms", own, theirs),
            Evidence("that of a healthy twin", healthy_spread, theirs),
        ],
        Repair("teacher's norms given back", "overlap@10", moved, healthy.value),
        view.case.with_student(repaired),
        share=min(1.0, max(moved.value, 0.0) / max(1 - view.now.mean("euclidean"), 1e-3)),
        confidence=confidence_of(max(2 + 5 * (0.5 - own / theirs), min(moved.z, 5.0) if proved else 0.0)),
        z=(healthy_spread - own) / max(healthy_spread, 1e-9) * np.sqrt(2 * float(keep.sum())),  # of a deviation
    )


def noise(view: View) -> Finding | None:
    """What the teacher does not predict is spread evenly over all directions, and is what loses the neighbours."""
    keep = view.keep
    if view.now.mean() > 0.9:
        return None
    residual = (view.residual - view.residual[keep].mean(0))[keep].astype(np.float64)
    rows, width = residual.shape
    gram = residual @ residual.T if rows < width else residual.T @ residual
    even = float(np.trace(gram) ** 2 / max(float(np.square(gram).sum()), 1e-300)) / width  # participation ratio
    expected = rows / (rows + width)  # of as many rows of isotropic noise (Marchenko and Pastur)
    without = view.image_now.mean()
    lost = without - view.now.mean()
    evenness = even / expected
    plain = evenness > 0.5 and lost > 0.1
    if not (plain or (evenness > 0.55 and lost > 0.03) or evenness * lost / max(without, 1e-3) > EVEN):
        return None
    sigma = float(np.sqrt(np.trace(gram) / rows / width))
    draw = np.random.default_rng([view.case.seed, 8])
    simulated = view.judge((view.expected + sigma * draw.normal(size=view.expected.shape)).astype(np.float32))
    return Finding(
        "noise",
        [
            Evidence("evenness of the residual over directions", even, expected),
            Evidence("overlap@10 without the residual", without, None),
            Evidence("overlap@10 of the teacher's image with such noise", simulated.mean(), None),
        ],
        None,
        view.case,
        share=min(1.0, max(lost, 0.0) / view.gap),
        confidence=0.9 if plain else 0.65,
        z=gain(view.now, view.image_now).z,
        or_=[name for name in LOSS_GROUP if name != "noise"],
    )
