"""A diagnosis made: what follows from the features, and what was asked for beside it, as one document."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from manifold_probe.diagnosis.diagnose import diagnosed
from manifold_probe.diagnosis.head import head
from manifold_probe.diagnosis.overfit import overfit
from manifold_probe.diagnosis.unaligned import Unaligned
from manifold_probe.engine.inputs import codes_of
from manifold_probe.errors import InputError
from manifold_probe.parts import Parts, Progress
from manifold_probe.report.diagnosis.combine import assessed, slice_causes, with_causes
from manifold_probe.report.diagnosis.document import diagnosis_document
from manifold_probe.report.diagnosis.result import Diagnosis
from manifold_probe.report.provenance import provenance_of
from manifold_probe.spaces.checks import check_finite
from manifold_probe.spaces.pairing import Pair
from manifold_probe.spaces.space import Space

FEW_SLICES = 4


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
    k, seed = asked.k, asked.seed
    check(pair, asked)
    watched = Parts(progress, {"overfit": 0.1, "slices": 0.5, "diagnosis": 1, "head": 0.1})
    if asked.trained is not None:
        watched["overfit"]("comparing rows trained on with others", 0, 1)
    seen = None if asked.trained is None else overfit(pair, asked.trained, k, seed)  # first, as it may refuse
    beside: dict[str, Any] = {}
    causes: list[dict[str, Any]] = []
    failed = None
    if asked.slices is not None:  # first, so that the rest is looked at without a slice that failed
        of_slices = replace(pair, labels=asked.slices)
        causes += slice_causes(diagnosed(of_slices, k=k, seed=seed, ladder=False, progress=watched["slices"]))
        names = [name for cause in causes for name in cause["where"]["slices"]]
        failed = np.isin(np.asarray(asked.slices).astype(str), names) if names else None
        beside["slices"] = {"count": len(codes_of(asked.slices)[1])}
    parts = diagnosed(pair, k=k, seed=seed, without=failed, progress=watched["diagnosis"])
    wrong, aside = parts.pop("unaligned"), parts.pop("aside")
    if wrong is not None:  # nothing else can be said of rows that do not belong together
        seen, causes, beside, asked = None, [], {}, replace(asked, head=None)
        parts["causes"] = [wrong.cause(None if wrong.order is None else reordering(pair, wrong))]
    elif asked.slices is not None:
        parts["not_assessed"] += _few_slices(beside["slices"]["count"])
    if seen is not None:
        beside["overfit"], cause = seen
        causes += [] if cause is None else [cause]
        parts = assessed(parts, ["overfit"])
    if asked.head is not None:
        watched["head"]("comparing the head", 0, 1)
        beside["head"], cause = head(pair, asked.head, k, seed)
        causes += [] if cause is None else [cause]
        parts = assessed(parts, ["misaligned_head"])
    parts = with_causes({**parts, "examined": {**parts["examined"], **beside}}, causes)
    settings = {"k": k, "seed": seed, "classes": "labels" if pair.labels is not None else "k-means"}
    document = diagnosis_document(parts, pair, inputs, settings, provenance_of(seed))
    return Diagnosis(document, pair, np.array(aside, dtype=np.int64), wrong)


def reordering(pair: Pair, wrong: Unaligned) -> str:
    """How to pair the rows of a pair in the order that was found: two commands, or two lines of Python."""
    missing = "" if wrong.complete else ", allow_missing=True"
    if pair.teacher.source.path is None or pair.student.source.path is None:
        return (
            "Pair by the order that was found: mp.compare(teacher, student, ids=diagnosis.order()"
            f"{missing}). Better, store ids in both files."
        )
    sides = f"--teacher {shlex.quote(pair.teacher.name)} --student {shlex.quote(pair.student.name)}"
    by_position = "" if pair.ids is None else " --positional"
    missing = "" if wrong.complete else " --allow-missing"
    return (
        f"Save the order and pair by it: `probe diagnose {sides}{by_position} --save-order order.csv`, then "
        f"`probe compare {sides} --teacher-ids order.csv::teacher --student-ids order.csv::student{missing}`. "
        "Better, write ids into both files where they are made."
    )


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
        if labels is not None and len(codes_of(np.asarray(labels))[1]) < 2:
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
