"""The class measures of a pair with chance, class chance and notes.

Only rows with a class vote and are counted, so that the measures are exactly those of these rows alone. They are
undefined where no two rows share a class. The only row of a class counts as wrong in the accuracies, since no other row
can vote for its class; a note gives the number of such rows.

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

CLUSTERS_NOTE = "no labels: classes are the teacher's k-means clusters, which the interval takes as given"


def measure_classes(
    teacher: Teacher, k: int, votes: Lists | None, estimates: Mapping[str, Estimate], wanted: Sequence[Measure]
) -> dict[str, Measured]:
    """The wanted class measures, from their estimates by key on the rows with a class.

    ``votes`` are the neighbours among these rows, None where they are too few.
    """
    voters = teacher.voters
    undefined = None
    if votes is None:
        undefined = f"{len(voters.rows):,} rows with a label are too few for k = {k}"
    elif not has_company(voters.codes).any():
        undefined = "every class has one row, so that no other row can vote for it"
    if votes is None or undefined:
        nothing = Measured(Estimate(None), len(voters.rows), note=undefined)
        return {
            measure.named(k): replace(nothing, metric=measure.metric, declared=measure.declared()) for measure in wanted
        }
    moves = has_company(votes.query_codes)
    moved = votes.only(moves) if moves.mean() >= MOVED else None
    return {
        measure.named(k): Measured(
            estimates[measure.key],
            len(votes.query_codes),
            _finite(measure.chance(votes) if callable(measure.chance) else measure.chance),
            _finite(measure.class_chance(moved)) if measure.class_chance and moved else None,
            metric=measure.metric,
            note=_note(measure, estimates[measure.key].value, votes, teacher),
            declared=measure.declared(),
        )
        for measure in wanted
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else value


def moved_note(teacher: Teacher) -> str | None:
    """A note on the rows that class chance leaves out; None where it uses all rows."""
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
    return "; ".join(note for note in [*notes, None if labelled else CLUSTERS_NOTE] if note) or None


def class_rows(teacher: Teacher) -> dict[str, int]:
    """Number of classes, of rows with and without a class, and of rows that are the only one of their class."""
    rows, n = len(teacher.voters.rows), len(teacher.codes)
    alone = int((~has_company(teacher.voters.codes)).sum())
    return {"classes": len(teacher.class_names), "labelled": rows, "unlabelled": n - rows, "alone": alone}
