"""The gain from training: a student compared with itself before training, on the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.inputs import as_matrices, check_k
from manifold_probe.engine.moments import moments_of
from manifold_probe.engine.rows import sample
from manifold_probe.evaluation.watch import QUERIES
from manifold_probe.measures.alignment import debiased_cka
from manifold_probe.measures.catalogue import OVERLAP
from manifold_probe.measures.from_neighbours import Lists, estimates
from manifold_probe.measures.overlap import overlap_chance
from manifold_probe.measures.sides import search_side
from manifold_probe.measures.uncertainty import Estimate
from manifold_probe.spaces.space import Space

MIN_ROWS = 4  # times k: with fewer rows the interval would be too narrow
Sides = tuple[Any, Any]  # student and teacher


def gain(before: Sides, after: Sides, k: int = 10, seed: int = 0) -> dict[str, Any]:
    """Overlap@k after training minus before, on the same rows and queries, with the paired interval.

    Parameters
    ----------
    before, after : pairs of array-like, (n, ds) and (n, dt)
        Features of student and teacher before and after training; the same rows in the same order. The teacher's
        features differ only if they pass through a trained head.
    k : int, 1 <= k < n
    seed : int
        Of the query rows, as in ``watched``, and of the half-splits for the interval.

    Returns
    -------
    dict
        ``measure`` (the key), ``untrained`` and ``trained`` (values from 0 to 1), ``difference`` {"value", "low",
        "high"} (95% interval), ``chance``, ``better``: whether the whole interval lies above zero, None without an
        interval, as for fewer than 4 k rows; and ``cka`` {"untrained", "trained"}, the debiased linear CKA.

    Raises
    ------
    InputError
        If shapes, values or k cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> teacher = rng.normal(size=(100, 4))
    >>> won = gain((rng.normal(size=(100, 3)), teacher), (teacher[:, :3], teacher), k=5)
    >>> won["better"], won["difference"]["low"] > 0.2
    (True, True)
    """
    overlaps, ckas, previous = [], [], None
    for student, teacher in (before, after):
        teacher, student = as_matrices(teacher, student)
        k = check_k(k, len(teacher))
        queries = sample(len(teacher), QUERIES, seed)
        if previous is None or not np.array_equal(teacher, previous):
            previous, teacher_side = teacher, search_side(Cloud(Space(teacher)), queries, k)
        student_side = search_side(Cloud(Space(student)), queries, k)
        overlaps.append(estimates(Lists(teacher_side, student_side, seed=seed), [OVERLAP])[0][OVERLAP.key])
        ckas.append(debiased_cka(moments_of(teacher, student)))
    untrained, trained = overlaps
    difference = trained.minus(untrained)
    if len(teacher) < MIN_ROWS * k:
        difference = Estimate(difference.value)
    return {
        "measure": OVERLAP.named(k),
        "untrained": untrained.value,
        "trained": trained.value,
        "difference": {"value": difference.value, "low": difference.low, "high": difference.high},
        "chance": overlap_chance(len(teacher), k),
        "better": None if difference.low is None else difference.low > 0,
        "cka": {
            name: value if value is not None and np.isfinite(value) else None
            for name, value in zip(("untrained", "trained"), ckas, strict=True)
        },
    }
