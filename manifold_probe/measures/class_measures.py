"""The class measures of a pair with chance, class chance and notes: what voting neighbours say, and what they cannot.

Only rows with a class vote and are judged, so that the measures are exactly those of these rows alone. They are
undefined where no two rows share a class; of a class of one row the accuracies count its row as wrong, which no other
row could vote for, and say how many such rows there are.

Class chance moves every row of the student to another row's place within its class (`rows.cycled_within`). A row that
is the only one of its class cannot move and is left out; where that is more than half of the rows with a class, there
is no class chance.
"""

from __future__ import annotations

import numpy as np

from manifold_probe.engine.rows import MOVED, has_company
from manifold_probe.measures import classes
from manifold_probe.measures.results import Measure
from manifold_probe.measures.sides import Side, Teacher
from manifold_probe.measures.uncertainty import Estimate

KEYS = ("knn_agreement", "knn_kappa", "knn_accuracy_teacher", "knn_accuracy_student")
STAND_IN = "no labels: classes are the teacher's k-means clusters, which the interval takes as given"


def measure_classes(
    teacher: Teacher, k: int, student: Side | None, found: dict[str, Estimate], seed: int
) -> dict[str, Measure]:
    """The class measures by key, from their estimates (by key without the k) on the rows with a class."""
    voters = teacher.voters
    if voters.side is None or student is None:
        return _undefined(k, len(voters.rows), f"{len(voters.rows):,} rows with a label are too few for k = {k}")
    if not has_company(voters.codes).any():
        return _undefined(k, len(voters.rows), "every class has one row, so that no other row can vote for it")
    own = voters.codes[voters.side.queries]
    first, second = (classes.predictions(side.cosine, voters.codes) for side in (voters.side, student))
    chance: dict[str, float | None] = {**classes.vote_chance(voters.side.cosine, student.cosine, voters.codes, seed)}
    if not np.isfinite(chance["knn_kappa"] or 0.0):
        chance["knn_kappa"] = None
    within = _within(first, second, own)
    return {
        f"{key}@{k}": Measure(
            found[key], len(own), chance[key], within.get(key), metric="cosine", note=_note(key, found, teacher)
        )
        for key in KEYS
    }


def _undefined(k: int, rows: int, why: str) -> dict[str, Measure]:
    return {f"{key}@{k}": Measure(Estimate(None), rows, metric="cosine", note=why) for key in KEYS}


def _within(first: np.ndarray, second: np.ndarray, own: np.ndarray) -> dict[str, float]:
    """Class chance of agreement and kappa; kappa's own expectation stays, since rows only change places."""
    moves = has_company(own)
    if moves.mean() < MOVED:
        return {}
    first, second, own = first[moves], second[moves], own[moves]
    expected, agreed = classes.expected_agreement(first, second), classes.agreement_within(first, second, own)
    return {"knn_agreement": agreed} | ({"knn_kappa": (agreed - expected) / (1 - expected)} if expected < 1 else {})


def class_chance(terms: np.ndarray, own: np.ndarray) -> float | None:
    """The mean of expected terms (q,) over the queries that can move; None where they are few of those with a class.

    ``own`` (q,) are the queries' classes, -1 for none.
    """
    moved = np.isfinite(terms)
    return float(terms[moved].mean()) if moved.any() and moved.sum() >= MOVED * (own >= 0).sum() else None


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


def _note(key: str, found: dict[str, Estimate], teacher: Teacher) -> str | None:
    voters, labelled = teacher.voters, teacher.class_source == "labels"
    notes = []
    if len(teacher.class_names) == 1:
        notes.append("the labels hold one class" if labelled else "the teacher's rows are one cluster")
    elif found[key].value is None:
        notes.append("both spaces vote for one class everywhere")
    elif key == "knn_agreement":
        one, two = found["knn_accuracy_teacher"].value or 0.0, found["knn_accuracy_student"].value or 0.0
        alone = classes.agreement_from_accuracies(one, two, len(teacher.class_names))
        notes.append(f"the two accuracies alone would give {alone:.3f}")
    without = len(teacher.codes) - len(voters.rows)
    if without:
        notes.append(f"{without:,} rows without a label are left out")
    lonely = int((~has_company(voters.codes)).sum())
    if lonely and "accuracy" in key:
        notes.append(f"{lonely:,} rows are the only one of their class and count as wrong")
    return "; ".join(notes + ([] if labelled else [STAND_IN])) or None


def class_rows(teacher: Teacher) -> dict[str, int]:
    """How many classes there are, rows with and without one, and rows that are the only one of theirs."""
    rows, n = len(teacher.voters.rows), len(teacher.codes)
    alone = int((~has_company(teacher.voters.codes)).sum())
    return {"classes": len(teacher.class_names), "labelled": rows, "unlabelled": n - rows, "alone": alone}
