"""What single classes lose beyond the rest, against a healthy student of the same overlap.

Classes differ in how hard they are: where points lie dense, less noise is enough to exchange neighbours. The healthy
student is the teacher with the residuals of the linear map, each given to another row at random, at the size at which
the other classes keep as much as the student's do. A class falls behind where it keeps less than that student's, more
than the others differ among themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr  # scipy.stats would take half a second to import

from manifold_probe.diagnosis.halves import COSINE, SIDES, Correction, Halves, error_of, the_teacher
from manifold_probe.engine.neighbours import Neighbours
from manifold_probe.engine.rows import sample
from manifold_probe.measures.overlap import intersections

NULL_ROWS = 2000  # that the healthy student is made of
NOISE = (0.5, 1.0, 2.0, 4.0)  # times the linear map's residuals
FEWEST = 5  # queries of a class
NATURAL = 0.03  # least deviation of the overlap over the classes of a healthy student
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
    curves = _by_noise(halves, linear, few)
    found, errors = _class_means(np.concatenate(values), own, usable)
    healthy = [_class_means(curve, known, usable) for curve in curves]
    means, weights = np.array([mean for mean, _ in healthy]), counts[usable] / len(own)
    rest = np.ones(len(usable), bool)
    for _ in range(2):  # the rest is known once the classes that fall behind are
        kept = (means[:, rest] @ weights[rest], found[rest] @ weights[rest])
        size = np.interp(-kept[1], -kept[0], np.arange(len(means)))
        low, part = min(int(size), len(means) - 2), size - min(int(size), len(means) - 2)
        expected = (1 - part) * means[low] + part * means[low + 1]
        error = np.hypot(errors, healthy[low + (part > 0.5)][1])
        behind, centre = _behind(found - expected, error)
        rest = ~behind
    lost = np.where(behind, np.maximum(centre + expected - found, 0), 0) * weights
    order = np.argsort(-lost)[: int(behind.sum())]
    error_of_sum = float(np.linalg.norm((error * weights)[behind]))
    return Behind(float(lost.sum()), error_of_sum, [str(names[usable[place]]) for place in order])


def _by_noise(halves: Halves, linear: Correction, rows: list[np.ndarray]) -> list[np.ndarray]:
    """The overlap of some rows with themselves and more and more of the map's residuals, those of other rows."""
    teacher, image = (
        np.concatenate(halves.corrected(each, rows)) for each in (dict.fromkeys(SIDES, the_teacher), linear)
    )
    left = (teacher - image)[np.random.default_rng([halves.seed, 2]).permutation(len(teacher))]
    k = min(halves.k, len(teacher) - 1)
    exact = Neighbours.search(teacher, k, COSINE, distances=False)
    noisy = [Neighbours.search(teacher + size * left, k, COSINE, distances=False) for size in NOISE]
    return [np.ones(len(teacher)), *(intersections(exact, each) / k for each in noisy)]


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
    better = np.sort(gaps)[::-1][: (len(gaps) + 1) // 2]
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
