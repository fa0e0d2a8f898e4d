"""The shape of one space, and lengths, which a cosine does not measure: intrinsic dimension, hubness, norms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from manifold_probe.engine.inputs import as_matrices, as_matrix
from manifold_probe.engine.neighbours import Neighbours
from manifold_probe.engine.scale import at_unit_scale
from manifold_probe.errors import InputError
from manifold_probe.measures.uncertainty import Estimate, jackknife

if TYPE_CHECKING:
    from manifold_probe.measures.from_neighbours import Lists

TWONN_KEPT = 0.9  # of the ratios, as in Facco et al.
MLE_NEIGHBOURS = 20
HUB_SKEWNESS = 1.0  # above, the jackknife's error is right, see `hub_errors`
RELATIVE_PRECISION = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23}


def intrinsic_dimension(x: Any, method: str = "twonn") -> float:
    """Number of directions the data locally spread in, from Euclidean distances to near neighbours.

    - "twonn": with mu = r2 / r1 of each row, the slope through the origin of -ln(1 - F(mu)) over ln mu, F the empirical
      distribution, the largest tenth left out.
    - "mle": 1 / mean of ln(T_20 / T_j) over rows and j < 20 (T_j the j-th distance; fewer where n is small).

    Rows at distance 0 are not counted as neighbours. Invariant to rotation, offset and one global scale. Both estimates
    are too low in high dimensions at any practical n: use them to compare two spaces, not as absolute values.

    Raises
    ------
    InputError
        Where the method is not known or fewer than three distinct rows exist.

    References
    ----------
    Facco et al. 2017, Estimating the intrinsic dimension of datasets by a minimal neighborhood information; Levina &
    Bickel 2004 with the averaging of MacKay & Ghahramani 2005.

    Examples
    --------
    >>> import numpy as np
    >>> plane = np.random.default_rng(0).uniform(size=(2000, 2)) @ np.array([[1.0, 0, 1], [0, 1, 1]])
    >>> 1.8 < intrinsic_dimension(plane) < 2.2
    True
    """
    x = as_matrix(x)
    if method not in ("twonn", "mle"):
        raise InputError(f"method {method!r} is not known; give 'twonn' or 'mle'")
    k = min(len(x) - 1, MLE_NEIGHBOURS if method == "mle" else 2)
    neighbours = Neighbours.search(at_unit_scale(x), k, "euclidean")
    dimension = twonn(neighbours.distances) if method == "twonn" else maximum_likelihood(neighbours.distances[:, :k])
    if not np.isfinite(dimension):
        raise InputError(
            "x has too few distinct rows for an intrinsic dimension; give at least three, not all equidistant"
        )
    return dimension


def twonn(distances: np.ndarray) -> float:
    """TwoNN from ascending squared distances (q, w >= 2); rows with fewer than two positive distances are left out."""
    if distances.shape[1] < 2:
        return float("nan")
    positive = np.where(distances > 0, distances, np.inf)
    nearest = np.partition(positive, 1, axis=1)[:, :2]
    nearest = nearest[np.isfinite(nearest[:, 1])]
    if len(nearest) < 2:
        return float("nan")
    log_ratio = np.sort(np.log(nearest[:, 1] / nearest[:, 0]) / 2)
    kept = int(len(log_ratio) * TWONN_KEPT)
    log_ratio = log_ratio[:kept]
    tail = -np.log1p(-np.arange(1, kept + 1) / len(nearest))
    power = log_ratio @ log_ratio
    return float(log_ratio @ tail / power) if power > 0 else float("nan")


def maximum_likelihood(distances: np.ndarray) -> float:
    """Levina-Bickel estimate from ascending squared distances (q, k), inverses averaged over rows."""
    positive = np.where(distances > 0, distances, np.nan)
    logs = np.log(positive[:, -1:] / positive[:, :-1]) / 2
    mean = np.nanmean(logs) if np.isfinite(logs).any() else 0.0
    return float(1 / mean) if mean > 0 else float("nan")


def hubness_skewness(x: Any, k: int = 10) -> float:
    """Skewness of how often each row is among the k nearest (cosine) of the others.

    0 means evenly; above about 1 a few rows ("hubs") fill many neighbourhoods, which hurts retrieval.

    References
    ----------
    Radovanovic et al. 2010, Hubs in Space, eq. 1.

    Examples
    --------
    >>> import numpy as np
    >>> ring = np.exp(2j * np.pi * np.arange(12) / 12)
    >>> hubness_skewness(np.stack([ring.real, ring.imag], 1), k=2)
    0.0
    """
    neighbours = Neighbours.search(as_matrix(x), k)
    return skewness(occurrences(neighbours), neighbours.n)


def skewness(counts: np.ndarray, queries: int) -> float:
    """Skewness of the k-occurrences (n,) of n rows, counted over the neighbours of ``queries`` of them.

    Where only some rows are queries the counts are thinned. Thinning only scales factorial moments (by
    queries_(r) / n_(r)), so that those of the full counts follow.
    """
    n = len(counts)
    mean = counts.sum() / queries
    pairs = (counts * (counts - 1)).mean() * n * (n - 1) / (queries * max(queries - 1, 1))
    triples = (counts * (counts - 1) * (counts - 2)).mean()
    triples *= n * (n - 1) * (n - 2) / (queries * max(queries - 1, 1) * max(queries - 2, 1))
    variance = pairs + mean - mean**2
    third = triples + 3 * pairs + mean - 3 * mean * (pairs + mean) + 2 * mean**3
    if variance <= 1e-12 * mean:
        return 0.0 if queries == n else float("nan")
    return float(third / variance**1.5)


def occurrences(neighbours: Neighbours) -> np.ndarray:
    """How often each of the n rows (n,) is among the queries' neighbours, by the shares they hold."""
    present = neighbours.members >= 0
    return np.bincount(neighbours.members[present], neighbours.weights[present], minlength=neighbours.n)


def hub_errors(lists: Lists, side: str, estimate: Estimate) -> Estimate:
    """The skewness of k-occurrences with the error of halves or, where hubs decide it and it is larger, a jackknife's.

    A half contains such a hub or not: there halves give .6 to .75 of the error (n = 200 and 400, an offset of five
    deviations), the grouped jackknife .97 to 1.05. Below a skewness of 1 the jackknife is wrong (1.5 to 2.4 times).
    """
    if lists.sparse or not (estimate.value or 0.0) > HUB_SKEWNESS:
        return estimate
    left_out = [skewness(*counted) for counted in lists.occurrences_without(side)]
    from_jackknife = jackknife(estimate.value or 0.0, np.array(left_out))
    return max(estimate, from_jackknife, key=lambda candidate: candidate.standard_error or 0.0)


def hubness_note(lists: Lists, value: float | None) -> str | None:
    """A note on hubness where not all rows are queries."""
    query_count, n = len(lists.queries), lists.n
    if query_count == n:
        return None
    if value is None:
        return f"{query_count:,} queries are too few of {n:,} rows for it"
    return f"from {query_count:,} of {n:,} queries, corrected for thinning"


def norm_correlation(x: Any, y: Any) -> float:
    """Pearson correlation of the raw row norms |x_i| and |y_i|, which a cosine does not measure.

    Range -1 to 1, higher is better; NaN where a space's norms are all equal but for the rounding of its type. Sensitive
    to offsets.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> round(norm_correlation(x, 3 * x[:, ::-1]), 6)
    1.0
    """
    norms = norms_of(*as_matrices(x, y))
    if any(of_one_length(lengths, dtype_of(given)) for lengths, given in zip(norms, (x, y), strict=True)):
        return float("nan")
    return pearson(*norms)


def dtype_of(x: Any) -> str:
    """The type of an array or tensor by name, such as "float32"."""
    return str(getattr(x, "dtype", "float64")).removeprefix("torch.")


def of_one_length(norms: np.ndarray, dtype: str) -> bool:
    """Whether lengths (n,) differ by no more than the rounding of rows of this type: only noise would be correlated."""
    return float(np.ptp(norms)) <= 4 * RELATIVE_PRECISION.get(dtype, 1e-12) * float(norms.max())


def norms_of(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lengths (n,) of the rows of two spaces, each at unit scale."""
    x, y = map(at_unit_scale, (x, y))
    return np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation of two vectors (n,); NaN where one is constant."""
    u, v = a - a.mean(), b - b.mean()
    if np.abs(u).max() <= 1e-12 * np.abs(a).max() or np.abs(v).max() <= 1e-12 * np.abs(b).max():
        return float("nan")
    return float(np.clip(u @ v / (np.sqrt(u @ u) * np.sqrt(v @ v)), -1, 1))


def equal_norms(sides: Sequence[str]) -> str | None:
    """Why lengths have no correlation: the spaces whose rows all have the same length; None where there are none."""
    return f"the rows of the {' and of the '.join(sides)} all have the same length" if sides else None
