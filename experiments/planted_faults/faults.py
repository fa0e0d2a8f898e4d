"""Plant a fault: one function a cause, from a student (n, d) to a worse one, harder with severity from 0.3 to 1.

Every function is FAULTS[name](student, labels, severity, rng) and returns the student, the rows that it touched (n,)
(None: all of them) and the classes that it touched. Lengths are relative to the student's own spread, the root mean
squared distance from its mean. Labels define the class faults; the diagnosis may be run with or without labels.

`plant` adds the right names of the result. ``mask`` hides the fault under a random rotation and noise of 2% of the
spread; causes that outputs cannot distinguish after that are accepted as a group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Touched = tuple[np.ndarray, np.ndarray | None, tuple[int, ...]]
LOSS = frozenset({"quantisation", "saturation", "noise"})  # "isotropic loss of information"
DIMENSIONS = frozenset({"truncated_dimensions", "dead_dimensions", "dimensional_collapse"})  # "too few effective ..."
GROUPS = (LOSS, DIMENSIONS)
MASK_NOISE = 0.02


@dataclass(frozen=True)
class Planted:
    """A pair with planted faults. ``truth``: the right names of each fault.

    ``rows`` (n,) marks the rows concerned (None: all), ``classes`` the classes concerned.
    """

    teacher: np.ndarray
    student: np.ndarray
    labels: np.ndarray
    truth: tuple[frozenset[str], ...]
    rows: np.ndarray | None
    classes: tuple[int, ...]


def plant(
    teacher: np.ndarray,
    student: np.ndarray,
    labels: np.ndarray,
    names: str | tuple[str, ...],
    severity: float,
    rng: np.random.Generator,
    mask: bool = False,
    aligned: bool = False,
) -> Planted | None:
    """Plant one fault, several in the order of FAULTS, or none; None where the student cannot have it.

    ``aligned``: the student's dimensions are the teacher's, so that missing ones differ from collapsed ones.
    """
    names = (names,) if isinstance(names, str) else names
    order, seed, n = list(FAULTS), int(rng.integers(2**32)), len(student)
    rows, classes = None, ()
    for name in sorted(names, key=order.index):  # separate seeds: a fault is the same alone and with another
        made = FAULTS[name](student, labels, severity, np.random.default_rng([seed, order.index(name)]))
        if made is None:
            return None
        student, touched, concerned = made
        classes += concerned
        if touched is not None:
            rows = touched if rows is None else rows | touched
    if mask:
        rng, d = np.random.default_rng([seed, len(order)]), student.shape[1]
        student = student @ rotation(d, rng) + MASK_NOISE * spread(student) / np.sqrt(d) * rng.normal(size=(n, d))
    assert len(student) == n
    return Planted(teacher, student, labels, tuple(accepted(name, mask, aligned) for name in names), rows, classes)


def accepted(name: str, mask: bool, aligned: bool) -> frozenset[str]:
    """The names that are right for a fault."""
    if name == "truncated_dimensions" and not aligned:
        return DIMENSIONS  # single columns have no counterpart in the teacher
    if not mask:
        return frozenset({name})
    for group in GROUPS:
        if name in group:
            return group | ({"nonlinear_warp"} if name == "saturation" else set())  # a bent space, once dimensions mix
    if name == "dimension_rescaling":
        return DIMENSIONS | {name}  # a few directions hold everything
    return frozenset({name})


# ---- shared functions


def spread(rows: np.ndarray) -> float:
    """Root mean squared distance from the mean."""
    return float(np.sqrt(((rows - rows.mean(0)) ** 2).sum(1).mean()))


def rotation(d: int, rng: np.random.Generator) -> np.ndarray:
    """A random orthogonal matrix (d, d)."""
    q, r = np.linalg.qr(rng.normal(size=(d, d)))
    return q * np.sign(np.diag(r))


def direction(d: int, rng: np.random.Generator) -> np.ndarray:
    """A random unit vector (d,)."""
    drawn = rng.normal(size=d)
    return drawn / np.linalg.norm(drawn)


def some(n: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """A mask (n,) of ``count`` random rows."""
    marks = np.zeros(n, bool)
    marks[rng.choice(n, min(n, max(1, count)), replace=False)] = True
    return marks


def large_classes(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The classes of 30 rows or more, in random order."""
    names, counts = np.unique(labels, return_counts=True)
    return rng.permutation(names[counts >= 30])


def components(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (d,), scores (n, r) and axes (r, d) of the principal components."""
    mean = rows.mean(0)
    u, s, axes = np.linalg.svd(rows - mean, full_matrices=False)
    return mean, u * s, axes


# ---- classes


def slice_failure(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched | None:
    """The rows of one class keep 1 - s of their deviations and get s of random ones with the same covariance."""
    large = large_classes(labels, rng)
    if len(large) < 2:
        return None
    rows, x = labels == large[0], x.copy()
    inside = x[rows] - x[rows].mean(0)
    other = rng.normal(size=(len(inside), len(inside))) @ inside / np.sqrt(len(inside))
    x[rows] = x[rows].mean(0) + (1 - severity) * inside + severity * other
    return x, rows, (int(large[0]),)


def cluster_merge(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched | None:
    """One class is moved towards another, s of the distance."""
    large = large_classes(labels, rng)
    if len(large) < 3:
        return None
    mover, goal = (labels == name for name in large[:2])
    moved = x.copy()
    moved[mover] += severity * (x[goal].mean(0) - x[mover].mean(0))
    return moved, mover | goal, (int(large[0]), int(large[1]))


def cluster_tear(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched | None:
    """A class is cut in two, along one of its directions or at random, and the halves are moved 2 s spreads apart."""
    large = large_classes(labels, rng)
    if len(large) < 2:
        return None
    rows, torn = labels == large[0], x.copy()
    inside = x[rows] - x[rows].mean(0)
    along = inside @ (rng.normal(size=len(inside)) @ inside)
    half = along > np.median(along) if rng.random() < 0.5 else rng.random(len(inside)) < 0.5
    torn[rows] += np.where(half, 1, -1)[:, None] * severity * spread(x) * direction(x.shape[1], rng)
    return torn, rows, (int(large[0]),)


def class_collapse(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched | None:
    """All rows move towards the means of their classes, .95 s of the distance, with noise of 2%."""
    if len(np.unique(labels)) < 2:
        return None
    means = np.zeros_like(x)
    for name in np.unique(labels):
        means[labels == name] = x[labels == name].mean(0)
    noise = 0.02 * spread(x) / np.sqrt(x.shape[1]) * rng.normal(size=x.shape)
    return means + (1 - 0.95 * severity) * (x - means) + noise, None, ()


# ---- the whole space


def nonlinear_warp(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched:
    """The first eight principal components are sheared by each other's squares, or raised to the power 1 + 2 s."""
    mean, scores, axes = components(x)
    count = min(8, scores.shape[1])
    sizes = scores[:, :count].std(0)
    z = scores[:, :count] / sizes
    if rng.random() < 0.5:
        z = z + 1.5 * severity * np.pad(z[:, 1:] ** 2 - 1, ((0, 0), (0, 1)))
    else:
        z = np.sign(z) * np.abs(z) ** (1 + 2 * severity)
        z /= z.std(0)
    bent = scores.copy()
    bent[:, :count] = z * sizes
    return mean + bent @ axes, None, ()


def hubness(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched:
    """15% of the rows move .9 s of the distance to the mean, where they are neighbours of many rows."""
    rows, drawn = some(len(x), round(0.15 * len(x)), rng), x.copy()
    drawn[rows] += 0.9 * severity * (x.mean(0) - x[rows])
    return drawn, rows, ()


def dimension_rescaling(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched:
    """Dimensions are multiplied by exp(2.5 s g), g normal."""
    scaled = x * np.exp(2.5 * severity * rng.normal(size=x.shape[1]))
    return scaled * (spread(x) / max(spread(scaled), 1e-12)), None, ()


def common_direction(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched:
    """Every row is moved along one direction, by a normal amount of 3 s spreads."""
    return x + 3 * severity * spread(x) * np.outer(rng.normal(size=len(x)), direction(x.shape[1], rng)), None, ()


def offset(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched:
    """All rows are moved by the same vector of 4 s spreads."""
    return x + 4 * severity * spread(x) * direction(x.shape[1], rng), None, ()


def norm_loss(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched | None:
    """Norms are divided by themselves to the power s."""
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    if np.log(np.maximum(lengths, 1e-12)).std() < 0.03:
        return None  # norms do not vary
    return x * (np.exp(np.log(lengths).mean()) / lengths) ** severity, None, ()


def noise(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched:
    """Isotropic noise, s of the spread in all."""
    return x + severity * spread(x) / np.sqrt(x.shape[1]) * rng.normal(size=x.shape), None, ()


def dimensional_collapse(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched:
    """r to the power 1 - .75 s principal components are left, where r of them hold 95% of the variance."""
    mean, scores, axes = components(x)
    share = np.cumsum(scores.var(0)) / scores.var(0).sum()
    kept = max(2, round(float(np.searchsorted(share, 0.95) + 1) ** (1 - 0.75 * severity)))
    return mean + scores[:, :kept] @ axes[:kept], None, ()


def saturation(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched:
    """Every dimension is cut off at 1.5 (1 - s) + .05 deviations from its mean."""
    mean, reach = x.mean(0), (1.5 * (1 - severity) + 0.05) * x.std(0)
    return np.clip(x, mean - reach, mean + reach), None, ()


def quantisation(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched:
    """Every dimension has 6 - 4 s values left, evenly spaced over two deviations on either side of its mean."""
    levels, mean, size = round(6 - 4 * severity), x.mean(0), np.maximum(x.std(0), 1e-12)
    step = 4 / (levels - 1)
    return mean + size * (np.clip(np.round(((x - mean) / size + 2) / step), 0, levels - 1) * step - 2), None, ()


def truncated_dimensions(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched:
    """The first d to the power 1 - .75 s dimensions are left."""
    return x[:, : max(2, round(x.shape[1] ** (1 - 0.75 * severity)))].copy(), None, ()


def dead_dimensions(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched:
    """As many random dimensions are left, and the others are zero."""
    kept = some(x.shape[1], max(2, round(x.shape[1] ** (1 - 0.75 * severity))), rng)
    return np.where(kept, x, 0.0), None, ()


# ---- rows


def point_collapse(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched:
    """.3 s of the rows move onto one of them, exactly or to a thousandth of the spread."""
    rows, fallen = some(len(x), round(0.3 * severity * len(x)), rng), x.copy()
    jitter = rng.choice([0.0, 1e-3]) * spread(x) / np.sqrt(x.shape[1])
    fallen[rows] = x[rng.choice(np.flatnonzero(rows))] + jitter * rng.normal(size=(int(rows.sum()), x.shape[1]))
    return fallen, rows, ()


def outliers(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched:
    """Six rows of a thousand move to 10 to the power 1 + s times their distance, in their or in random directions."""
    rows, far = some(len(x), max(2, round(0.006 * len(x))), rng), x.copy()
    away = x[rows] - x.mean(0)
    if rng.random() < 0.5:
        away = spread(x) * np.stack([direction(x.shape[1], rng) for _ in away])
    far[rows] = x.mean(0) + 10 ** (1 + severity) * away
    return far, rows, ()


def row_misalignment(x: np.ndarray, labels: np.ndarray, severity: float, rng: np.random.Generator) -> Touched:
    """.4 s of the rows change places: a shuffled block, a shifted block, or scattered rows."""
    n, kind = len(x), rng.choice(["shuffled", "shifted", "scattered"])
    count = max(2, round(0.4 * severity * n))
    start = rng.integers(0, n - count + 1)
    places = np.sort(rng.choice(n, count, replace=False)) if kind == "scattered" else np.arange(start, start + count)
    moved, rows = x.copy(), np.zeros(n, bool)
    moved[places] = x[np.roll(places, int(rng.integers(1, 4))) if kind == "shifted" else rng.permutation(places)]
    rows[places] = True
    return moved, rows, ()


Fault = Callable[[np.ndarray, np.ndarray, float, np.random.Generator], "Touched | None"]
# in the order in which several are planted
FAULTS: dict[str, Fault] = {
    fault.__name__: fault  # type: ignore[attr-defined]
    for fault in (
        *(slice_failure, cluster_merge, cluster_tear, class_collapse, nonlinear_warp, hubness, dimension_rescaling),
        *(common_direction, offset, norm_loss, noise, dimensional_collapse, saturation, quantisation),
        *(truncated_dimensions, dead_dimensions, point_collapse, outliers, row_misalignment),
    )
}
# pairs of which one reverses or imitates the other
INCOMPATIBLE = [
    *GROUPS,
    {"norm_loss", "offset"},
    {"norm_loss", "hubness"},
    {"norm_loss", "common_direction"},
    {"class_collapse", "slice_failure"},
    {"class_collapse", "cluster_tear"},
    {"class_collapse", "noise"},
    {"slice_failure", "noise"},
    {"dimension_rescaling", "dimensional_collapse"},
    {"dimension_rescaling", "common_direction"},
    {"saturation", "common_direction"},
    {"saturation", "nonlinear_warp"},
    {"quantisation", "common_direction"},
    {"quantisation", "point_collapse"},
]


def compatible(a: str, b: str) -> bool:
    """Whether two faults can be distinguished when both are planted."""
    return a != b and not any({a, b} <= set(group) for group in INCOMPATIBLE)
