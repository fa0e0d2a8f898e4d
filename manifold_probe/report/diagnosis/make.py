"""A diagnosis made: what is found about a pair, as one document."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.diagnosis import diagnose
from manifold_probe.diagnosis.of_pair import NEEDED, check, parts_of
from manifold_probe.parts import Progress
from manifold_probe.report.diagnosis.document import diagnosis_document, within
from manifold_probe.report.diagnosis.result import Diagnosis
from manifold_probe.report.provenance import provenance_of
from manifold_probe.spaces.pairing import Pair


def made(pair: Pair, asked: diagnose.Asked, inputs: dict[str, Any], progress: Progress | None = None) -> Diagnosis:
    """The diagnosis of a pair.

    Raises
    ------
    InputError
        Too few rows, labels or slices of one class, rows that are all the same, NaN or Inf.
    """
    check(pair, asked)
    parts, wrong = parts_of(pair, asked, None, progress)
    settings = {"k": asked.k, "seed": asked.seed, "classes": "labels" if pair.labels is not None else "k-means"}
    document = diagnosis_document(parts, pair, inputs, settings, provenance_of(asked.seed))
    return Diagnosis(document, pair, np.array(parts["aside"], dtype=np.int64), wrong)


def within_comparison(
    pair: Pair, comparison: dict[str, Any], seed: int, progress: Progress | None = None
) -> dict[str, Any] | None:
    """What a student's comparison holds of its diagnosis, which takes the comparison's measures; None where one of them
    is undefined, as of a student that holds one vector."""
    k, measures = comparison["settings"]["k"], comparison["measures"]
    taken = {each.named(k): measures[each.named(k)] for each in NEEDED}
    if any(each["value"] is None for each in taken.values()):
        return None
    parts, _ = parts_of(pair, diagnose.Asked(k=k, seed=seed), taken, progress)
    return within(parts, measures, k, comparison["inputs"]["student"]["shape"][1])
