"""What a k-nearest-neighbour classifier makes of a space: accuracy, and agreement between two spaces.

The class of a row is the uniform majority of its k nearest other rows (cosine), ties going to the lowest label.
Agreement says whether two spaces would decide alike; it is blind to everything inside a class.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.measures.inputs import as_codes, as_matrices, as_matrix, check_same_labels
from manifold_probe.measures.neighbours import Neighbours

VOTES_AT_ONCE = 20_000_000


def knn_accuracy(x: Any, labels: Any, k: int = 10) -> float:
    """Share of rows whose leave-one-out k-NN class is their label. Range 0 to 1, higher is better.

    Parameters
    ----------
    x : array-like, shape (n, d)
    labels : array-like, shape (n,)
    k : int, 1 <= k < n

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1, 0.1], [1, 0.2], [1, 0.3], [0.1, 1], [0.2, 1], [0.3, 1]])
    >>> knn_accuracy(x, ["a", "a", "a", "b", "b", "b"], k=2)
    1.0
    """
    check_same_labels(x, labels)
    x = as_matrix(x)
    codes, _ = as_codes(labels, len(x))
    return float((predictions(Neighbours.search(x, k), codes) == codes).mean())


def knn_agreement(x: Any, y: Any, labels: Any, k: int = 10) -> float:
    """Share of rows whose leave-one-out k-NN class is the same in both spaces. Range 0 to 1, higher is better.

    Parameters
    ----------
    x, y : array-like, shape (n, dx) and (n, dy)
    labels : array-like, shape (n,)
    k : int, 1 <= k < n

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> knn_agreement(x, 3 * x, x[:, 0] > 0, k=5)
    1.0
    """
    check_same_labels(x, labels)
    x, y = as_matrices(x, y)
    codes, _ = as_codes(labels, len(x))
    first, second = (predictions(Neighbours.search(s, k), codes) for s in (x, y))
    return float((first == second).mean())


def predictions(found: Neighbours, codes: np.ndarray) -> np.ndarray:
    """The class (q,) that each query's neighbours vote for; tied rows vote with the share they hold."""
    query, place = np.nonzero(found.weights)
    votes, weights = codes[found.members[query, place]], found.weights[query, place]
    return majority(query, votes, weights, len(found.queries), int(codes.max()) + 1)


def majority(
    query: np.ndarray, votes: np.ndarray, weights: np.ndarray | None, queries: int, classes: int
) -> np.ndarray:
    """The class (queries,) with the most weight among the votes of each query; the lowest where several have it.

    ``query`` (m,) ascending, says whose vote each of ``votes`` (m,) is.
    """
    chosen = np.empty(queries, dtype=np.int64)
    step = max(1, VOTES_AT_ONCE // classes)
    for first in range(0, queries, step):
        stop = min(first + step, queries)
        part = slice(*np.searchsorted(query, [first, stop]))
        cells = (query[part] - first) * classes + votes[part]
        counts = np.bincount(cells, None if weights is None else weights[part], minlength=(stop - first) * classes)
        # shares of tied rows add up with rounding: equal counts must stay equal
        chosen[first:stop] = counts.reshape(-1, classes).round(9).argmax(1)
    return chosen


def expected_agreement(first: np.ndarray, second: np.ndarray, within: np.ndarray | None = None) -> float:
    """Agreement (of predicted classes, both (q,)) if rows were paired at random, or at random within each class."""
    if within is None:
        within = np.zeros(len(first), dtype=np.int64)
    classes = int(max(first.max(), second.max())) + 1
    one, one_count = np.unique(within * classes + first, return_counts=True)
    two, two_count = np.unique(within * classes + second, return_counts=True)
    keys, i, j = np.intersect1d(one, two, assume_unique=True, return_indices=True)
    sizes = np.bincount(within)[keys // classes]
    return float((one_count[i] * (two_count[j] / sizes)).sum() / len(first))


def kappa(first: np.ndarray, second: np.ndarray) -> float:
    """Cohen's kappa: agreement beyond what the spaces' class frequencies alone give, as a share of what is possible."""
    expected = expected_agreement(first, second)
    agreed = float((first == second).mean())
    return (agreed - expected) / (1 - expected) if expected < 1 else float("nan")


def agreement_from_accuracies(first: float, second: float, classes: int) -> float:
    """What two accuracies alone would give: both right, or both wrong and, by luck, with the same wrong class."""
    return first * second + (1 - first) * (1 - second) / max(classes - 1, 1)
