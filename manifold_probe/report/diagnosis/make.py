"""A diagnosis made: what follows from the features, and what was asked for beside it, as one document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from manifold_probe.diagnosis.diagnose import diagnosed
from manifold_probe.diagnosis.head import head
from manifold_probe.diagnosis.overfit import overfit
from manifold_probe.errors import InputError
from manifold_probe.report.diagnosis.combine import assessed, slice_causes, with_causes
from manifold_probe.report.diagnosis.document import diagnosis_document
from manifold_probe.report.diagnosis.result import Diagnosis
from manifold_probe.report.provenance import provenance_of
from manifold_probe.spaces.checks import check_finite
from manifold_probe.spaces.pairing import Pair
from manifold_probe.spaces.space import Space

UNSOUND = ("outliers", "point_collapse", "row_misalignment")  # rows that no map is fitted on
FEW_SLICES = 4
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Asked:
    """What a diagnosis is asked for: ``slices`` (n,) and ``trained`` (n,) of bool in the pair's row order."""

    k: int
    seed: int
    slices: np.ndarray | None = None
    trained: np.ndarray | None = None
    head: Pair | None = None


def made(pair: Pair, asked: Asked, inputs: dict[str, Any], progress: Progress | None = None) -> Diagnosis:
    """The diagnosis of a pair.

    Raises
    ------
    InputError
        Too few rows, labels or slices of one class, rows that are all the same, NaN or Inf.
    """
    tell = progress or (lambda stage, done, total: None)
    k, seed = asked.k, asked.seed
    check(pair, asked)
    steps = 1 + sum(each is not None for each in (asked.slices, asked.trained, asked.head))
    tell("diagnosing", 0, steps)
    seen = None if asked.trained is None else overfit(pair, asked.trained, k, seed)  # first, as it may refuse
    beside: dict[str, Any] = {}
    causes: list[dict[str, Any]] = []
    done, failed = 0, None
    if asked.slices is not None:  # first, so that the rest is looked at without a slice that failed
        causes += slice_causes(diagnosed(replace(pair, labels=asked.slices), k=k, seed=seed, ladder=False))
        names = [name for cause in causes for name in cause["where"]["slices"]]
        failed = np.isin(np.asarray(asked.slices).astype(str), names) if names else None
        beside["slices"] = {"count": len(np.unique(asked.slices))}
        done += 1
        tell("diagnosing", done, steps)
    parts = diagnosed(pair, k=k, seed=seed, without=failed)
    if asked.slices is not None:
        parts["not_assessed"] += _few_slices(beside["slices"]["count"])
    done += 1
    if seen is not None:
        tell("diagnosing", done, steps)
        beside["overfit"], cause = seen
        causes += [] if cause is None else [cause]
        parts = assessed(parts, ["overfit"])
        done += 1
    if asked.head is not None:
        tell("diagnosing", done, steps)
        beside["head"], cause = head(pair, asked.head, k, seed)
        causes += [] if cause is None else [cause]
        parts = assessed(parts, ["misaligned_head"])
    parts = with_causes({**parts, "examined": {**parts["examined"], **beside}}, causes)
    tell("diagnosing", steps, steps)
    settings = {"k": k, "seed": seed, "classes": "labels" if pair.labels is not None else "k-means"}
    document = diagnosis_document(parts, pair, inputs, settings, provenance_of(seed))
    rows = [row for cause in parts["causes"] if cause["name"] in UNSOUND for row in (cause["where"] or {})["rows"]]
    return Diagnosis(document, pair, np.array(sorted(set(rows)), dtype=np.int64))


def check(pair: Pair, asked: Asked) -> None:
    """Refuse what cannot be diagnosed, before any work. Raises InputError."""
    n = pair.teacher.n
    least = max(60, 4 * (asked.k + 1))
    if n < least:
        raise InputError(
            f"{pair.student.name}: {n:,} paired rows are too few to find causes in one half and prove them in the "
            f"other; at least {least:,} are needed for k = {asked.k}"
        )
    for labels, name in ((pair.labels, "labels"), (asked.slices, "slices")):
        if labels is not None and len(np.unique(np.asarray(labels))) < 2:
            raise InputError(f"{name}: hold one class alone; give {name} of at least two, or none")
    for space in (pair.teacher, pair.student, *(() if asked.head is None else (asked.head.student,))):
        _check_rows(space)


def _check_rows(space: Space) -> None:
    varied = False
    first = space.read(0, 1)
    for start, block in space.blocks():
        check_finite(block, start, space)
        varied = varied or bool((block != first).any())
    if not varied:
        raise InputError(
            f"{space.name}: all {space.n:,} rows are the same, so nothing can be assessed; extract the features again"
        )


def _few_slices(count: int) -> list[dict[str, str]]:
    if count >= FEW_SLICES:
        return []
    return [{"name": "slice_failure", "why": f"{count} slices are too few to tell one from the others"}]
