"""Detection of unusual inputs: rows are scored against a bank of usual rows, and a higher score is more usual.

    k-NN         cosine to the k-th nearest bank row (k = 1 as in TinTeM's paper), or minus the Euclidean distance
    Mahalanobis  minus the squared distance to the nearest class mean under the pooled covariance of the classes

The cosine score ignores lengths, which often distinguish unusual rows. In-distribution is the positive class.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.engine.scale import divided, exponent_of, largest_of
from manifold_probe.errors import InputError
from manifold_probe.evaluation.inputs import as_bank, as_classes, as_number, as_numbers, known_labels
from manifold_probe.evaluation.nearest import nearest

SINGULAR = 1e-10  # share of the largest variance below which a covariance counts as singular


def knn_scores(bank: Any, x: Any, k: int = 1, metric: str = "cosine") -> np.ndarray:
    """Nearness (n,) of the k-th nearest bank row: its cosine, or minus its Euclidean distance.

    Parameters
    ----------
    bank : array-like, shape (m, d)
        Usual rows.
    x : array-like, shape (n, d)
    k : int, 1 <= k <= m
    metric : "cosine" or "euclidean"

    References
    ----------
    Sun et al. 2022, Out-of-Distribution Detection with Deep Nearest Neighbors.

    Examples
    --------
    >>> knn_scores([[1.0, 0.0], [0.0, 1.0]], [[0.0, 3.0]]).tolist()
    [1.0]
    >>> knn_scores([[1.0, 0.0], [0.0, 1.0]], [[0.0, 3.0]], metric="euclidean").tolist()
    [-2.0]
    """
    return nearest(bank, x, k, metric)[1][:, -1]


def mahalanobis_scores(bank: Any, labels: Any, x: Any) -> np.ndarray:
    """Minus the smallest squared Mahalanobis distance (n,) to a class mean: -min_c (x - m_c)' S^-1 (x - m_c).

    S is the covariance of the bank's rows about their class means; if it is singular (few rows, dead dimensions) it
    is shrunk towards a multiple of the identity by Ledoit and Wolf's optimal weight. Invariant to invertible linear
    maps unless shrunk.

    Parameters
    ----------
    bank : array-like, shape (m, d)
    labels : array-like, shape (m,)
    x : array-like, shape (n, d)

    Raises
    ------
    InputError
        If shapes or values cannot be used, there is one class only, or all rows equal their class's mean.

    References
    ----------
    Lee et al. 2018, A Simple Unified Framework for Detecting Out-of-Distribution Samples, eq. 2; Ledoit & Wolf 2004.

    Examples
    --------
    >>> bank = [[0.0, 1], [0, -1], [1, 0], [-1, 0], [9, 1], [9, -1], [10, 0], [8, 0]]
    >>> mahalanobis_scores(bank, [0] * 4 + [1] * 4, [[9.0, 2.0]]).round(6).tolist()
    [-8.0]
    """
    from scipy.linalg import cho_factor, cho_solve, eigvalsh
    from sklearn.covariance import ledoit_wolf

    bank, x = as_bank(bank, x)
    exponent = exponent_of(largest_of(bank))
    bank, x = (divided(rows.astype(np.float64), exponent) for rows in (bank, x))
    has_label, labels = known_labels(labels, len(bank))
    bank = bank[has_label]
    names, codes = as_classes(labels, len(bank))
    means = np.stack([bank[codes == code].mean(0) for code in range(len(names))])
    centred = bank - means[codes]
    if not centred.any():
        raise InputError("bank: every row is its class's mean, so there is no covariance; give several rows per class")
    covariance = centred.T @ centred / len(centred)
    variances = eigvalsh(covariance)
    if variances[0] <= SINGULAR * variances[-1]:
        covariance, _ = ledoit_wolf(centred, assume_centered=True)
        if eigvalsh(covariance, subset_by_index=[0, 0])[0] <= 0:  # pragma: no cover - the weight was rounded to 0
            covariance += SINGULAR * variances[-1] * np.eye(len(covariance))
    factor = cho_factor(covariance)
    return -np.min([np.einsum("ij,ji->i", x - mean, cho_solve(factor, (x - mean).T)) for mean in means], axis=0)


def auroc(inside: Any, outside: Any) -> float:
    """Probability that a usual row (scores ``inside`` (n,)) scores above an unusual one (``outside`` (m,)), ties half.

    Range 0 to 1, higher is better, 0.5 by chance.

    >>> auroc([3.0, 2.0], [1.0, 2.0])
    0.875
    """
    from sklearn.metrics import roc_auc_score

    inside, outside = _scores(inside, "inside"), _scores(outside, "outside")
    truth = np.repeat([1, 0], [len(inside), len(outside)])
    return float(roc_auc_score(truth, np.concatenate([inside, outside])))


def fpr_at_tpr(inside: Any, outside: Any, tpr: float = 0.95) -> float:
    """Share of unusual rows above the threshold that ``tpr`` of the usual ones pass. Range 0 to 1, lower is better.

    The threshold is the linear 1 - tpr quantile of the usual scores; a score must lie strictly above it.

    >>> fpr_at_tpr([1.0, 2.0, 3.0], [0.0, 1.05, 1.2, 5.0])
    0.5
    """
    inside, outside = _scores(inside, "inside"), _scores(outside, "outside")
    if not 0 < as_number(tpr, "tpr", "give a share between 0 and 1") < 1:
        raise InputError(f"tpr is {tpr}; give a share between 0 and 1")
    return float((outside > np.quantile(inside, 1 - tpr)).mean())


def _scores(scores: Any, name: str) -> np.ndarray:
    scores = as_numbers(scores, name)
    if not np.isfinite(scores).all():
        raise InputError(f"{name}: scores contain NaN or Inf; give finite numbers")
    return scores
