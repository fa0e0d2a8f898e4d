"""How faithful a student is becoming: a handful of measures, quick enough for every epoch of a training run."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.engine.inputs import as_codes, as_matrices, check_k, check_same_labels
from manifold_probe.engine.moments import moments_of
from manifold_probe.engine.neighbours import Neighbours
from manifold_probe.engine.rows import sample
from manifold_probe.measures.alignment import debiased_cka
from manifold_probe.measures.classes import class_terms, predictions
from manifold_probe.measures.dimensions import column_cosines, correlations, median
from manifold_probe.measures.geometry import pearson
from manifold_probe.measures.overlap import intersections

QUERIES = 1_000  # 2,000 rows, 1,280 against 128 dimensions: half a second on one core


def watched(student: Any, teacher: Any, labels: Any = None, k: int = 10, seed: int = 0) -> dict[str, float | None]:
    """The measures that a training run is watched by, of a fixed set of rows.

    The values that `compare` gives for the same rows and queries, without intervals and chance. Compare epochs, not
    data sets: overlap depends on the number of rows.

    Parameters
    ----------
    student, teacher : array-like, shape (n, ds) and (n, dt)
        Up to a few thousand rows.
    labels : array-like, shape (n,), optional
        Rows without one are left out of the class measures.
    k : int, 1 <= k < n
    seed : int
        Of the rows whose neighbours are looked up among all rows, 1,000 where there are more.

    Returns
    -------
    dict
        ``overlap@K``, ``debiased_linear_cka``, ``norm_correlation``; ``per_dimension_correlation`` and
        ``space_similarity``, medians, None where widths differ; with labels ``knn_agreement@K``,
        ``knn_accuracy_teacher@K`` and ``knn_accuracy_student@K``, where more than k rows have one.
        All at most 1, higher is better; None is undefined.

    Raises
    ------
    InputError
        Where shapes, values or k cannot be used: a student that has diverged, for one.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> {key: round(value, 6) for key, value in watched(3 * x, x, k=5).items()}  # doctest: +NORMALIZE_WHITESPACE
    {'overlap@5': 1.0, 'debiased_linear_cka': 1.0, 'norm_correlation': 1.0, 'per_dimension_correlation': 1.0,
     'space_similarity': 1.0}
    """
    check_same_labels(teacher, labels)
    teacher, student = as_matrices(teacher, student)
    k = check_k(k, len(teacher))
    queries = sample(len(teacher), QUERIES, seed)
    theirs, own = (Neighbours.search(space, k, queries=queries) for space in (teacher, student))
    moments = moments_of(teacher, student)
    same = teacher.shape[1] == student.shape[1]
    found: dict[str, float | None] = {
        f"overlap@{k}": float(intersections(theirs, own).mean() / k),
        "debiased_linear_cka": debiased_cka(moments),
        "norm_correlation": pearson(*(np.linalg.norm(space, axis=1) for space in (teacher, student))),
        "per_dimension_correlation": median(correlations(moments)) if same else None,
        "space_similarity": median(column_cosines(moments)) if same else None,
    }
    if labels is not None:
        codes, _ = as_codes(labels, len(teacher))
        known = codes >= 0
        if known.sum() <= k:
            return _finite(found)
        if not known.all():  # rows without a label neither vote nor are judged
            teacher, student, codes = teacher[known], student[known], codes[known]
            queries = sample(len(teacher), QUERIES, seed)
            theirs, own = (Neighbours.search(space, k, queries=queries) for space in (teacher, student))
        terms = class_terms(predictions(theirs, codes), predictions(own, codes), codes[queries])
        found |= {f"{key}@{k}": float(term.mean()) for key, term in terms.items()}
    return _finite(found)


def _finite(found: dict[str, float | None]) -> dict[str, float | None]:
    return {key: value if value is not None and np.isfinite(value) else None for key, value in found.items()}
