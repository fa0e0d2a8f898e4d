"""What single classes lose beyond the others, compared with a healthy student of the same overlap.

Classes differ in difficulty: where points are dense, less noise is enough to exchange neighbours. Two healthy students
are made: the teacher in fewer principal dimensions, and the teacher with the residuals of the linear map, each added
to another row at random; both at the size at which the other classes keep as much as the student's do. The expected
overlaps are those of the mixture that is most similar to the better half of the classes. A class falls behind where it
keeps less than that, by more than the better half varies; Holm's correction is over classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr  # scipy.stats would take half a second to import

from manifold_probe.diagnosis.halves import SIDES, Correction, Halves, error_of, the_teacher
from manifold_probe.diagnosis.lab import COSINE
from manifold_probe.diagnosis.linear import main_axes
from manifold_probe.engine.neighbours import Neighbours
from manifold_probe.engine.rows import sample
from manifold_probe.measures.overlap import intersections

NULL_ROWS = 2000  # of a healthy student
WIDTH_DIVISORS = (2, 4, 8, 16, 32)  # of the teacher's dimensions
NOISE_SIZES = (0.5, 1.0, 2.0, 4.0)  # times the linear map's residuals
MIXTURE_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
MIN_MIXED_CLASSES = 4  # with fewer no mixture can be chosen
MIN_CLASS_QUERIES = 5
MIN_CLASS_DEVIATION = 0.04  # the smallest deviation of the overlap over the classes of a healthy student
FAMILY_ERROR = 0.01  # probability of any class by chance


@dataclass(frozen=True)
class Behind:
    """What some classes lose beyond the others, as a share of all rows, its standard error, and the classes, the worst
    first."""

    lost: float
    error: float
    names: list[str]


NONE_BEHIND = Behind(0.0, 0.0, [])


def classes_behind(
    halves: Halves, linear: Correction, values: list[np.ndarray], codes: np.ndarray, names: Sequence[str]
) -> Behind:
    """The loss of the classes that fall behind.

    Parameters
    ----------
    halves : Halves
    linear : Correction
        The linear map, whose residuals the healthy student has.
    values : list of np.ndarray, shape (q,)
        The overlap of the queries of each half.
    codes : np.ndarray of int, shape (n,)
        Classes, -1 for none.
    names : sequence of str
        Their names, by code.
    """
    few = [rows[sample(len(rows), NULL_ROWS // 2, halves.seed)] for rows in halves.rows]
    query_codes, null_codes = codes[halves.queries], codes[np.concatenate(few)]
    counts, null_counts = (
        np.bincount(codes_of[codes_of >= 0], minlength=len(names)) for codes_of in (query_codes, null_codes)
    )
    usable = np.flatnonzero((counts >= MIN_CLASS_QUERIES) & (null_counts >= MIN_CLASS_QUERIES))
    if len(usable) < 2:
        return NONE_BEHIND
    means, errors = _class_means(np.concatenate(values), query_codes, usable)
    weights, rest = counts[usable] / len(query_codes), np.ones(len(usable), bool)
    healthy = [
        [_class_means(codes_of, null_codes, usable) for codes_of in curve] for curve in _healthy(halves, linear, few)
    ]
    for _ in range(2):  # the rest is known once the classes that fall behind are
        likely = [_at_the_overlap_of(means, curve, weights * rest) for curve in healthy]
        expected, spread = _likest(means, *likely)
        error = np.hypot(errors, spread)
        behind, centre = _behind(means - expected, error)
        rest = ~behind
    lost = np.where(behind, np.maximum(centre + expected - means, 0), 0) * weights
    order = np.argsort(-lost)[: int(behind.sum())]
    error_of_sum = float(np.linalg.norm((error * weights)[behind]))
    return Behind(float(lost.sum()), error_of_sum, [str(names[usable[place]]) for place in order])


def _healthy(halves: Halves, linear: Correction, rows: list[np.ndarray]) -> list[list[np.ndarray]]:
    """The overlap of the teacher's rows, in each half, with the same rows in fewer and fewer dimensions; and with more
    and more of the map's residuals."""
    sides = zip(
        *(halves.corrected(correction, rows) for correction in (dict.fromkeys(SIDES, the_teacher), linear)), strict=True
    )
    curves_of_halves = [_healthy_half(teacher, image, halves) for teacher, image in sides]
    return [
        [np.concatenate(both_halves) for both_halves in zip(*curves, strict=True)]
        for curves in zip(*curves_of_halves, strict=True)
    ]


def _healthy_half(teacher: np.ndarray, image: np.ndarray, halves: Halves) -> list[list[np.ndarray]]:
    k = min(halves.k, len(teacher) - 1)
    mean, exact = teacher.mean(0), Neighbours.search(teacher, k, COSINE, distances=False)
    residuals = (teacher - image)[np.random.default_rng([halves.seed, 2]).permutation(len(teacher))]
    axes = main_axes(teacher, -(-teacher.shape[1] // WIDTH_DIVISORS[0]))
    narrower = (axes[:, : -(-teacher.shape[1] // width)] for width in WIDTH_DIVISORS)
    curves = (
        (mean + (teacher - mean) @ kept @ kept.T for kept in narrower),
        (teacher + size * residuals for size in NOISE_SIZES),
    )
    return [
        [
            np.ones(len(teacher)),
            *(intersections(exact, Neighbours.search(width, k, COSINE, distances=False)) / k for width in curve),
        ]
        for curve in curves
    ]


def _at_the_overlap_of(
    observed: np.ndarray, curve: list[tuple[np.ndarray, np.ndarray]], weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The means of the classes (c,) and their errors where a curve's weighted mean is that of ``observed``."""
    means, errors = (np.array(values) for values in zip(*curve, strict=True))
    kept = np.minimum.accumulate(means @ weights)
    place = float(np.interp(-(observed @ weights), -kept, np.arange(len(kept))))
    low = min(int(place), len(kept) - 2)
    part = place - low
    return (1 - part) * means[low] + part * means[low + 1], (1 - part) * errors[low] + part * errors[low + 1]


def _likest(
    means: np.ndarray, narrower: tuple[np.ndarray, np.ndarray], noisy: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The mixture of two healthy students from which the better half of the classes (c,) differs most evenly; the
    smaller of both where classes are too few to choose."""
    if len(means) < MIN_MIXED_CLASSES:
        which = np.argmin([narrower[0], noisy[0]], axis=0)
        return np.choose(which, [narrower[0], noisy[0]]), np.choose(which, [narrower[1], noisy[1]])
    mixtures = [
        ((1 - part) * narrower[0] + part * noisy[0], (1 - part) * narrower[1] + part * noisy[1])
        for part in MIXTURE_WEIGHTS
    ]
    return min(mixtures, key=lambda mixture: float(_better(means - mixture[0]).std()))


def _better(gaps: np.ndarray) -> np.ndarray:
    """The better half of the classes."""
    return np.sort(gaps)[::-1][: (len(gaps) + 1) // 2]


def _class_means(values: np.ndarray, codes: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each usable class, and its standard error, at least that of one neighbour in total."""
    by_class = [values[codes == code] for code in usable]
    smallest = [0.5 / len(members) for members in by_class]
    return np.array([members.mean() for members in by_class]), np.maximum(
        [error_of(members) for members in by_class], smallest
    )


def _behind(gaps: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, float]:
    """Which classes (c,) lie below the others, with Holm's correction, and the middle of the others.

    Classes differ somewhat in every student. How much is estimated from the better half of them, which contains no
    class that falls behind: of normal values it has .36 of the variance, and its mean is .8 deviations above the
    middle.
    """
    better = _better(gaps)
    noise = float(np.square(errors).mean())
    variance = better.var(ddof=1) / 0.36 if len(better) > 1 else 0.0
    spread = max(variance - noise, MIN_CLASS_DEVIATION**2)
    centre = float(better.mean() - 0.8 * np.sqrt(spread + noise))
    p = ndtr((gaps - centre) / np.sqrt(np.square(errors) + spread))
    order = np.argsort(p)
    passed = p[order] <= FAMILY_ERROR / np.arange(len(p), 0, -1)
    behind = np.zeros(len(p), bool)
    behind[order[: int(np.argmin(np.append(passed, False)))]] = True
    return behind, centre
