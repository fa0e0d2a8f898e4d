"""Dimensions one by one, and their effective number: correlations, space similarity, spectra, RankMe.

Per-dimension correlation is computed raw where widths agree, and after a map fitted on one half of the rows and applied
to the other (permutation by assignment, orthogonal, ridge), so that a rotated but faithful student scores well.
Neither measures neighbourhoods: a noise dimension counts as much as one that separates the classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import linalg

from manifold_probe.engine.decompositions import singular_values
from manifold_probe.engine.inputs import as_matrices, as_matrix
from manifold_probe.engine.moments import Moments, moments_of
from manifold_probe.engine.scale import at_unit_scale
from manifold_probe.errors import InputError
from manifold_probe.measures.linear_maps import Half, orthogonal, partners

MAPS = ("permutation", "orthogonal", "ridge")
Sums = tuple  # (n, sx, sy, xx, xy, yy): the rows, and for each dimension of x and its partner of y sums and products


def per_dimension_correlation(x: Any, y: Any) -> np.ndarray:
    """Pearson correlation of each dimension of x with the same dimension of y, shape (d,).

    Range -1 to 1, 1 is good; NaN where a dimension is constant on either side.

    Raises
    ------
    InputError
        Where the widths differ.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> per_dimension_correlation(x, x * [1.0, 5.0, -2.0] + 3).round(6)
    array([ 1.,  1., -1.])
    """
    return correlations(_same_width(x, y))


def space_similarity(x: Any, y: Any) -> np.ndarray:
    """CoSS's space similarity: the uncentred cosine of each column of x with the same column of y, shape (d,).

    Range -1 to 1, 1 is good; NaN where a column is all zero. Large means make it large: compare it with its chance
    value.

    References
    ----------
    Singh & Wang 2024, Simple Unsupervised Knowledge Distillation With Space Similarity.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> space_similarity(x, x * [1.0, 5.0, -2.0]).round(6)
    array([ 1.,  1., -1.])
    """
    return column_cosines(_same_width(x, y))


def rankme(x: Any) -> float:
    """RankMe: the exponential of the entropy of the normalised singular values, uncentred; an effective rank.

    exp(-sum p ln p) with p = sigma / sum sigma + 1e-7. Range 1 to min(n, d). Uninformative directions count too.

    References
    ----------
    Garrido et al. 2023, RankMe, eq. 1.

    Examples
    --------
    >>> import numpy as np
    >>> round(rankme(np.eye(8)), 3)
    8.0
    """
    return effective_rank(singular_values(at_unit_scale(as_matrix(x))))


def effective_rank(singular_values: np.ndarray) -> float:
    """RankMe of singular values (r,); the added 1e-7 would lift r equal ones above r."""
    if not singular_values.sum() > 0:
        return float("nan")
    p = singular_values / singular_values.sum() + 1e-7
    return float(np.clip(np.exp(-np.sum(p * np.log(p))), 1, len(p)))


def _same_width(x: Any, y: Any) -> Moments:
    x, y = as_matrices(x, y)
    if x.shape[1] != y.shape[1]:
        raise InputError(f"x has {x.shape[1]} dimensions and y has {y.shape[1]}; the same width is needed")
    return moments_of(x, y)


def correlations(m: Moments) -> np.ndarray:
    """Per-dimension Pearson correlations (d,) of moments of equal width; NaN for constant dimensions."""
    return _correlation(*_matched(m))


def column_cosines(m: Moments) -> np.ndarray:
    """Uncentred column cosines (d,) of moments of equal width; NaN for zero columns."""
    return _cosine(m.shift_x, m.shift_y, *_matched(m))


def each_without(m: Moments, parts: list[Moments]) -> tuple[np.ndarray, np.ndarray]:
    """`correlations` and `column_cosines` with each part left out, (G, d) each."""
    whole = _matched(m)
    sums_left = [_minus(whole, _matched(part)) for part in parts]
    cosines = [_cosine(m.shift_x, m.shift_y, *sums) for sums in sums_left]
    return np.array([_correlation(*sums) for sums in sums_left]), np.array(cosines)


def column_cosine_chance(m: Moments) -> np.ndarray:
    """Expected column cosines (d,) when rows are paired at random: those of the means alone."""
    _, sx, sy, xx, _, yy = _matched(m)
    return _cosine(m.shift_x, m.shift_y, m.n, sx, sy, xx, sx * sy / m.n, yy)


def spectrum(m: Moments) -> np.ndarray:
    """Singular values (dx,) of the centred teacher, descending."""
    products = m.xx - np.outer(m.sx, m.sx) / m.n
    return np.sqrt(np.maximum(linalg.eigvalsh(products)[::-1], 0))


def effective_ranks(m: Moments, parts: list[Moments]) -> tuple[float, np.ndarray]:
    """RankMe of the teacher from moments, and with each part left out (to first order: eigenvectors are kept)."""
    u = m.shift_x
    raw = m.xx + np.outer(m.sx, u) + np.outer(u, m.sx) + m.n * np.outer(u, u)
    values, vectors = linalg.eigh(raw)
    values, vectors = values[-m.n :], vectors[:, -m.n :]  # n rows have no more; the rest is rounding, which would count
    along = u @ vectors
    without = []
    for part in parts:
        lost = _along(vectors, part.xx) + (2 * part.sx @ vectors + part.n * along) * along
        without.append(effective_rank(np.sqrt(np.maximum(values - lost, 0))))
    return effective_rank(np.sqrt(np.maximum(values, 0))), np.array(without)


def held_out_correlations(both: tuple[Half, Half], kind: str, leave_out: bool) -> tuple[np.ndarray, np.ndarray]:
    """Per-dimension correlations (dx,) after a map fitted on one half and applied to the other, averaged over both.

    With ``leave_out`` also without each group of the half it is applied to, (G, dx), in the order of the parts.
    """
    read, without = [], []
    for half in both:
        mapped = _after_map(half, kind)
        sums = [mapped(part) for part in (half.read if leave_out else [half.read_total])]
        whole = tuple(sum(column[1:], start=column[0]) for column in zip(*sums, strict=True))
        read.append(_correlation(*whole))
        without.append([_correlation(*_minus(whole, part)) for part in sums])
    values = _mean(read[0], read[1])
    if not leave_out:
        return values, np.empty((0, len(values)))
    first = [_mean(w, read[0]) for w in without[1]]  # the second half reads the first half's groups
    second = [_mean(w, read[1]) for w in without[0]]
    return values, np.array(first + second)


def _after_map(half: Half, kind: str) -> Callable[[Moments], Sums]:
    """A function that gives the sums of other rows after the map fitted on the half."""
    if kind == "permutation":
        partner, _ = partners(half.fit_total)
        return lambda m: _matched(m, partner)
    weights = half.ridge if kind == "ridge" else orthogonal(half.fit_total)
    return lambda m: _mapped(m, weights)


def _matched(m: Moments, partner: np.ndarray | None = None) -> Sums:
    """The sums of each dimension of x and the same dimension of y, or its ``partner`` (dx,), -1 for none."""
    at = np.arange(len(m.sx)) if partner is None else partner
    matched = at >= 0
    xy, yy = (np.where(matched, values, 0.0) for values in (m.xy[np.arange(len(at)), at], np.diag(m.yy)[at]))
    return m.n, m.sx, np.where(matched, m.sy[at], 0.0), np.diag(m.xx), xy, yy


def _mapped(m: Moments, weights: np.ndarray) -> Sums:
    """The sums of each dimension of x and the same dimension of y mapped by ``weights`` (dy, dx)."""
    xy = np.einsum("ij,ji->i", m.xy, weights)
    return m.n, m.sx, m.sy @ weights, np.diag(m.xx), xy, _along(weights, m.yy)


def _along(vectors: np.ndarray, products: np.ndarray) -> np.ndarray:
    """v'P v of every column v of V (d, r), P symmetric: from its lower triangle, which is half of the work of P V."""
    lower = linalg.blas.dtrmm(1.0, products.T, vectors, lower=True)
    squares: np.ndarray = 2 * np.einsum("ij,ij->j", vectors, lower) - np.diag(products) @ np.square(vectors)
    return squares


def _minus(whole: Sums, part: Sums) -> Sums:
    return tuple(a - b for a, b in zip(whole, part, strict=True))


def _correlation(n, sx, sy, xx, xy, yy) -> np.ndarray:  # type: ignore[no-untyped-def]
    if n < 2:
        return np.full(len(xx), np.nan)
    var_x, var_y = xx - sx * sx / n, yy - sy * sy / n
    # the rounding error of a constant dimension is not variance
    var_x, var_y = (np.where(v > 1e-12 * np.maximum(raw, 0), v, 0) for v, raw in ((var_x, xx), (var_y, yy)))
    return np.clip(_divide(xy - sx * sy / n, np.sqrt(var_x) * np.sqrt(var_y)), -1, 1)


def _cosine(u, v, n, sx, sy, xx, xy, yy) -> np.ndarray:  # type: ignore[no-untyped-def]
    """From sums about the shifts u and v."""
    xx, yy = (np.maximum(raw, 0) for raw in (xx + 2 * u * sx + n * u * u, yy + 2 * v * sy + n * v * v))
    return np.clip(_divide(xy + u * sy + v * sx + n * u * v, np.sqrt(xx) * np.sqrt(yy)), -1, 1)


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=b > 0)


def _mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The mean of two arrays, or the one that is defined."""
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, (a + b) / 2))


def median(values: np.ndarray) -> float:
    """Median over the defined dimensions, NaN where none is."""
    kept = values[~np.isnan(values)]
    return float(np.median(kept)) if len(kept) else float("nan")
