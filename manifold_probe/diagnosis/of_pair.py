"""The diagnosis of a pair: checked before any work, and with instructions to pair rows whose order was wrong."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

import numpy as np

from manifold_probe.diagnosis import diagnose
from manifold_probe.diagnosis.unaligned import Unaligned
from manifold_probe.engine.inputs import codes_of
from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, OVERLAP_EUCLIDEAN
from manifold_probe.parts import Progress
from manifold_probe.spaces.checks import check_finite
from manifold_probe.spaces.pairing import Pair
from manifold_probe.spaces.space import Space

NEEDED = (OVERLAP, OVERLAP_EUCLIDEAN, DEBIASED_CKA)


def check_measures(keys: Iterable[str], k: int) -> None:
    """Refuse a comparison without the measures that a diagnosis needs. Raises InputError."""
    missing = [measure.named(k) for measure in NEEDED if measure.named(k) not in keys]
    if missing:
        raise InputError(f"measures: a diagnosis needs {', '.join(missing)} too; add them, or leave the diagnosis out")


def parts_of(
    pair: Pair, asked: diagnose.Asked, measures: dict[str, Any] | None, progress: Progress | None = None
) -> tuple[dict[str, Any], Unaligned | None]:
    """The parts of a diagnosis, and the order of the rows where that is wrong; ``measures`` are those of a comparison,
    None where they are not measured yet."""
    parts = diagnose.diagnosed(pair, asked, measures=measures, progress=progress)
    wrong_order = parts["unaligned"]
    if wrong_order is not None and wrong_order.order is not None:
        parts["causes"] = [{**cause, "advice": reordering(pair, wrong_order)} for cause in parts["causes"]]
    return parts, wrong_order


def reordering(pair: Pair, wrong_order: Unaligned) -> str:
    """How to pair the rows in the order that was found: two commands, or a line of Python."""
    missing = "" if wrong_order.complete else ", allow_missing=True"
    if pair.teacher.source.path is None or pair.student.source.path is None:
        return (
            "Pair by the order that was found: mp.compare(teacher, student, ids=diagnosis.order()"
            f"{missing}). Better, store ids in both files."
        )
    sides = f"--teacher {shlex.quote(pair.teacher.name)} --student {shlex.quote(pair.student.name)}"
    by_position = "" if pair.ids is None else " --positional"
    missing = "" if wrong_order.complete else " --allow-missing"
    return (
        f"Save the order and pair by it: `probe diagnose {sides}{by_position} --save-order order.csv`, then "
        f"`probe compare {sides} --teacher-ids order.csv::teacher --student-ids order.csv::student{missing}`. "
        "Better, write ids into both files where they are made."
    )


def check(pair: Pair, asked: diagnose.Asked) -> None:
    """Refuse inputs that cannot be diagnosed, before any work. Raises InputError."""
    check_count(pair, asked.k)
    if asked.slices is not None:
        _check_groups(asked.slices, "slices")
    head = None if asked.training is None else asked.training.head
    for space in (pair.teacher, pair.student, *(() if head is None else (head.student,))):
        _check_rows(space)


def check_count(pair: Pair, k: int) -> None:
    """Refuse too few rows, and labels of a single class. Raises InputError."""
    diagnose.check_enough(pair, pair.teacher.n, k)
    if pair.labels is not None:
        _check_groups(pair.labels, "labels")


def _check_groups(labels: Any, name: str) -> None:
    if len(codes_of(np.asarray(labels))[1]) < 2:
        raise InputError(f"{name}: hold only one class; give {name} of at least two, or none")


def _check_rows(space: Space) -> None:
    varied = False
    first = space.read(0, 1)
    for start, block in space.blocks():
        check_finite(block, start, space)
        varied = varied or bool((block != first).any())
    if not varied:
        raise InputError(
            f"{space.name}: all {space.n:,} rows are the same, so that nothing can be assessed; "
            "extract the features again"
        )
