"""Alignment of two spaces, from their moments: CKA, Procrustes and ridge regression.

All are invariant to rotation, to one global scale and to offsets of either space (R2 of the student to any invertible
map, up to its ridge). What they do not see: CKA is quadratic in variance, so a few directions or a few far rows decide
it (Davari 2022, Nguyen 2022); a high Procrustes similarity implies a high CKA but not the converse (Cloos 2024); a
linear map can succeed on noise when dimensions are many, hence the cross-fitting.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from scipy import linalg

from manifold_probe.engine.inputs import as_matrices, check_seed
from manifold_probe.engine.moments import Moments, grouped, moments_of, total
from manifold_probe.engine.rows import random_groups
from manifold_probe.engine.scale import at_unit_scale

RIDGE_GRID = 10.0 ** np.arange(-8, 5)


def linear_cka(x: Any, y: Any) -> float:
    """Linear centred kernel alignment, |X'Y|_F^2 / (|X'X|_F |Y'Y|_F) of the centred matrices.

    Range 0 to 1, higher is better. Biased upwards: independent Gaussians, 768 against 384 dimensions, score .83 at
    n = 100 and .05 at n = 10,000; prefer ``debiased_linear_cka`` or read it beside its chance.

    Parameters
    ----------
    x, y : array-like, shape (n, dx) and (n, dy)

    Raises
    ------
    InputError
        Where shapes or values cannot be used.

    References
    ----------
    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, eq. 5.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> round(linear_cka(x, 3 * x[:, ::-1] + 7), 6)
    1.0
    """
    return cka(moments_of(x, y))


def debiased_linear_cka(x: Any, y: Any) -> float:
    """Linear CKA with the unbiased HSIC estimator in numerator and both norms.

    With K~ = XX' and L~ = YY' with zero diagonals, HSIC_u = [tr(K~L~) + (1'K~1)(1'L~1)/((n-1)(n-2)) -
    2 (1'K~L~1)/(n-2)] / (n(n-3)), taken in its exact feature-space form (no n x n matrix).
    At most 1, 0 in expectation for independent spaces, may be negative; NaN below four rows or where a norm's estimate
    is not positive.

    Parameters
    ----------
    x, y : array-like, shape (n, dx) and (n, dy)

    References
    ----------
    Song et al. 2012, Feature Selection via Dependence Maximization, eq. 5; Nguyen et al. 2021, Do Wide and Deep
    Networks Learn the Same Things?, eq. 3.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> round(debiased_linear_cka(x, 3 * x[:, ::-1] + 7), 6)
    1.0
    """
    return debiased_cka(moments_of(x, y))


def procrustes_similarity(x: Any, y: Any) -> float:
    """Nuclear norm of X'Y over |X|_F |Y|_F, centred: the largest cosine any rotation of y can reach with x.

    Range 0 to 1, higher is better. Its chance is large: independent 768 against 384 dimensions score .55 at n = 1,000.

    Parameters
    ----------
    x, y : array-like, shape (n, dx) and (n, dy)

    References
    ----------
    Williams et al. 2021, Generalized Shape Metrics on Neural Representations; the squared Procrustes distance of unit
    norm matrices is 2 - 2 times this value.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> round(procrustes_similarity(x, 3 * x[:, ::-1] + 7), 6)
    1.0
    """
    return procrustes(moments_of(x, y))


def linear_r2(x: Any, y: Any, seed: int = 0) -> float:
    """Share of x's variance that a ridge map from y predicts on rows it was not fitted on.

    R2 = 1 - sum of squared errors / sum of squares about the other half's mean (what is predicted without y), over both
    halves of a seeded split, all dimensions together (variance-weighted); the ridge strength is chosen inside each
    training half. At most 1, higher is better; about 0 where y tells nothing about x.

    Parameters
    ----------
    x, y : array-like, shape (n, dx) and (n, dy); teacher and student, the map goes from y to x
    seed : int
        Seed of the split.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(200, 4))
    >>> round(linear_r2(x, 3 * x[:, ::-1] + 7), 4)
    1.0
    """
    x, y = map(at_unit_scale, as_matrices(x, y))
    groups, count = random_groups(len(x), check_seed(seed))
    return ridge_r2(halves(grouped(x, y, groups, count)))


def cka(m: Moments) -> float:
    """Biased linear CKA of moments."""
    return _share(_centred_square(m.xy, m.sx, m.sy, m.n), _own_lengths(m))


def _own_lengths(m: Moments) -> float:
    """|X'X| |Y'Y| of the centred matrices; two roots, because the product of the squares may be too large."""
    own = _centred_square(m.xx, m.sx, m.sx, m.n), _centred_square(m.yy, m.sy, m.sy, m.n)
    return float(np.prod(np.sqrt(np.maximum(own, 0.0))))


def _centred_square(products: np.ndarray, u: np.ndarray, v: np.ndarray, n: int) -> float:
    """|A - uv'/n|_F^2 without forming it."""
    return float(np.vdot(products, products) - 2 * u @ products @ v / n + (u @ u) * (v @ v) / n**2)


def cka_chance(m: Moments) -> float:
    """Expected biased linear CKA when one space's rows are permuted: tr(X'X) tr(Y'Y) / ((n - 1) |X'X| |Y'Y|)."""
    return _share(float(np.prod(m.variances)), (m.n - 1) * _own_lengths(m))


def debiased_cka(m: Moments) -> float:
    """Debiased linear CKA of moments."""
    if m.n < 4:
        return float("nan")
    cross = _hsic(m.n, m.xy, m.sx, m.sy, np.trace(m.xx), np.trace(m.yy), m.bx, m.ay, m.ab)
    own_x = _hsic(m.n, m.xx, m.sx, m.sx, np.trace(m.xx), np.trace(m.xx), m.ax, m.ax, m.aa)
    own_y = _hsic(m.n, m.yy, m.sy, m.sy, np.trace(m.yy), np.trace(m.yy), m.by, m.by, m.bb)
    return min(_ratio(cross, np.sqrt(own_x) * np.sqrt(own_y)), 1.0) if own_x > 0 and own_y > 0 else float("nan")


def _hsic(n, xy, sx, sy, trace_x, trace_y, bx, ay, ab) -> float:  # type: ignore[no-untyped-def]
    """n (n - 3) times the unbiased HSIC; the products with a = |x|^2, b = |y|^2 remove the kernels' diagonals."""
    products = np.vdot(xy, xy) - ab
    sums = (sx @ sx - trace_x) * (sy @ sy - trace_y)
    rows = sx @ xy @ sy - sx @ bx - sy @ ay + ab
    return float(products + sums / ((n - 1) * (n - 2)) - 2 * rows / (n - 2))


def procrustes(m: Moments) -> float:
    """Procrustes similarity of moments."""
    return procrustes_of(m.covariance[1], *m.variances)


def procrustes_of(xy: np.ndarray, square_x: float, square_y: float) -> float:
    """Procrustes similarity of a centred X'Y and the spaces' squared Frobenius norms."""
    return _share(linalg.svdvals(xy).sum(), np.sqrt(square_x) * np.sqrt(square_y))


def procrustes_without(m: Moments, parts: list[Moments]) -> np.ndarray:
    """Procrustes similarity with each part left out, to first order in the part: the best rotation is kept."""
    u, _, vt = linalg.svd(m.covariance[1], full_matrices=False)
    rotation = u @ vt
    whole = np.vdot(rotation, m.xy)
    values = []
    for part in parts:
        n, sx, sy = m.n - part.n, m.sx - part.sx, m.sy - part.sy
        aligned = whole - np.vdot(rotation, part.xy) - sx @ rotation @ sy / n
        traces = [np.trace(m.xx) - np.trace(part.xx) - sx @ sx / n, np.trace(m.yy) - np.trace(part.yy) - sy @ sy / n]
        values.append(_share(aligned, float(np.prod(np.sqrt(np.maximum(traces, 0.0))))))
    return np.array(values)


class Half:
    """One direction of a cross-fit: the groups a map is fitted on and those it is read on, and their sums."""

    def __init__(self, fit: list[Moments], read: list[Moments]) -> None:
        self.fit, self.read = fit, read
        self.fit_total, self.read_total = total(fit), total(read)

    @cached_property
    def strength(self) -> float:
        """Ridge strength chosen inside the training half."""
        return ridge_strength(self.fit)

    @cached_property
    def ridge(self) -> np.ndarray:
        """Ridge map (dy, dx) from student to teacher fitted on the training half."""
        return ridge_map(self.fit_total, self.strength)


def halves(parts: list[Moments]) -> tuple[Half, Half]:
    """The two directions of a two-fold cross-fit over random groups."""
    middle = (len(parts) + 1) // 2
    return Half(parts[:middle], parts[middle:]), Half(parts[middle:], parts[:middle])


def ridge_strength(fit: list[Moments]) -> float:
    """Ridge strength chosen inside a training half: fitted on one half of it, read on the other.

    The grid spans twelve decades around the student's mean variance, so that the strongest is no map at all.
    """
    middle = (len(fit) + 1) // 2
    if middle == len(fit):
        return 1e-6 * _scale(total(fit))
    train, test = total(fit[:middle]), total(fit[middle:])
    _, xy, yy = train.covariance
    values, vectors = linalg.eigh(yy)
    fitted = vectors.T @ xy.T
    test_xy, test_yy = _about(test, train)[1:]
    gains = np.einsum("ij,ij->i", fitted, vectors.T @ test_xy.T)
    costs = (vectors.T @ test_yy @ vectors) * (fitted @ fitted.T)
    shrunk = [1 / (np.maximum(values, 0) + strength) for strength in RIDGE_GRID * _scale(train)]
    errors = [f @ costs @ f - 2 * f @ gains for f in shrunk]
    return float(RIDGE_GRID[int(np.argmin(errors))] * _scale(total(fit)))


def ridge_map(m: Moments, strength: float) -> np.ndarray:
    """Ridge map (dy, dx) from the centred student to the centred teacher."""
    _, xy, yy = m.covariance
    return linalg.solve(yy + strength * np.eye(len(yy)), xy.T, assume_a="pos")


def ridge_r2(both: tuple[Half, Half]) -> float:
    """Cross-fitted, variance-weighted R2 over both directions."""
    errors = sum(_squared_errors(half.ridge, half.fit_total, half.read_total) for half in both)
    return 1 - _ratio(errors, sum(_squares(half.fit_total, half.read_total) for half in both))


def ridge_r2_without(both: tuple[Half, Half]) -> np.ndarray:
    """R2 with each group left out in turn, in the order of the parts, to first order in the group.

    Where the group trained, the map W moves by -A^-1 (Y'X - Y'Y W) of the group (A the ridge system), which changes the
    errors E read on the other half by the product with dE/dW = 2 (Y'Y W - Y'X), and the fitted means move; where it was
    read, its own errors go.
    The ridge strengths stay those of the whole.
    """
    errors = sum(_squared_errors(half.ridge, half.fit_total, half.read_total) for half in both)
    squares = sum(_squares(half.fit_total, half.read_total) for half in both)
    left_out = []
    for half, other in (both, both[::-1]):  # a group that `half` is fitted on is one that `other` is read on
        fit, weights = half.fit_total, half.ridge
        _, xy, yy = _about(half.read_total, fit)
        system = fit.covariance[2] + half.strength * np.eye(len(yy))
        slope = linalg.solve(system, 2 * (yy @ weights - xy.T), assume_a="pos")
        slope_square, other_square = slope @ weights.T, other.ridge @ other.ridge.T
        for group in half.fit:
            if min(group.n, fit.n - group.n) < 1:
                left_out.append(float("nan"))
                continue
            fewer = fit - group
            _, xy, yy = _about(group, fit)
            trained = np.vdot(slope_square, yy) - np.vdot(slope.T, xy)
            trained += _offset_errors(weights, fewer, half.read_total) - _offset_errors(weights, fit, half.read_total)
            xx, xy, yy = _about(group, other.fit_total)
            read = np.trace(xx) - 2 * np.vdot(other.ridge.T, xy) + np.vdot(other_square, yy)
            moved = _squares(fewer, half.read_total) - _squares(fit, half.read_total)
            left_squares = squares + moved - _squares(other.fit_total, group)
            left_out.append(1 - _ratio(errors + trained - read, left_squares))
    return np.array(left_out)


def _squared_errors(weights: np.ndarray, fit: Moments, read: Moments) -> float:
    """Sum of squared errors of the map on the rows of ``read``: tr(X'X - 2 W'Y'X + W'Y'YW) about the fitted means."""
    xx, xy, yy = _about(read, fit)
    return float(np.trace(xx) - 2 * np.vdot(weights.T, xy) + np.vdot(weights, yy @ weights))


def _squares(fit: Moments, read: Moments) -> float:
    """Sum of squares of the teacher's rows of ``read`` about the fitted mean."""
    away = read.sx / read.n - fit.sx / fit.n
    return read.variances[0] + float(read.n * away @ away)


def _offset_errors(weights: np.ndarray, fit: Moments, read: Moments) -> float:
    """The part of the squared errors on ``read`` that comes from the fitted means."""
    away = read.sx / read.n - fit.sx / fit.n - (read.sy / read.n - fit.sy / fit.n) @ weights
    return float(read.n * away @ away)


def _about(m: Moments, centre: Moments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of products of m's rows about another sample's means."""
    xx, xy, yy = m.covariance
    u, v = m.sx / m.n - centre.sx / centre.n, m.sy / m.n - centre.sy / centre.n
    return xx + m.n * np.outer(u, u), xy + m.n * np.outer(u, v), yy + m.n * np.outer(v, v)


def _scale(m: Moments) -> float:
    """Mean over dimensions of the student's sum of squares; never 0."""
    return float(m.variances[1] / len(m.sy)) or 1.0


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator > 0 else float("nan")


def _share(numerator: float, denominator: float) -> float:
    """The ratio of what lies between 0 and 1 but for rounding."""
    return float(np.clip(_ratio(numerator, denominator), 0.0, 1.0))
