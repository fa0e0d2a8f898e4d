"""What single classes lose beyond the rest, against a healthy student of the same overlap.

Classes differ in how hard they are: where points lie dense, less noise is enough to exchange neighbours. Two healthy
students are compared: the teacher in fewer principal dimensions, and the teacher with the residuals of the linear map,
each given to another row at random; both at the size at which the other classes keep as much as the student's do. Of
their mixtures the one counts that the better half of the classes is likest to. A class falls behind where it keeps less
than that, by more than the better half differs among itself; Holm's correction is over classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr  # scipy.stats would take half a second to import

from manifold_probe.diagnosis.halves import COSINE, SIDES, Correction, Halves, error_of, the_teacher
from manifold_probe.diagnosis.linear import main_axes
from manifold_probe.engine.neighbours import Neighbours
from manifold_probe.engine.rows import sample
from manifold_probe.measures.overlap import intersections

NULL_ROWS = 2000  # that healthy students are made of
NARROWER = (2, 4, 8, 16, 32)  # times
NOISE = (0.5, 1.0, 2.0, 4.0)  # times the linear map's residuals
MIXED = (0.0, 0.25, 0.5, 0.75, 1.0)
TELLING = 4  # classes
FEWEST = 5  # queries of a class
NATURAL = 0.04  # least deviation of the overlap over the classes of a healthy student
LEVEL = 0.01


@dataclass(frozen=True)
class Behind:
    """What some classes lose beyond the rest, of all rows, its standard error, and which they are, the worst first."""

    lost: float
    error: float
    names: list[str]


NONE_BEHIND = Behind(0.0, 0.0, [])


def classes_behind(
    halves: Halves, linear: Correction, values: list[np.ndarray], codes: np.ndarray, names: Sequence[str]
) -> Behind:
    """What the classes lose that fall behind.

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
    own, known = codes[halves.queries], codes[np.concatenate(few)]
    counts, there = (np.bincount(each[each >= 0], minlength=len(names)) for each in (own, known))
    usable = np.flatnonzero((counts >= FEWEST) & (there >= FEWEST))
    if len(usable) < 2:
        return NONE_BEHIND
    found, errors = _class_means(np.concatenate(values), own, usable)
    weights, rest = counts[usable] / len(own), np.ones(len(usable), bool)
    healthy = [[_class_means(each, known, usable) for each in curve] for curve in _healthy(halves, linear, few)]
    for _ in range(2):  # the rest is known once the classes that fall behind are
        likely = [_at_the_overlap_of(found, curve, weights * rest) for curve in healthy]
        expected, spread = _likest(found, *likely)
        error = np.hypot(errors, spread)
        behind, centre = _behind(found - expected, error)
        rest = ~behind
    lost = np.where(behind, np.maximum(centre + expected - found, 0), 0) * weights
    order = np.argsort(-lost)[: int(behind.sum())]
    error_of_sum = float(np.linalg.norm((error * weights)[behind]))
    return Behind(float(lost.sum()), error_of_sum, [str(names[usable[place]]) for place in order])


def _healthy(halves: Halves, linear: Correction, rows: list[np.ndarray]) -> list[list[np.ndarray]]:
    """The overlap of some rows of each half with themselves, in fewer and fewer dimensions; and with more and more of
    the map's residuals."""
    sides = zip(*(halves.corrected(each, rows) for each in (dict.fromkeys(SIDES, the_teacher), linear)), strict=True)
    found = [_healthy_half(teacher, image, halves) for teacher, image in sides]
    return [[np.concatenate(both) for both in zip(*curves, strict=True)] for curves in zip(*found, strict=True)]


def _healthy_half(teacher: np.ndarray, image: np.ndarray, halves: Halves) -> list[list[np.ndarray]]:
    k = min(halves.k, len(teacher) - 1)
    mean, exact = teacher.mean(0), Neighbours.search(teacher, k, COSINE, distances=False)
    left = (teacher - image)[np.random.default_rng([halves.seed, 2]).permutation(len(teacher))]
    axes = main_axes(teacher, -(-teacher.shape[1] // NARROWER[0]))
    narrower = (axes[:, : -(-teacher.shape[1] // each)] for each in NARROWER)
    curves = (
        (mean + (teacher - mean) @ kept @ kept.T for kept in narrower),
        (teacher + size * left for size in NOISE),
    )
    return [
        [
            np.ones(len(teacher)),
            *(intersections(exact, Neighbours.search(each, k, COSINE, distances=False)) / k for each in curve),
        ]
        for curve in curves
    ]


def _at_the_overlap_of(
    found: np.ndarray, curve: list[tuple[np.ndarray, np.ndarray]], weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The means of the classes (c,) and their errors where a curve's weighted mean is that of ``found``."""
    means, errors = (np.array(each) for each in zip(*curve, strict=True))
    kept = np.minimum.accumulate(means @ weights)
    place = float(np.interp(-(found @ weights), -kept, np.arange(len(kept))))
    low = min(int(place), len(kept) - 2)
    part = place - low
    return (1 - part) * means[low] + part * means[low + 1], (1 - part) * errors[low] + part * errors[low + 1]


def _likest(
    found: np.ndarray, narrower: tuple[np.ndarray, np.ndarray], noisy: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The mixture of two healthy students from which the better half of the classes (c,) differs most evenly; the
    lesser of both where classes are too few to tell."""
    if len(found) < TELLING:
        which = np.argmin([narrower[0], noisy[0]], axis=0)
        return np.choose(which, [narrower[0], noisy[0]]), np.choose(which, [narrower[1], noisy[1]])
    mixtures = [
        ((1 - part) * narrower[0] + part * noisy[0], (1 - part) * narrower[1] + part * noisy[1]) for part in MIXED
    ]
    return min(mixtures, key=lambda each: float(_better(found - each[0]).std()))


def _better(gaps: np.ndarray) -> np.ndarray:
    """The better half of the classes."""
    return np.sort(gaps)[::-1][: (len(gaps) + 1) // 2]


def _class_means(values: np.ndarray, codes: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each usable class, and its standard error; at least that of one neighbour in all."""
    own = [values[codes == code] for code in usable]
    least = [0.5 / len(each) for each in own]
    return np.array([each.mean() for each in own]), np.maximum([error_of(each) for each in own], least)


def _behind(gaps: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, float]:
    """Which classes (c,) lie below the rest, with Holm's correction, and where the middle of the rest is.

    Classes differ somewhat in every student. How much is read off the better half of them, which classes that fall
    behind are not in: of normal values it has .36 of the variance, and its mean lies .8 deviations above the middle.
    """
    better = _better(gaps)
    noise = float(np.square(errors).mean())
    variance = better.var(ddof=1) / 0.36 if len(better) > 1 else 0.0
    spread = max(variance - noise, NATURAL**2)
    centre = float(better.mean() - 0.8 * np.sqrt(spread + noise))
    p = ndtr((gaps - centre) / np.sqrt(np.square(errors) + spread))
    order = np.argsort(p)
    passed = p[order] <= LEVEL / np.arange(len(p), 0, -1)
    behind = np.zeros(len(p), bool)
    behind[order[: int(np.argmin(np.append(passed, False)))]] = True
    return behind, centre
