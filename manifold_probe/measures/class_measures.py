"""The class measures of a pair with chance, class chance and notes: what voting neighbours say, and what they cannot.

Only rows with a class vote and are judged, so that the measures are exactly those of these rows alone. They are
undefined where no two rows share a class; of a class of one row the accuracies count its row as wrong, which no other
row could vote for, and say how many such rows there are.

Class chance moves every row of the student to another row's place within its class (`rows.cycled_within`). A row that
is the only one of its class cannot move and is left out; where that is more than half of the rows with a class, there
is no class chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from manifold_probe.engine.rows import MOVED, has_company
from manifold_probe.measures.catalogue import Measure
from manifold_probe.measures.results import Measured
from manifold_probe.measures.sides import Teacher
from manifold_probe.measures.uncertainty import Estimate

if TYPE_CHECKING:
    from manifold_probe.measures.from_neighbours import Lists

STAND_IN = "no labels: classes are the teacher's k-means clusters, which the interval takes as given"


def measure_classes(
    teacher: Teacher, k: int, votes: Lists | None, found: Mapping[str, Estimate], wanted: Sequence[Measure]
) -> dict[str, Measured]:
    """The wanted class measures, from their estimates by key on the rows with a class.

    ``votes`` are the neighbours among these rows, None where they are too few.
    """
    voters = teacher.voters
    why = None
    if votes is None:
        why = f"{len(voters.rows):,} rows with a label are too few for k = {k}"
    elif not has_company(voters.codes).any():
        why = "every class has one row, so that no other row can vote for it"
    if votes is None or why:
        nothing = Measured(Estimate(None), len(voters.rows), note=why)
        return {each.named(k): replace(nothing, metric=each.metric, declared=each.declared()) for each in wanted}
    moves = has_company(votes.own)
    moved = votes.only(moves) if moves.mean() >= MOVED else None
    return {
        each.named(k): Measured(
            found[each.key],
            len(votes.own),
            _finite(each.chance(votes) if callable(each.chance) else each.chance),
            _finite(each.class_chance(moved)) if each.class_chance and moved else None,
            metric=each.metric,
            note=_note(each, found[each.key].value, votes, teacher),
            declared=each.declared(),
        )
        for each in wanted
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else value


def moved_note(teacher: Teacher) -> str | None:
    """Which rows class chance leaves out, None where it is read on all."""
    voters = teacher.voters
    alone = int((~has_company(voters.codes)).sum())
    if alone > (1 - MOVED) * len(voters.rows):
        return f"no class chance: {alone:,} of {len(voters.rows):,} rows are the only one of their class"
    left_out = [f"{alone:,} rows that are the only one of their class"] * bool(alone)
    without = len(teacher.codes) - len(voters.rows)
    left_out += [f"{without:,} rows that have no label"] * bool(without)
    return f"class chance without {' and '.join(left_out)}" if left_out else None


def _note(measure: Measure, value: float | None, votes: Lists, teacher: Teacher) -> str | None:
    voters, labelled = teacher.voters, teacher.class_source == "labels"
    notes: list[str | None] = []
    if len(teacher.class_names) == 1:
        notes.append("the labels hold one class" if labelled else "the teacher's rows are one cluster")
    elif value is None:
        notes.append("both spaces vote for one class everywhere")
    elif measure.note is not None:
        notes.append(measure.note(votes, value))
    without = len(teacher.codes) - len(voters.rows)
    if without:
        notes.append(f"{without:,} rows without a label are left out")
    lonely = int((~has_company(voters.codes)).sum())
    if lonely and measure.side:
        notes.append(f"{lonely:,} rows are the only one of their class and count as wrong")
    return "; ".join(said for said in [*notes, None if labelled else STAND_IN] if said) or None


def class_rows(teacher: Teacher) -> dict[str, int]:
    """How many classes there are, rows with and without one, and rows that are the only one of theirs."""
    rows, n = len(teacher.voters.rows), len(teacher.codes)
    alone = int((~has_company(teacher.voters.codes)).sum())
    return {"classes": len(teacher.class_names), "labelled": rows, "unlabelled": n - rows, "alone": alone}
