"""Retrieval: does a search find rows of the query's class, the same rows as the teacher, across the two spaces?

All by cosine, a row never finding itself. `recall` and `cross_recall` count a query when one of the k nearest others
has its label; recall@1 is leave-one-out nearest-neighbour accuracy. `neighbour_recall` needs no labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.engine.inputs import check_k
from manifold_probe.engine.neighbours import Neighbours
from manifold_probe.errors import InputError
from manifold_probe.evaluation.inputs import as_bank, as_rows, known_labels
from manifold_probe.evaluation.nearest import nearest
from manifold_probe.spaces.space import Space


def recall(features: Any, labels: Any, k: int = 10) -> float:
    """Recall@k: share of rows with a row of their own label among their k nearest others. 0 to 1, higher is better.

    Rows that are the only one of their label cannot be found and are left out, as are rows without a label.

    Parameters
    ----------
    features : array-like, shape (n, d)
    labels : array-like, shape (n,)
    k : int, 1 <= k < n

    Raises
    ------
    InputError
        Where shapes, values or k cannot be used, or no label stands twice.

    Examples
    --------
    >>> recall([[1, 0.0], [1, 0.2], [1, 0.1], [0.0, 1], [0.3, 1]], ["a", "a", "b", "b", "b"], k=1)
    0.4
    """
    features = as_rows(features, "features")
    known, labels = known_labels(labels, len(features))
    features = features[known]
    hits = found_within(others(features, k), labels)
    return float(hits[_findable(labels)].mean())


def cross_recall(teacher: Any, student: Any, labels: Any, k: int = 10) -> float:
    """Recall@k of the student's rows as queries in the teacher's space, where its gallery may already be indexed.

    Needs equal widths; 0 to 1, higher is better, to be read together with the teacher's `recall`. It is what backward
    compatibility asks for (Shen et al. 2020, Towards Backward-Compatible Representation Learning).

    Examples
    --------
    >>> x = [[1, 0.0], [1, 0.2], [0.0, 1], [0.2, 1]]
    >>> cross_recall(x, [[3 * a, 3 * b] for a, b in x], [0, 0, 1, 1], k=1)
    1.0
    """
    teacher, student = as_bank(teacher, student)
    known, labels = known_labels(labels, len(teacher))
    if len(student) != len(teacher):
        raise InputError(f"teacher has {len(teacher)} rows and student {len(student)}; give the same rows")
    teacher, student = teacher[known], student[known]
    k = check_k(k, len(teacher))
    rows, _ = nearest(teacher, student, k + 1)
    own = rows == np.arange(len(rows))[:, None]
    own[~own.any(1), -1] = True  # where a row did not find itself, its last place is one too many
    return float(found_within(rows[~own].reshape(-1, k), labels)[_findable(labels)].mean())


def neighbour_recall(teacher: Any, student: Any, k: int = 10) -> float:
    """Share of rows whose nearest other row in the teacher is among their k nearest in the student. Chance k / (n - 1).

    Examples
    --------
    >>> x = [[1, 0.0], [1, 0.2], [0.0, 1], [0.2, 1]]
    >>> neighbour_recall(x, x, k=1)
    1.0
    """
    teacher, student = as_rows(teacher, "teacher"), as_rows(student, "student")
    if len(student) != len(teacher):
        raise InputError(f"teacher has {len(teacher)} rows and student {len(student)}; give the same rows")
    return float((others(student, k) == others(teacher, 1)).any(1).mean())


def others(features: np.ndarray, k: int) -> np.ndarray:
    """The k nearest other rows (n, k) by cosine, nearest first, of equally near ones the first."""
    return Neighbours.search(Space(features), k, distances=False).nearest


def found_within(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each row's label (n,) is among those of its neighbours ``rows`` (n, k)."""
    return (labels[rows] == labels[:, None]).any(1)


def _findable(labels: np.ndarray) -> np.ndarray:
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.max() < 2:
        raise InputError("labels: none stands twice, so there is nothing to find; give class labels")
    return counts[codes] > 1
