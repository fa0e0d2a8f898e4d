"""What training won: a student against itself before training, on the same rows."""

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

FEWEST_ROWS = 4  # times k: of fewer the interval would be too narrow, and overlap says little
Both = tuple[Any, Any]  # student and teacher


def gain(before: Both, after: Both, k: int = 10, seed: int = 0) -> dict[str, Any]:
    """What training won: overlap@k after it minus before it, on the same rows and queries, with the paired interval.

    Parameters
    ----------
    before, after : pairs of array-like, (n, ds) and (n, dt)
        Student and teacher, as the untrained and as the trained student see them; the same rows in the same order. The
        teacher differs only where a trained head stands on it.
    k : int, 1 <= k < n
    seed : int
        Of the rows whose neighbours are looked up, as in ``watched``, and of the halvings that the interval comes from.

    Returns
    -------
    dict
        ``measure`` (the key), ``untrained`` and ``trained`` (values from 0 to 1), ``difference`` {"value", "low",
        "high"} (95% interval), ``chance``, ``better``: whether the whole interval lies above zero, None where it is
        undefined, as for fewer than 4 k rows; and ``cka`` {"untrained", "trained"}, the debiased linear CKA.

    Raises
    ------
    InputError
        Where shapes, values or k cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> teacher = rng.normal(size=(100, 4))
    >>> won = gain((rng.normal(size=(100, 3)), teacher), (teacher[:, :3], teacher), k=5)
    >>> won["better"], won["difference"]["low"] > 0.2
    (True, True)
    """
    found, cka, searched = [], [], None
    for student, teacher in (before, after):
        theirs, own = as_matrices(teacher, student)
        k = check_k(k, len(theirs))
        queries = sample(len(theirs), QUERIES, seed)
        if searched is None or not np.array_equal(theirs, searched[0]):
            searched = theirs, search_side(Cloud(Space(theirs)), queries, k)
        other = search_side(Cloud(Space(own)), queries, k)
        found.append(estimates(Lists(searched[1], other, seed=seed), [OVERLAP])[0][OVERLAP.key])
        cka.append(debiased_cka(moments_of(theirs, own)))
    untrained, trained = found
    won = trained.minus(untrained)
    if len(theirs) < FEWEST_ROWS * k:
        won = Estimate(won.value)
    return {
        "measure": OVERLAP.named(k),
        "untrained": untrained.value,
        "trained": trained.value,
        "difference": {"value": won.value, "low": won.low, "high": won.high},
        "chance": overlap_chance(len(theirs), k),
        "better": None if won.low is None else won.low > 0,
        "cka": {
            name: value if value is not None and np.isfinite(value) else None
            for name, value in zip(("untrained", "trained"), cka, strict=True)
        },
    }
