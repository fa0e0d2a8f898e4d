"""Intervals of the scores, so that the paired difference of two students can be given: see `measures.uncertainty`.

    a mean over rows                 accuracy, the bank fixed: its standard error over rows
    any other function of rows       AUROC, FPR, recall: random halvings, SE = sqrt(mean of (theta_a - theta_b)^2) / 2

Both sides, and all students, have the same rows and the same halvings, so that deviations can be subtracted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from manifold_probe.engine.rows import HALVING, generator
from manifold_probe.measures.halving import SPLITS
from manifold_probe.measures.uncertainty import Estimate, error_of_share, half_splits, over_queries


def mean_of(scores: np.ndarray, units: np.ndarray | None = None) -> Estimate:
    """The mean of scores (n,) from 0 to 1 of independent rows, such as whether each was classified rightly.

    Rows of one of the ``units`` (n,) are not independent: their mean counts as one.

    >>> estimate = mean_of(np.array([1.0, 1.0, 0.0, 1.0]))
    >>> estimate.value, estimate.high
    (0.75, 1.0)
    """
    if units is None:
        return over_queries(float(scores.mean()), scores, (0.0, 1.0))
    _, units, counts = np.unique(units, return_inverse=True, return_counts=True)
    value = float(scores.mean())
    # a ratio of sums over units: its linear terms have the mean of the whole
    terms = value + (np.bincount(units, scores) - value * counts) / counts.mean()
    return over_queries(value, terms, (0.0, 1.0))


def difference(one: Estimate, other: Estimate, n: int) -> Estimate:
    """The paired difference of two scores of the same n rows, no narrower than with one more row for each of the two.

    Of good students few rows differ, and where none does their spread is zero though the next row might.

    >>> gap = difference(mean_of(np.ones(50)), mean_of(np.ones(50)), 50)
    >>> gap.value, round(gap.high, 3)
    (0.0, 0.055)
    """
    gap = one.minus(other)
    error = gap.standard_error
    if error is None:
        return gap
    return gap.at_least(float(np.sqrt((error**2 * n * (n - 1) + 2) / ((n + 1) * (n + 2)))))


def ends(estimate: Estimate, n: int) -> tuple[float | None, float | None]:
    """The ends of a score's interval, no narrower than that of a share of n rows, which at 0 or 1 has no spread.

    >>> [round(end, 2) for end in ends(mean_of(np.ones(50)), 50)]
    [0.96, 1.0]
    """
    if estimate.value is not None:
        estimate = estimate.at_least(error_of_share(estimate.value, n))
    return estimate.low, estimate.high


def of_halves(
    score: Callable[[np.ndarray], float], kinds: np.ndarray, seed: int = 0, units: np.ndarray | None = None
) -> Estimate:
    """A score of rows, a function of a mask (n,), with its interval from random halvings.

    Rows of each of the ``kinds`` (n,) are halved on their own, and those of one of the ``units`` (n,) stay together.
    There is no interval if a kind has a single one.
    """
    if units is not None:
        _, units = np.unique(units, return_inverse=True)
        first = np.unique(units, return_index=True)[1]
        whole = score
        score, kinds = (lambda mask: whole(mask[units])), kinds[first]
    groups = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
    value = float(score(np.ones(len(kinds), dtype=bool)))
    if min(map(len, groups)) < 2:
        return Estimate(value)
    rng = generator(seed, HALVING)
    differences = []
    for _ in range(SPLITS):
        half = np.zeros(len(kinds), dtype=bool)
        for rows in groups:
            half[rng.permutation(rows)[: len(rows) // 2]] = True
        differences.append(score(half) - score(~half))
    return half_splits(value, np.array(differences), (0.0, 1.0))
