"""Intervals from deviations.

Every estimator of error used here ends in a vector e with standard error |e|_2:

- grouped jackknife, G groups: e_g = sqrt((G - 1) / G) (theta_(-g) - mean theta_(-.)), t with G - 1 degrees;
- half-splits, S random halvings into a and b: e_s = (theta_a - theta_b) / (2 sqrt(S)), t with S - 1 degrees (over
  fresh samples the standard error of 40 halvings varies by .10 to .12, as one of 35 to 45 degrees does);
- query sampling, Q queries: e_i = (theta_i - mean) / sqrt(Q (Q - 1)).

Measured coverage of the nominal 95% (experiments/coverage; n = 200, 1,000 and 5,000, Gaussian and heavy-tailed, sorted
files too): CKA 91 to 99%, overlap 93 to 99%, k-NN agreement 93 to 97%, R2 95 to 98%, each figure with a standard error
of 1 to 3 points. Less exact: hubness 85 to 97%, trustworthiness and continuity (whose errors use the dependence
measured in the overlap) 90 to 98%; medians over few dimensions are wide, 92 to 99%.

Shares of votes near 0 or 1 have at least the error of independent rows, p taken as (n p + 1) / (n + 2): halves in which
all rows agree show no error (coverage of an agreement of .995 at n = 300 was 78% without this).

Without labels the class measures use k-means clusters of the teacher: their intervals hold for these clusters, not for
those of another sample (for which coverage was 83% for agreement).

Where rows are so heavy-tailed that squared distances have no variance (Student-t rows of three degrees of freedom), the
jackknife's errors are widened, see `tail_factor`: coverage of linear CKA rises from 74 to 95% at n = 3,000, but only
from 68 to 82% at n = 200, where the tail cannot be estimated from twenty far rows.

Two students measured on the same groups, halvings or queries have paired vectors, so the difference of two values has
deviations e_A - e_B and its interval follows by the same rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

CONFIDENCE = 0.95
FEWEST_GROUPS = 5  # below, a grouped jackknife gives no interval
TAIL, MIN_TAIL_ROWS = 10, 5  # the tail is one row in ten
MIN_TAIL_INDEX = 1.05  # at 1 there is no mean


@dataclass(frozen=True)
class Estimate:
    """A value, the deviations whose norm is its standard error, and the degrees of freedom of its t interval.

    ``value`` None means undefined; ``deviations`` None means no interval.
    """

    value: float | None
    deviations: np.ndarray | None = field(default=None, compare=False)
    degrees: float = float("inf")
    bounds: tuple[float, float] = (-float("inf"), float("inf"))
    confidence: float = CONFIDENCE

    @property
    def standard_error(self) -> float | None:
        """Standard error, or None without an interval."""
        if self.value is None or self.deviations is None:
            return None
        return float(np.linalg.norm(self.deviations))

    @property
    def low(self) -> float | None:
        """Lower end of the interval, never below the measure's lower bound."""
        error = self._half_width()
        return None if error is None or self.value is None else min(self.value, max(self.value - error, self.bounds[0]))

    @property
    def high(self) -> float | None:
        """Upper end of the interval, never above the measure's upper bound."""
        error = self._half_width()
        return None if error is None or self.value is None else max(self.value, min(self.value + error, self.bounds[1]))

    def _half_width(self) -> float | None:
        error = self.standard_error
        if error is None:
            return None
        from scipy.special import stdtrit

        degrees = min(self.degrees, 1e9)
        return float(stdtrit(degrees, 0.5 + self.confidence / 2)) * error

    def widened(self, factor: float) -> Estimate:
        """The same value with its standard error multiplied."""
        deviations = None if self.deviations is None else self.deviations * factor
        return Estimate(self.value, deviations, self.degrees, self.bounds, self.confidence)

    def at_least(self, error: float) -> Estimate:
        """The same value with a standard error of at least ``error``."""
        current = self.standard_error
        if current is None or self.deviations is None or current >= error:
            return self
        if current > 0:
            return self.widened(error / current)
        deviations = np.zeros(len(self.deviations))
        deviations[0] = error
        return Estimate(self.value, deviations, self.degrees, self.bounds, self.confidence)

    def minus(self, other: Estimate) -> Estimate:
        """The paired difference self - other, with the interval of the difference.

        Deviations of the same length come from the same groups, halvings or queries and are subtracted one by one;
        otherwise the two are treated as independent and the errors add in quadrature, which is wider.
        """
        if self.value is None or other.value is None:
            return Estimate(None)
        mine, theirs = self.deviations, other.deviations
        if mine is None or theirs is None:
            return Estimate(self.value - other.value)
        together = mine - theirs if mine.shape == theirs.shape else np.concatenate([mine, theirs])
        bounds = (self.bounds[0] - other.bounds[1], self.bounds[1] - other.bounds[0])
        return Estimate(self.value - other.value, together, min(self.degrees, other.degrees), bounds)


def error_of_share(share: float, n: int) -> float:
    """Standard error of a share of n independent rows, which is not zero where the share is 0 or 1 (Laplace)."""
    p = (n * share + 1) / (n + 2)
    return float(np.sqrt(p * (1 - p) / n))


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's interval (1927) of a share of n independent rows, which stays within 0 and 1 also for few of them.

    >>> [round(end, 3) for end in wilson(1.0, 10)]
    [0.722, 1.0]
    """
    from scipy.special import ndtri

    weight = float(ndtri(0.5 + CONFIDENCE / 2)) ** 2 / n
    middle = (share + weight / 2) / (1 + weight)
    half = float(np.sqrt(weight * (share * (1 - share) + weight / 4))) / (1 + weight)
    return middle - half, middle + half


def jackknife(value: float, left_out: np.ndarray, bounds: tuple[float, float] = (-np.inf, np.inf)) -> Estimate:
    """Grouped jackknife: ``left_out`` (G,) holds the statistic without each group in turn."""
    groups = len(left_out)
    deviations = np.sqrt((groups - 1) / groups) * (left_out - left_out.mean())
    return Estimate(float(value), deviations, groups - 1, bounds)


def tail_index(powers: np.ndarray) -> float:
    """The tail index of squared distances (n,): P(power > t) falls as t^-index; infinite without a tail.

    Hill's estimate (1975) from the farthest tenth of the rows; its standard error is index / sqrt(n / 10).
    """
    falling, count = np.sort(powers)[::-1], len(powers) // TAIL
    if count < MIN_TAIL_ROWS or not falling[count] > 0:
        return float("inf")
    logs = float(np.log(falling[:count] / falling[count]).mean())
    return 1 / logs if logs > 0 else float("inf")


def tail_factor(index: float, groups: int) -> float:
    """The factor by which a jackknife over ``groups`` groups underestimates the error, for a tail index of squared
    distances.

    Below an index of 2 squared distances have no variance, and their mean over n rows spreads as n^(1/index - 1)
    instead of n^(-1/2) (a stable law). Groups hold n / groups rows, so the error is too small by
    groups^(1/index - 1/2).
    """
    return float(groups ** max(1 / max(index, MIN_TAIL_INDEX) - 0.5, 0.0))


def half_splits(value: float, differences: np.ndarray, bounds: tuple[float, float] = (-np.inf, np.inf)) -> Estimate:
    """Random halvings: ``differences`` (S,) holds theta_a - theta_b for each halving."""
    splits = len(differences)
    return Estimate(float(value), differences / (2 * np.sqrt(splits)), splits - 1, bounds)


def over_queries(value: float, terms: np.ndarray, bounds: tuple[float, float] = (-np.inf, np.inf)) -> Estimate:
    """Mean over sampled queries: ``terms`` (Q,) holds one term a query."""
    queries = len(terms)
    deviations = (terms - terms.mean()) / np.sqrt(queries * max(queries - 1, 1))
    return Estimate(float(value), deviations, max(queries - 1, 1), bounds)
