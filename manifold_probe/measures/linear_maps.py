"""Linear maps from one space to another, from the moments of their paired rows alone.

Rows y (n, dy), the student's, are mapped onto rows x (n, dx), the teacher's, by (y - mean of y) W + mean of x. With the
centred products X'Y and Y'Y,

    ridge         W = (Y'Y + a I)^-1 Y'X = V (V'Y'X / (s + a)),  Y'Y = V diag(s) V'
    orthogonal    W = V U',  X'Y = U diag(s) V': the rotation that brings y nearest to x (Procrustes)
    low rank      W R R', R the r directions in which the mapped rows y W vary most (reduced-rank regression)
    permutation   every dimension of y moves to the dimension of x that it correlates with, one to one

and the squared errors on other rows follow from their moments, with products about the means that W was fitted with:

    E = tr X'X - 2 <W, Y'X> + <W W', Y'Y>

A map of many dimensions fits noise, so that it is fitted on one half of the rows and evaluated on the other: see
`halves`. The strength a of a ridge map is chosen by its errors on held-out groups of the training half
(`held_out_strength`), or by generalised cross-validation, which needs no groups (`generalised_ridge`).
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import linalg, optimize

from manifold_probe.engine.decompositions import svd
from manifold_probe.engine.moments import Moments, total

HELD_OUT_STRENGTHS = 10.0 ** np.arange(-8, 5)  # over y's mean variance; the strongest maps everything to the mean
GENERALISED_STRENGTHS = np.logspace(-6, 1, 22)  # over the largest eigenvalue
MIN_FREE_SHARE = 0.2  # of free rows: below, generalised cross-validation divides two numbers that are nearly 0
MIN_EIGENVALUE = 1e-10  # of the largest: below, a direction is rounding error
MIN_DEVIATION = 1e-12  # of the largest: below, a dimension is constant


class Basis(NamedTuple):
    """Centred rows y = U diag(s)^(1/2) V': ``values`` s (r,), ``vectors`` V (dy, r), ``left`` U (n, r)."""

    values: np.ndarray
    vectors: np.ndarray
    left: np.ndarray

    def of(self, x: np.ndarray) -> RidgePath:
        """The ridge maps from these rows to centred rows x (n, dx)."""
        return RidgePath(self.values, self.vectors, np.sqrt(self.values)[:, None] * (self.left.T @ x))


class RidgePath(NamedTuple):
    """The ridge maps of one sample for every strength: after one decomposition each is a division.

    ``values`` (r,) are s, ``vectors`` (dy, r) are V and ``products`` (r, dx) are V'Y'X.
    """

    values: np.ndarray
    vectors: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, m: Moments) -> RidgePath:
        """From moments."""
        _, xy, yy = m.covariance
        values, vectors = linalg.eigh(yy)
        return cls(np.maximum(values, 0), vectors, vectors.T @ xy.T)

    @classmethod
    def of_rows(cls, x: np.ndarray, y: np.ndarray) -> RidgePath:
        """From centred rows (n, dx) and (n, dy)."""
        return cls.basis(y).of(x)

    @staticmethod
    def basis(y: np.ndarray) -> Basis:
        """The decomposition of centred rows y (n, dy); for few rows from their products, YY' = U diag(s) U'."""
        few = len(y) <= y.shape[1]
        values, vectors = linalg.eigh(y @ y.T if few else y.T @ y)
        kept = values > MIN_EIGENVALUE * values[-1]
        lengths = np.sqrt(np.maximum(values[kept], 1e-300))
        if few:
            left = vectors[:, kept]
            return Basis(values[kept], y.T @ (left / lengths), left)
        return Basis(values[kept], vectors[:, kept], y @ (vectors[:, kept] / lengths))

    def determined(self) -> RidgePath:
        """The maps without the directions of y that are rounding error."""
        kept = self.values > MIN_EIGENVALUE * self.values[-1]
        return RidgePath(self.values[kept], self.vectors[:, kept], self.products[kept])

    def weights(self, strength: float) -> np.ndarray:
        """The map (dy, dx)."""
        return self.vectors @ (self.products / (self.values + strength)[:, None])

    def generalised_strength(self, n: int, squares: float) -> float:
        """The strength with the lowest generalised cross-validation |x - x^|^2 / (free rows)^2 (Golub et al. 1979).

        ``n`` rows whose x has ``squares`` = tr X'X; 0 where y does not vary.
        """
        if not len(self.values):
            return 0.0
        strengths = GENERALISED_STRENGTHS * self.values.max()
        power = np.square(self.products).sum(1) / self.values
        shrink = self.values / (self.values + strengths[:, None])
        residual = squares - (2 * shrink - shrink**2) @ power
        free = 1 - (shrink.sum(1) + 1) / n
        scores = np.divide(residual, free**2, out=np.full(len(free), np.inf), where=free > MIN_FREE_SHARE)
        return float(strengths[int(np.argmin(scores))])


def generalised_ridge(m: Moments) -> np.ndarray:
    """The ridge map (dy, dx) of the strength that generalised cross-validation chooses; 0 where y does not vary."""
    path = RidgePath.of(m).determined()
    return path.weights(path.generalised_strength(m.n, m.variances[0]))


def ridge(m: Moments, strength: float) -> np.ndarray:
    """The ridge map (dy, dx) of a strength above 0."""
    _, xy, yy = m.covariance
    return linalg.cho_solve(_factor(yy, strength), xy.T)


def _factor(yy: np.ndarray, strength: float) -> tuple:
    return linalg.cho_factor(yy + strength * np.eye(len(yy)))


def held_out_strength(fit: list[Moments]) -> float:
    """The ridge strength chosen inside a training half: fitted on half of its groups, evaluated on the other."""
    middle = (len(fit) + 1) // 2
    if middle == len(fit):
        return 1e-6 * _mean_square(total(fit))
    train, test = total(fit[:middle]), total(fit[middle:])
    path = RidgePath.of(train)
    xy, yy = _about(test, train)
    gains = np.einsum("ij,ij->i", path.products, path.vectors.T @ xy.T)
    costs = (path.vectors.T @ yy @ path.vectors) * (path.products @ path.products.T)
    shrunk = [1 / (path.values + strength) for strength in HELD_OUT_STRENGTHS * _mean_square(train)]
    errors = [f @ costs @ f - 2 * f @ gains for f in shrunk]
    return float(HELD_OUT_STRENGTHS[int(np.argmin(errors))] * _mean_square(total(fit)))


def reduced_rank(fit: list[Moments], kept: float) -> tuple[np.ndarray, int]:
    """The ridge map (dy, dx) of rank r, and r: the fewest directions that explain a share ``kept`` of what all do.

    What directions explain is read on the second half of the groups with the map of the first: tr X'X less the errors
    is the sum over directions v of 2 v'W'Y'X v - v'W'Y'Y W v.
    """
    middle = max((len(fit) + 1) // 2, 1)
    train, test = total(fit[:middle]), total(fit[middle:] or fit)
    weights, turned = _principal(train)
    xy, yy = _about(test, train)
    mapped = weights @ turned
    explained = 2 * np.einsum("ij,ij->j", mapped, xy.T @ turned) - np.einsum("ij,ij->j", mapped, yy @ mapped)
    sums = np.cumsum(explained)
    rank = 1 + int(np.argmax(sums >= kept * sums.max())) if sums.max() > 0 else 1
    weights, turned = _principal(total(fit))
    return weights @ turned[:, :rank] @ turned[:, :rank].T, rank


def _principal(m: Moments) -> tuple[np.ndarray, np.ndarray]:
    """The ridge map W (dy, dx), and the directions (dx, dx) of x in which y W varies, the most first."""
    weights = generalised_ridge(m)
    _, vectors = linalg.eigh(weights.T @ m.covariance[2] @ weights)
    return weights, vectors[:, ::-1]


def _mean_square(m: Moments) -> float:
    """Mean over dimensions of y's sum of squares; never 0."""
    return float(m.variances[1] / len(m.sy)) or 1.0


def _about(m: Moments, centre: Moments) -> tuple[np.ndarray, np.ndarray]:
    """X'Y and Y'Y of m's rows about another sample's means."""
    u, v = centre.sx / centre.n, centre.sy / centre.n
    away_y = m.sy - m.n * v
    return m.xy - np.outer(m.sx, v) - np.outer(u, away_y), m.yy - np.outer(m.sy, v) - np.outer(v, away_y)


def orthogonal(m: Moments) -> np.ndarray:
    """The map (dy, dx) of orthonormal columns (rows, for the narrower x) with the largest <X, Y W>."""
    turn, _ = turn_of(m)
    return turn.T


def turn_of(m: Moments) -> tuple[np.ndarray, float]:
    """U V' (dx, dy) of X'Y = U diag(s) V', and its nuclear norm sum s = <X, Y V U'>."""
    u, values, vt = svd(m.covariance[1])
    return u @ vt, float(values.sum())


def partners(m: Moments, mirrored: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(dx,) dimensions of y, one to one, that together correlate most with those of x, and their correlations (dx,).

    -1 for a dimension of x without a partner. A constant dimension correlates with none. ``mirrored``: correlations
    count by their absolute value.
    """
    xx, xy, yy = m.covariance
    spread_x, spread_y = (_spreads(products) for products in (xx, yy))
    scale = np.outer(spread_x, spread_y)
    correlation = np.divide(xy, scale, out=np.zeros(xy.shape), where=scale > 0)
    rows, columns = optimize.linear_sum_assignment(np.abs(correlation) if mirrored else correlation, maximize=True)
    partner, correlations = np.full(len(xx), -1), np.zeros(len(xx))
    partner[rows], correlations[rows] = columns, correlation[rows, columns]
    return partner, correlations


def _spreads(products: np.ndarray) -> np.ndarray:
    """Square roots of the diagonal; 0 for values that are rounding errors of the largest."""
    spreads = np.sqrt(np.maximum(np.diag(products), 0))
    return np.where(spreads > MIN_DEVIATION * spreads.max(), spreads, 0.0)


class Half:
    """One direction of a cross-fit: the groups on which a map is fitted, those on which it is read, and their sums.

    The ridge map W and its derived quantities are computed on first use.
    """

    def __init__(self, fit: list[Moments], read: list[Moments], fit_total: Moments, read_total: Moments) -> None:
        self.fit, self.read = fit, read
        self.fit_total, self.read_total = fit_total, read_total

    @cached_property
    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Fitted means of x and y, relative to the shift of the moments."""
        return self.fit_total.sx / self.fit_total.n, self.fit_total.sy / self.fit_total.n

    @cached_property
    def strength(self) -> float:
        """Ridge strength chosen inside the training half."""
        return held_out_strength(self.fit)

    @cached_property
    def _system(self) -> tuple:
        return _factor(self.fit_total.covariance[2], self.strength)

    @cached_property
    def ridge(self) -> np.ndarray:
        """Ridge map (dy, dx) fitted on the training half."""
        weights: np.ndarray = linalg.cho_solve(self._system, self.fit_total.covariance[1].T)
        return weights

    @cached_property
    def _square(self) -> np.ndarray:
        """W W' (dy, dy)."""
        square: np.ndarray = self.ridge @ self.ridge.T
        return square

    @cached_property
    def _slope(self) -> tuple[np.ndarray, np.ndarray]:
        """D = A^-1 dE/dW (dy, dx), of the system A that W solves and the errors E on the half that is read; and D W'.

        dE/dW = 2 (Y'Y W - Y'X), products about the fitted means.
        """
        xy, yy = _about(self.read_total, self.fit_total)
        slope = linalg.cho_solve(self._system, 2 * (yy @ self.ridge - xy.T))
        return slope, slope @ self.ridge.T

    def errors(self, m: Moments) -> float:
        """Sum of squared errors of the ridge map on the rows of ``m``."""
        x, y = self.means
        explained = _inner(self._square, m.yy, m.sy, m.sy, m.n, y, y) - 2 * _inner(
            self.ridge.T, m.xy, m.sx, m.sy, m.n, x, y
        )
        return max(explained + self.squares(m), 0.0)  # rounding may be negative where there are no errors

    def squares(self, m: Moments) -> float:
        """Sum of squares of the rows x of ``m`` about the fitted mean."""
        away = m.sx / m.n - self.means[0]
        return m.variances[0] + float(m.n * away @ away)

    def moved(self, group: Moments) -> tuple[float, float]:
        """Changes of `errors` and `squares` of the half that is read, to first order, when the map is fitted without a
        ``group`` of the training half.

        The map changes by -A^-1 (Y'X - Y'Y W) of the group, and the errors by the product of that with dE/dW; the
        fitted means change too.
        """
        (x, y), (slope, slope_square), fit = self.means, self._slope, self.fit_total
        trained = _inner(slope_square, group.yy, group.sy, group.sy, group.n, y, y)
        trained -= _inner(slope.T, group.xy, group.sx, group.sy, group.n, x, y)
        fewer = (fit.sx - group.sx) / (fit.n - group.n), (fit.sy - group.sy) / (fit.n - group.n)
        (errors, squares), (errors_now, squares_now) = (self._of_means(*means) for means in (fewer, self.means))
        return trained + errors - errors_now, squares - squares_now

    def _of_means(self, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        """The parts of `errors` and `squares`, on the half that is read, that come from fitted means."""
        read = self.read_total
        away = read.sx / read.n - x
        residual = away - (read.sy / read.n - y) @ self.ridge
        return float(read.n * residual @ residual), float(read.n * away @ away)


def halves(parts: list[Moments]) -> tuple[Half, Half]:
    """The two directions of a two-fold cross-fit over random groups."""
    middle = (len(parts) + 1) // 2
    first, second = parts[:middle], parts[middle:]
    totals = total(first), total(second)
    return Half(first, second, *totals), Half(second, first, *totals[::-1])


def _inner(a, products, s, t, n, c, d) -> float:  # type: ignore[no-untyped-def]
    """<A, sum (u - c)(v - d)'> of n rows, from P = sum uv', s = sum u and t = sum v."""
    return float(np.vdot(a, products) + n * c @ a @ d - s @ a @ d - c @ a @ t)
