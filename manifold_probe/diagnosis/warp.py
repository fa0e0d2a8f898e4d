"""Nonlinear warps: a space bent dimension by dimension, direction by direction, or as a whole."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri  # scipy.stats would take half a second to import

from manifold_probe.diagnosis.case import Evidence, Finding, Repair, View, confidence_of
from manifold_probe.diagnosis.faithfulness import METRICS, gain, surest_gain
from manifold_probe.diagnosis.linear import MOST, cross_fitted, explained
from manifold_probe.diagnosis.repairs import Lift

DIRECTIONS = 8
GROUPS = 20
HEAVY = 1.14  # times the kurtosis that the image's main directions have
LINKED = 0.14  # of the residual


def nonlinear_warp(view: View) -> Finding | None:
    """Dimensions, or main directions, that are bent functions of what a straight map says."""
    return _bent_dimensions(view) or _bent_directions(view) or _bent_links(view)


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
        z=(moved.value - max(healthy.value, 0.0)) / max(moved.error, 1e-9),
    )


def by_ranks(x: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Every dimension as the normal quantiles of its values' ranks, at its own deviation."""
    ranks = np.stack([_ranks(column) for column in x.T], axis=1)
    return (ndtri(ranks / (len(x) + 1)) * x[keep].std(0)).astype(np.float32)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks (n,) from 1, equal values at their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (counts.cumsum() - (counts - 1) / 2)[place]
    return ranks


def _unit_deviation(x: np.ndarray, keep: np.ndarray) -> np.ndarray:
    spread = x[keep].std(0)
    return ((x - x[keep].mean(0)) / np.maximum(spread, 0.05 * max(float(np.median(spread)), 1e-30))).astype(np.float32)


def bent_maps(view: View) -> Finding | None:
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
    if second - first < max(0.008, healthy_r2 + 0.006) or moved.value < max(0.01, healthy.value + 0.025) or moved.z < 3:
        return None
    return Finding(
        "nonlinear_warp",
        [Evidence("teacher's variance explained by a bent map beyond a straight one", second - first, healthy_r2)],
        Repair("a bent map in place of a straight one", "overlap@10", moved, healthy.value),
        view.case.with_student(bent),
        share=min(1.0, moved.value / view.gap),
        confidence=confidence_of(moved.z),
        z=(moved.value - max(healthy.value, 0.0)) / max(moved.error, 1e-9),
    )


def _bent_directions(view: View) -> Finding | None:
    """Principal directions of far heavier tails than those of the student's linear image."""
    keep = view.keep
    count = min(DIRECTIONS, view.student.shape[1], view.teacher.shape[1])
    axes = main_axes(view.student[keep], count)
    own = (view.student - view.student[keep].mean(0)) @ axes
    image = (view.expected - view.expected[keep].mean(0)) @ main_axes(view.expected[keep], count)
    twin = (view.twin - view.twin[keep].mean(0)) @ main_axes(view.twin[keep], count)
    tails, usual, healthy = (float(np.median(kurtosis(x[keep]))) for x in (own, image, twin))
    halves = [np.median(kurtosis(own[keep & side]) / kurtosis(image[keep & side])) for side in (view.fold, ~view.fold)]
    if tails < HEAVY * max(usual, healthy) or min(halves) < 1.05:
        return None
    if tails / usual < 1.08 * minor_tails(view, count):
        return None  # all directions alike: some rows are noisier than others
    straight = view.student + ((by_ranks_of(own, image, view.fold, keep) - own) @ axes.T).astype(np.float32)
    moved = surest_gain(view.now, view.judge(straight))
    mended = moved.z > 3 and moved.value > 0.01
    plain = main_axes(view.twin[keep], count)
    there = (view.twin_expected - view.twin_expected[keep].mean(0)) @ plain
    level = view.twin + ((by_ranks_of(twin, there, view.fold, keep) - twin) @ plain.T).astype(np.float32)
    gained = surest_gain(view.twin_now, view.judge(level)).value if mended else 0.0
    return Finding(
        "nonlinear_warp",
        [Evidence("kurtosis of the main directions", tails, max(usual, healthy))],
        Repair("main directions straightened by their ranks", "overlap@10", moved, gained) if mended else None,
        view.case.with_student(straight) if mended else view.case,
        share=float(np.clip(max(moved.value, view.image_now.mean() - view.now.mean()) / view.gap, 0.05, 1)),
        confidence=confidence_of(2 + 8 * (tails / max(usual, healthy) - HEAVY + 0.1)),
        z=heavier(own, image, keep),
    )


def minor_tails(view: View, count: int) -> float:
    """Kurtosis of the directions behind the main ones, over that of the image's: what noisy rows alone make of it."""
    keep, more = view.keep, min(3 * count, view.student.shape[1], view.teacher.shape[1])
    if more < 2 * count:
        return 1.0
    found = [
        float(np.median(kurtosis((x[keep] - x[keep].mean(0)) @ main_axes(x[keep], more)[:, count:])))
        for x in (view.student, view.expected)
    ]
    return found[0] / max(found[1], 1e-9)


def main_axes(x: np.ndarray, count: int) -> np.ndarray:
    """(d, count): the principal axes of most variance."""
    centred = (x - x.mean(0)).astype(np.float64)
    if len(centred) < centred.shape[1]:
        values, u = np.linalg.eigh(centred @ centred.T)
        axes = centred.T @ (u[:, ::-1][:, :count] / np.sqrt(np.maximum(values[::-1][:count], 1e-300)))
    else:
        axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :count]
    return axes


def kurtosis(x: np.ndarray) -> np.ndarray:
    """(d,): the fourth moment over the squared second; 3 for a normal distribution."""
    centred = x - x.mean(0)
    return (centred**4).mean(0) / np.maximum(np.square(centred).mean(0) ** 2, 1e-300)


def by_ranks_of(own: np.ndarray, image: np.ndarray, fold: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Every direction with the distribution that it has in the image, both read on the other half."""
    out = own.copy()
    places = np.linspace(0.01, 0.99, 99)
    for side in (False, True):
        learn, read = keep & (fold != side), fold == side
        for column in range(own.shape[1]):
            have, want = (np.quantile(x[learn, column], places) for x in (own, image))
            want = want * have.std() / max(float(want.std()), 1e-30)
            inner = np.interp(own[read, column], have, want)
            low, high = own[read, column] < have[0], own[read, column] > have[-1]  # beyond, at the same ratio
            inner[low] = own[read, column][low] * want[0] / (have[0] if have[0] else 1.0)
            inner[high] = own[read, column][high] * want[-1] / (have[-1] if have[-1] else 1.0)
            out[read, column] = inner
    return out


def _bent_links(view: View) -> Finding | None:
    """Dimensions that are a bent function of their own linear image, as those of a ReLU are."""
    keep = view.keep
    if view.gap < 0.04:
        return None
    gained, left, error = link_gain(view.student, view.expected, view.fold, keep)
    healthy, _, _ = link_gain(view.twin, view.twin_expected, view.fold, keep)
    if gained < healthy + LINKED or gained * left < 0.012:
        return None
    return Finding(
        "nonlinear_warp",
        [Evidence("residual that a curve of each dimension's linear image explains", gained, max(healthy, 0.0))],
        None,
        view.case,
        share=float(np.clip(gained, 0.05, 1)),
        confidence=confidence_of(2 + 20 * (gained - healthy - LINKED + 0.05)),
        z=(gained - healthy) / max(error, 1e-9),
    )


def heavier(own: np.ndarray, image: np.ndarray, keep: np.ndarray) -> float:
    """Standard errors by which the log kurtosis of the main directions is above the image's, by a jackknife."""
    rows = np.flatnonzero(keep)
    group = np.arange(len(rows)) % GROUPS

    def above(chosen: np.ndarray) -> float:
        return float(np.log(np.median(kurtosis(own[chosen])) / np.median(kurtosis(image[chosen]))))

    without = np.array([above(rows[group != each]) for each in range(GROUPS)])
    error = np.sqrt((GROUPS - 1) * float(without.var()))
    return above(rows) / max(error, 1e-9)


def link_gain(student: np.ndarray, image: np.ndarray, fold: np.ndarray, keep: np.ndarray) -> tuple[float, float, float]:
    """(share of the residual that a curve in each dimension's own image explains on rows that it was not fitted on,
    the residual's share of the variance, the standard error of the first)."""
    z = (image - image[keep].mean(0)) / np.maximum(image[keep].std(0), 1e-12)
    features = np.stack([np.ones_like(z), z, np.square(z) - 1, np.clip(z, -3, 3) ** 3, np.abs(z)], axis=2)
    target = student - student[keep].mean(0)
    left = []
    for count in (2, 5):
        error = np.zeros_like(target)
        for side in (False, True):
            learn, read = keep & (fold != side), keep & (fold == side)
            x = features[learn][:, :, :count].transpose(1, 0, 2)
            products = x.transpose(0, 2, 1) @ x
            products += 1e-3 * learn.sum() * np.diag([0.0] + [1.0] * (count - 1))
            weights = np.linalg.solve(products, x.transpose(0, 2, 1) @ target[learn].T[:, :, None])
            error[read] = target[read] - (features[read][:, :, :count] * weights[None, :, :, 0]).sum(2)
        left.append(np.square(error[keep]).sum(1))
    straight, curved = (float(each.sum()) for each in left)
    whole = max(float(np.square(target[keep]).sum()), 1e-300)
    error_of_sum = float((left[0] - left[1]).std()) * np.sqrt(len(left[0]))
    return (straight - curved) / max(straight, 1e-300), straight / whole, error_of_sum / max(straight, 1e-300)


def lift(x: np.ndarray, keep: np.ndarray, seed: int) -> np.ndarray:
    """The rows lifted, by a lift that is made of those that count."""
    return Lift(x[keep][:MOST], seed)(x)
