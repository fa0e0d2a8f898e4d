"""How faithful a student is becoming: a handful of measures, quick enough for every epoch of a training run."""

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
from manifold_probe.measures.geometry import norms_of
from manifold_probe.measures.sides import Side
from manifold_probe.spaces.space import Space

QUERIES = 1_000  # 2,000 rows, 1,280 against 128 dimensions: half a second on one core
PARTS = 4  # of the rows: what values without intervals need


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
        {key: value} of the measures that are declared as ``watched``; those of classes with labels only, where more
        than k rows have one. All at most 1, higher is better; None is undefined.

    Raises
    ------
    InputError
        Where shapes, values or k cannot be used: a student that has diverged, for one.

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
    measures = [each for each in MEASURES if each.watched]
    codes = None if labels is None else as_codes(labels, len(teacher))[0]
    everyone = codes is None or (codes >= 0).all()
    quarters = random_groups(len(teacher), seed)[0] % PARTS
    parts = grouped(at_unit_scale(teacher), at_unit_scale(student), quarters, PARTS)
    found = from_moments.values(parts, measures, norms_of(teacher, student))
    found |= from_neighbours.values(*_searched(teacher, student, k, seed), codes if everyone else None, measures)
    if codes is not None and not everyone and (known := codes >= 0).sum() > k:
        # rows without a label neither vote nor are judged
        sides = _searched(teacher[known], student[known], k, seed)
        found |= from_neighbours.values(*sides, codes[known], made_from(measures, "classes"))
    wanted = [each for each in measures if each.key in found or each.needs != "classes"]
    return {each.named(k): _finite(found.get(each.key)) for each in wanted}


def _searched(teacher: np.ndarray, student: np.ndarray, k: int, seed: int) -> tuple[Side, Side]:
    """The neighbours of up to 1,000 rows in both spaces."""
    queries = sample(len(teacher), QUERIES, seed)
    both = (search(Cloud(Space(each)), queries, k, {"cosine": k, "euclidean": k}) for each in (teacher, student))
    first, second = (Side(found["cosine"], found["euclidean"]) for found in both)
    return first, second


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
