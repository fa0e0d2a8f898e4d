"""Neighbourhoods of two spaces against each other: overlap, Jaccard, trustworthiness, continuity.

All are invariant to rotation and one global scale; cosine ones also to a scale per row, Euclidean ones to offsets.
They measure which rows are near, not how near: stretched space between clusters does not change them. Overlap falls as
rows are added (more candidates for the same k places), so n and k belong to every value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import gammaln

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.inputs import as_matrices, check_k, check_metric
from manifold_probe.engine.neighbours import Neighbours
from manifold_probe.engine.ranks import places
from manifold_probe.errors import InputError
from manifold_probe.spaces.space import Space


def neighbourhood_overlap(x: Any, y: Any, k: int = 10, metric: str = "cosine") -> float:
    """Mean over rows of |N_k^x(i) & N_k^y(i)| / k.

    A row is never its own neighbour; rows that tie for the k-th place share it, and the intersection is the sum over
    rows of the smaller share, so that a space scores 1 against itself even where rows repeat.
    Range 0 to 1, higher is better; chance is k / (n - 1).

    Parameters
    ----------
    x, y : array-like, shape (n, dx) and (n, dy)
    k : int, 1 <= k < n
    metric : "cosine" or "euclidean"

    Raises
    ------
    InputError
        Where shapes, values, k or the metric cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> neighbourhood_overlap(x, 3 * x[:, ::-1], k=5)
    1.0
    """
    a, b = _both(x, y, k, metric)
    return float(intersections(a, b).mean() / k)


def jaccard_overlap(x: Any, y: Any, k: int = 10, metric: str = "cosine") -> float:
    """Mean over rows of I / (2k - I), with I the (tie-sharing) intersection of ``neighbourhood_overlap``.

    Range 0 to 1, higher is better; stricter than the overlap of the same sets.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> jaccard_overlap(x, 3 * x[:, ::-1], k=5)
    1.0
    """
    return float(jaccard(intersections(*_both(x, y, k, metric)), k).mean())


def trustworthiness(x: Any, y: Any, k: int = 10, metric: str = "cosine") -> float:
    """How far the student's neighbours y are from being the teacher's x: 1 - 2/(nk(2n-3k-1)) sum (rank_x(i, j) - k).

    The sum runs over every row i and each of its k nearest rows j in y whose rank by distance in x exceeds k; rows
    that tie share ranks. Range 0 to 1, higher is better, about .5 by chance; the same metric in both spaces.
    It saturates: at a million rows nearly every value is .999, so look at the rank quantiles too.

    Raises
    ------
    InputError
        Where k >= n / 2: the normalisation does not hold there.

    References
    ----------
    Venna & Kaski 2001, Neighborhood preservation in nonlinear projection methods.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> trustworthiness(x, 3 * x[:, ::-1], k=5)
    1.0
    """
    x, y = as_matrices(x, y)
    check_metric(metric)
    if no_ranks(len(x), check_k(k, len(x))):
        raise InputError(
            f"k = {k} is not below half of {len(x)} rows, where trustworthiness is defined; give a smaller k"
        )
    neighbours = Neighbours.search(y, k, metric)
    nearer, tied = places(Cloud(Space(x)), neighbours.queries, neighbours.members, metric)
    return float(1 - penalties(neighbours, nearer, tied).mean())


def continuity(x: Any, y: Any, k: int = 10, metric: str = "cosine") -> float:
    """How far the teacher's neighbours x are from being the student's y: trustworthiness with exchanged spaces.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> continuity(x, x[:, :2], k=5) == trustworthiness(x[:, :2], x, k=5)
    True
    """
    return trustworthiness(y, x, k, metric)


def _both(x: Any, y: Any, k: int, metric: str) -> tuple[Neighbours, Neighbours]:
    x, y = as_matrices(x, y)
    return Neighbours.search(x, k, metric), Neighbours.search(y, k, metric)


def intersections(a: Neighbours, b: Neighbours) -> np.ndarray:
    """Sum over rows of the smaller share (q,), for the same queries in two spaces."""
    query, place_a, place_b = shared(a.members, b.members, a.n)
    smaller = np.minimum(a.weights.ravel()[place_a], b.weights.ravel()[place_b])
    return np.bincount(query, smaller, minlength=len(a.queries)).round(12)  # shares add up with rounding


def jaccard(common: np.ndarray, k: int) -> np.ndarray:
    """I / (2k - I) of intersections (q,)."""
    return common / (2 * k - common)


def _keys(rows: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """One number for each (query, row) and its place in the flattened array; padding is left out."""
    flat = np.flatnonzero(rows.ravel() >= 0)
    return flat // rows.shape[1] * np.int64(n) + rows.ravel()[flat], flat


def shared(a: np.ndarray, b: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that the lists a (q, da) and b (q, db) of a query share: the query and the flat places in a and in b."""
    first, second = _keys(a, n), _keys(b, n)
    _, i, j = np.intersect1d(first[0], second[0], assume_unique=True, return_indices=True)
    place_a, place_b = first[1][i], second[1][j]
    return place_a // a.shape[1], place_a, place_b


def overlap_by_k(query: np.ndarray, ranks: np.ndarray, queries: int, ks: Sequence[int]) -> np.ndarray:
    """The share (queries, len(ks)) of its k nearest that each query has in both spaces, for ascending ``ks``.

    ``query`` (m,) is the query of every shared row and ``ranks`` (m,), from 1, the larger of its two places.
    """
    first = np.searchsorted(ks, np.arange(max(ranks.max(initial=0), ks[-1]) + 1))  # of the ks that reach a rank
    cells = query * (len(ks) + 1) + first[ranks]
    counts = np.bincount(cells, minlength=queries * (len(ks) + 1)).reshape(queries, -1)
    return counts[:, :-1].cumsum(1) / np.asarray(ks)


def penalties(neighbours: Neighbours, nearer: np.ndarray, tied: np.ndarray) -> np.ndarray:
    """Per query (q,) the share of the worst possible rank excess; trustworthiness is 1 minus their mean.

    A neighbour with ``nearer`` strictly nearer rows in the other space, tied with ``tied`` - 1 more, holds a share of
    the first k places there. Only the share it holds here beyond that counts, at the mean excess of the tied ranks past
    k. So a space has no penalty against itself, however many rows repeat, and a space of one point scores chance.
    """
    n, k = neighbours.n, neighbours.k
    inside = np.minimum(neighbours.weights, np.clip((k - nearer) / tied, 0, 1))
    excess = np.where(nearer >= k, nearer + (tied + 1) / 2 - k, (nearer + tied - k + 1) / 2)
    return 2 * ((neighbours.weights - inside) * excess).sum(1) / (k * (2 * n - 3 * k - 1))


def no_ranks(n: int, k: int) -> str | None:
    """Why trustworthiness is undefined; None where it is defined."""
    return f"k must be below n / 2 (k = {k}, n = {n})" if 2 * k >= n else None


def overlap_chance(n: int, k: int) -> float:
    """Expected overlap of two random neighbourhoods."""
    return k / (n - 1)


def jaccard_chance(n: int, k: int) -> float:
    """Expected I / (2k - I) with I hypergeometric: k draws of n - 1 rows, k of them the right ones."""
    common = np.arange(max(0, 2 * k - (n - 1)), k + 1)
    ways = _log_choose(k, common) + _log_choose(n - 1 - k, k - common) - _log_choose(n - 1, k)
    return float((common / (2 * k - common) * np.exp(ways)).sum())


def _log_choose(n: int, r: np.ndarray | int) -> np.ndarray:
    return gammaln(n + 1) - gammaln(np.asarray(r) + 1) - gammaln(n - np.asarray(r) + 1)


def trustworthiness_chance(n: int, k: int) -> float:
    """Expected trustworthiness of neighbours drawn at random."""
    return 1 - (n - 1 - k) * (n - k) / ((n - 1) * (2 * n - 3 * k - 1))


def class_overlap(a: Neighbours, b: Neighbours, codes: np.ndarray) -> np.ndarray:
    """Expected intersection over k (q,) when b's rows move along a random cycle through each class of ``codes`` (n,).

    Every row moves, so that none keeps its neighbours. NaN for queries that cannot move: the only row or the only query
    of a class, and rows without a class (code -1). Rows without a class exchange places among themselves; a class of
    one row stays in place.

    Query i of class c takes the list of another query s of c, and row j the place of another row of its class. With
    W_s(j) the share of j in b's list of s, M(j) its sum over s, and T that of M over the class of j, the chance that j
    is in the list, summed over s, is, for j of another class with m rows, (T - M(j)) / (m - 1), and for j of the class
    c itself (T - M(j) - W_j(i)) / (m - 2), or W_j(i) where c has two rows. No draw is needed.
    """
    n, classes = len(codes), int(codes.max()) + 2
    codes = np.where(codes < 0, classes - 1, codes)
    query_codes, sizes = codes[b.queries], np.bincount(codes, minlength=classes)
    query, place = np.nonzero(b.members >= 0)
    near, shares = b.members[query, place], b.weights[query, place]
    by_class = _Sums(query_codes[query] * classes + codes[near], shares)
    of_query = _Sums(query * classes + codes[near], shares)
    by_row = _Sums(query_codes[query] * n + near, shares)
    alone = _Sums(query * n + near, shares)

    query, place = np.nonzero(a.members >= 0)
    near, query_class, near_class = a.members[query, place], query_codes[query], codes[a.members[query, place]]
    whole = by_class.at(query_class * classes + near_class) - of_query.at(query * classes + near_class)
    same = by_row.at(query_class * n + near) - alone.at(query * n + near)
    position = np.minimum(np.searchsorted(a.queries, near), len(a.queries) - 1)
    returned = np.where(a.queries[position] == near, alone.at(position * n + a.queries[query]), 0.0)
    rows = sizes[near_class]
    chance = np.where(rows > 1, (whole - same) / np.maximum(rows - 1, 1), same)
    inside = np.where(rows > 2, (whole - same - returned) / np.maximum(rows - 2, 1), returned)
    terms = a.weights[query, place] * np.where(query_class == near_class, inside, chance)
    companions = np.bincount(query_codes, minlength=classes)[query_codes] - 1
    expected = np.bincount(query, terms, minlength=len(query_codes)) / (np.maximum(companions, 1) * a.k)
    return np.where((companions > 0) & (query_codes < classes - 1), expected, np.nan)


class _Sums:
    """Sums of weights by key, 0 for a key that is not there."""

    def __init__(self, keys: np.ndarray, weights: np.ndarray) -> None:
        self.keys, inverse = np.unique(keys, return_inverse=True)
        self.sums = np.bincount(inverse, weights)

    def at(self, keys: np.ndarray) -> np.ndarray:
        """The sums of ``keys``, of the same shape."""
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[place] == keys, self.sums[place], 0.0)
