"""Alignment of two spaces, from their moments: CKA, Procrustes and ridge regression.

All are invariant to rotation, to one global scale and to offsets of either space (R2 also to any invertible map of the
student, up to its ridge). Limits: CKA is quadratic in variance, so a few directions or a few far rows decide it (Davari
2022, Nguyen 2022); a high Procrustes similarity implies a high CKA but not the converse (Cloos 2024); a linear map can
succeed on noise when dimensions are many, hence the cross-fitting.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.engine.decompositions import singular_values
from manifold_probe.engine.inputs import as_matrices, check_seed
from manifold_probe.engine.moments import Moments, grouped, moments_of
from manifold_probe.engine.rows import random_groups
from manifold_probe.engine.scale import at_unit_scale
from manifold_probe.measures.linear_maps import Half, halves, turn_of

MIN_SHARE_LEFT = 0.01  # of a sum of squares: below, the rounding of the difference is no longer small


def linear_cka(x: Any, y: Any) -> float:
    """Linear centred kernel alignment, |X'Y|_F^2 / (|X'X|_F |Y'Y|_F) of the centred matrices.

    Range 0 to 1, higher is better. Biased upwards: independent Gaussians, 768 and 384 dimensions, score .83 at n = 100
    and .05 at n = 10,000; prefer ``debiased_linear_cka`` or compare it with its chance value.

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

    Range 0 to 1, higher is better. Its chance value is large: independent Gaussians, 768 and 384 dimensions, score .55
    at n = 1,000.

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

    R2 = 1 - sum of squared errors / sum of squares about the other half's mean (the prediction without y), over both
    halves of a seeded split, all dimensions together (variance-weighted); the ridge strength is chosen inside each
    training half. At most 1, higher is better; about 0 where y holds no linear information about x.

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
    return _cka(m.n, _terms(m))


def debiased_cka(m: Moments) -> float:
    """Debiased linear CKA of moments."""
    return _debiased(m.n, _terms(m)) if m.n else float("nan")


def ckas_without(m: Moments, parts: list[Moments]) -> tuple[np.ndarray, np.ndarray]:
    """Biased and debiased linear CKA, (G,) each, with each part left out."""
    whole = _products(m)
    squares = [float(np.vdot(p, p)) for p, *_ in whole]
    left_out = [(m.n - part.n, list(map(_squared_without, squares, whole, _products(part)))) for part in parts]
    return np.array([_cka(*terms) for terms in left_out]), np.array([_debiased(*terms) for terms in left_out])


def cka_chance(m: Moments) -> float:
    """Expected biased linear CKA when one space's rows are permuted: tr(X'X) tr(Y'Y) / ((n - 1) |X'X| |Y'Y|)."""
    return _share(float(np.prod(m.variances)), (m.n - 1) * _self_norms(m.n, _terms(m)))


def _products(m: Moments) -> tuple[tuple, tuple, tuple]:
    """(P, s, t, sum a, sum b, sum bu, sum av, sum ab) of P = X'X, X'Y and Y'Y.

    P = sum uv', s = sum u and t = sum v of the rows, a = |u|^2 and b = |v|^2: all that HSIC needs.
    """
    x, y = np.trace(m.xx), np.trace(m.yy)
    return (
        (m.xx, m.sx, m.sx, x, x, m.ax, m.ax, m.aa),
        (m.xy, m.sx, m.sy, x, y, m.bx, m.ay, m.ab),
        (m.yy, m.sy, m.sy, y, y, m.by, m.by, m.bb),
    )


def _terms(m: Moments) -> list[tuple]:
    return [_squared(*products) for products in _products(m)]


def _squared(p: np.ndarray, s: np.ndarray, t: np.ndarray, *rest: Any) -> tuple:
    """The same with |P|_F^2 and s'P t in place of P."""
    return np.vdot(p, p), s @ p @ t, s, t, *rest


def _squared_without(square: float, products: tuple, part_products: tuple) -> tuple:
    """`_squared` of the whole less the part: |P - Q|^2 = |P|^2 - 2 <P, Q> + |Q|^2, without forming P - Q.

    Where the part holds nearly all of |P|^2, as one with a far row does, P - Q is formed: the rounding of |P|^2 would
    be large relative to the difference.
    """
    (p, *sums), (q, *part_sums) = products, part_products
    sums_left = [total - taken for total, taken in zip(sums, part_sums, strict=True)]
    square_left = square - 2 * np.vdot(p, q) + np.vdot(q, q)
    if square_left < MIN_SHARE_LEFT * square:
        return _squared(p - q, *sums_left)
    s, t = sums_left[:2]
    return square_left, s @ p @ t - s @ q @ t, *sums_left


def _centred_square(n: int, square: float, between: float, s: np.ndarray, t: np.ndarray, *_: Any) -> float:
    """|P - st'/n|_F^2 without forming it."""
    return float(square - 2 * between / n + (s @ s) * (t @ t) / n**2)


def _hsic(n, square, between, s, t, sum_a, sum_b, bu, av, ab) -> float:  # type: ignore[no-untyped-def]
    """n (n - 3) times the unbiased HSIC; the products with a and b remove the kernels' diagonals."""
    corner = (s @ s - sum_a) * (t @ t - sum_b) / ((n - 1) * (n - 2))
    return float(square - ab + corner - 2 * (between - s @ bu - t @ av + ab) / (n - 2))


def _cka(n: int, products: list[tuple]) -> float:
    return _share(_centred_square(n, *products[1]), _self_norms(n, products))


def _self_norms(n: int, products: list[tuple]) -> float:
    """|X'X| |Y'Y| of the centred matrices; two roots, because the product of the squares may be too large."""
    squares = [_centred_square(n, *terms) for terms in (products[0], products[2])]
    return float(np.prod(np.sqrt(np.maximum(squares, 0.0))))


def _debiased(n: int, products: list[tuple]) -> float:
    if n < 4:
        return float("nan")
    xx, xy, yy = (_hsic(n, *terms) for terms in products)
    return min(_ratio(xy, np.sqrt(xx) * np.sqrt(yy)), 1.0) if xx > 0 and yy > 0 else float("nan")


def procrustes(m: Moments) -> float:
    """Procrustes similarity of moments."""
    return procrustes_of(m.covariance[1], *m.variances)


def procrustes_of(xy: np.ndarray, square_x: float, square_y: float) -> float:
    """Procrustes similarity of a centred X'Y and the spaces' squared Frobenius norms."""
    return _share(singular_values(xy).sum(), np.sqrt(square_x) * np.sqrt(square_y))


def procrustes_jackknifed(m: Moments, parts: list[Moments]) -> tuple[float, np.ndarray]:
    """Procrustes similarity, and with each part left out (G,) to first order in the part: the best rotation is kept."""
    turn, reached = turn_of(m)
    whole = np.vdot(turn, m.xy)
    values = []
    for part in parts:
        n, sx, sy = m.n - part.n, m.sx - part.sx, m.sy - part.sy
        aligned = whole - np.vdot(turn, part.xy) - sx @ turn @ sy / n
        traces = [np.trace(m.xx) - np.trace(part.xx) - sx @ sx / n, np.trace(m.yy) - np.trace(part.yy) - sy @ sy / n]
        values.append(_share(aligned, float(np.prod(np.sqrt(np.maximum(traces, 0.0))))))
    return _share(reached, float(np.prod(np.sqrt(m.variances)))), np.array(values)


def ridge_r2(both: tuple[Half, Half]) -> float:
    """Cross-fitted, variance-weighted R2 over both directions."""
    errors, squares = _errors_and_squares(both)
    return 1 - _ratio(errors, squares)


def _errors_and_squares(both: tuple[Half, Half]) -> tuple[float, float]:
    return sum(half.errors(half.read_total) for half in both), sum(half.squares(half.read_total) for half in both)


def ridge_r2_without(both: tuple[Half, Half]) -> np.ndarray:
    """R2 with each group left out in turn, in the order of the parts, to first order in the group.

    A group on which one half is fitted is one on which the other is evaluated: there its errors are subtracted. The
    ridge strengths stay those of the whole.
    """
    errors, squares = _errors_and_squares(both)
    left_out = []
    for half, other in (both, both[::-1]):
        for group in half.fit:
            if min(group.n, half.fit_total.n - group.n) < 1:
                left_out.append(float("nan"))
                continue
            moved, moved_squares = half.moved(group)
            sums_left = errors + moved - other.errors(group), squares + moved_squares - other.squares(group)
            left_out.append(1 - _ratio(*sums_left))
    return np.array(left_out)


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator > 0 else float("nan")


def _share(numerator: float, denominator: float) -> float:
    """A ratio that lies between 0 and 1 up to rounding."""
    return float(np.clip(_ratio(numerator, denominator), 0.0, 1.0))
