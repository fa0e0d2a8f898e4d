"""Retrieval: does a search return rows of the query's class, the teacher's neighbours, or rows of the other space?

All by cosine, without the query itself. `recall` and `cross_recall` count a query if one of its k nearest other rows
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
    """Recall@k: share of rows with their label among their k nearest other rows. 0 to 1, higher is better.

    Rows with a unique label or without a label are left out.

    Parameters
    ----------
    features : array-like, shape (n, d)
    labels : array-like, shape (n,)
    k : int, 1 <= k < n

    Raises
    ------
    InputError
        If shapes, values or k cannot be used, or no label occurs twice.

    Examples
    --------
    >>> recall([[1, 0.0], [1, 0.2], [1, 0.1], [0.0, 1], [0.3, 1]], ["a", "a", "b", "b", "b"], k=1)
    0.4
    """
    features = as_rows(features, "features")
    has_label, labels = known_labels(labels, len(features))
    features = features[has_label]
    hits = hits_within(others(features, k), labels)
    return float(hits[_repeated(labels)].mean())


def cross_recall(teacher: Any, student: Any, labels: Any, k: int = 10) -> float:
    """Recall@k of the student's rows as queries in the teacher's space, such as an index of the teacher's rows.

    Needs equal widths; 0 to 1, higher is better; compare it with the teacher's `recall`. It measures backward
    compatibility (Shen et al. 2020, Towards Backward-Compatible Representation Learning).

    Examples
    --------
    >>> x = [[1, 0.0], [1, 0.2], [0.0, 1], [0.2, 1]]
    >>> cross_recall(x, [[3 * a, 3 * b] for a, b in x], [0, 0, 1, 1], k=1)
    1.0
    """
    teacher, student = as_bank(teacher, student)
    has_label, labels = known_labels(labels, len(teacher))
    if len(student) != len(teacher):
        raise InputError(f"teacher has {len(teacher)} rows and student {len(student)}; give the same rows")
    teacher, student = teacher[has_label], student[has_label]
    k = check_k(k, len(teacher))
    rows, _ = nearest(teacher, student, k + 1)
    is_self = rows == np.arange(len(rows))[:, None]
    is_self[~is_self.any(1), -1] = True  # without itself in the list, a row drops its last neighbour
    return float(hits_within(rows[~is_self].reshape(-1, k), labels)[_repeated(labels)].mean())


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
    """The k nearest other rows (n, k) by cosine, nearest first; ties go to the first row."""
    return Neighbours.search(Space(features), k, distances=False).nearest


def hits_within(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether a row's label (n,) occurs among its neighbours ``rows`` (n, k)."""
    return (labels[rows] == labels[:, None]).any(1)


def _repeated(labels: np.ndarray) -> np.ndarray:
    """A mask (n,) of the rows whose label occurs more than once."""
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.max() < 2:
        raise InputError("labels: no label occurs twice, so recall is undefined; give class labels")
    return counts[codes] > 1
