"""A few measures of a student's faithfulness, fast enough for every epoch of a training run."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.inputs import as_codes, as_matrices, check_k, check_same_labels
from manifold_probe.engine.moments import grouped
from manifold_probe.engine.neighbours import search
from manifold_probe.engine.rows import random_groups, sample
from manifold_probe.engine.scale import at_unit_scale
from manifold_probe.measures import from_moments, from_neighbours
from manifold_probe.measures.catalogue import MEASURES, made_from
from manifold_probe.measures.from_moments import UNKNOWN_NORMS
from manifold_probe.measures.geometry import norms_of, of_one_length
from manifold_probe.measures.sides import Side
from manifold_probe.spaces.space import Space

QUERIES = 1_000  # for 2,000 rows of 1,280 and 128 dimensions: half a second on one core
PARTS = 4  # groups of rows: enough for values without intervals


def watched(student: Any, teacher: Any, labels: Any = None, k: int = 10, seed: int = 0) -> dict[str, float | None]:
    """The measures that a training run logs, on a fixed set of rows.

    The same values as `compare` gives for these rows and queries, without intervals and chance. Compare epochs, not
    data sets: overlap depends on the number of rows.

    Parameters
    ----------
    student, teacher : array-like, shape (n, ds) and (n, dt)
        Up to a few thousand rows.
    labels : array-like, shape (n,), optional
        Class measures leave out rows without a label.
    k : int, 1 <= k < n
    seed : int
        Of the query rows, at most 1,000, whose neighbours are searched among all rows.

    Returns
    -------
    dict
        {key: value} of the measures that are declared as ``watched``; class measures only if more than k rows have a
        label. All at most 1, higher is better; None if undefined.

    Raises
    ------
    InputError
        If shapes, values or k cannot be used, such as NaN from a student that diverged.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> {key: round(value, 6) for key, value in watched(3 * x, x, k=5).items()}  # doctest: +NORMALIZE_WHITESPACE
    {'overlap@5': 1.0, 'debiased_linear_cka': 1.0, 'per_dimension_correlation': 1.0, 'space_similarity': 1.0,
     'norm_correlation': 1.0}
    """
    check_same_labels(teacher, labels)
    teacher, student = as_matrices(teacher, student)
    k = check_k(k, len(teacher))
    measures = [measure for measure in MEASURES if measure.watched]
    codes = None if labels is None else as_codes(labels, len(teacher))[0]
    all_labelled = codes is None or (codes >= 0).all()
    part = random_groups(len(teacher), seed)[0] % PARTS
    moments = grouped(at_unit_scale(teacher), at_unit_scale(student), part, PARTS)
    norms = norms_of(teacher, student)
    if any(of_one_length(lengths, "float32") for lengths in norms):
        norms = UNKNOWN_NORMS, UNKNOWN_NORMS
    values = from_moments.values(moments, measures, norms)
    values |= from_neighbours.values(*_searched(teacher, student, k, seed), codes if all_labelled else None, measures)
    if codes is not None and not all_labelled and (has_label := codes >= 0).sum() > k:
        # class measures use only the rows with a label
        sides = _searched(teacher[has_label], student[has_label], k, seed)
        values |= from_neighbours.values(*sides, codes[has_label], made_from(measures, "classes"))
    wanted = [measure for measure in measures if measure.key in values or measure.needs != "classes"]
    return {measure.named(k): _finite(values.get(measure.key)) for measure in wanted}


def _searched(teacher: np.ndarray, student: np.ndarray, k: int, seed: int) -> tuple[Side, Side]:
    """The neighbours of up to 1,000 rows in both spaces."""
    queries = sample(len(teacher), QUERIES, seed)
    neighbours = (search(Cloud(Space(rows)), queries, k, {"cosine": k, "euclidean": k}) for rows in (teacher, student))
    teacher_side, student_side = (Side(by_metric["cosine"], by_metric["euclidean"]) for by_metric in neighbours)
    return teacher_side, student_side


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
