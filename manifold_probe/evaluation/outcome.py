"""Input and output of an evaluation: rows in both spaces, and a score of both models with the student's fidelity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.evaluation.fidelity import agreement
from manifold_probe.evaluation.inputs import as_rows
from manifold_probe.evaluation.intervals import mean_of
from manifold_probe.measures.uncertainty import Estimate
from manifold_probe.spaces.columns import clean_column
from manifold_probe.spaces.labels import is_labelled, marked, of_one_kind
from manifold_probe.spaces.pairing import Pair

Predict = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # (bank, labels, queries) -> labels of the queries


@dataclass(frozen=True)
class Part:
    """The same rows in both spaces: teacher (n, dt), student (n, ds), and labels and ids (n,) if known.

    Some rows may have no label: see `spaces.labels`. Where rows are tokens, ``sets`` (n,) numbers the set of each: the
    tokens of a set are not independent.
    """

    teacher: np.ndarray
    student: np.ndarray
    labels: np.ndarray | None = None
    ids: np.ndarray | None = None
    name: str = "rows"
    sets: np.ndarray | None = None

    def __post_init__(self) -> None:
        for side in ("teacher", "student"):
            object.__setattr__(self, side, as_rows(getattr(self, side), f"{self.name}: {side}"))
        if len(self.teacher) != len(self.student):
            raise InputError(f"{self.name}: teacher has {len(self.teacher)} rows and student {len(self.student)}")
        if self.labels is not None:
            object.__setattr__(self, "labels", clean_column(self.labels, "labels", self.name, self.n))

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.teacher)

    @property
    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        """The teacher's rows and the student's."""
        return self.teacher, self.student

    @property
    def required_labels(self) -> np.ndarray:
        """The labels.

        Raises
        ------
        InputError
            If there are none.
        """
        if self.labels is None:
            raise InputError(f"{self.name}: has no labels; save 'labels' in its file or give a file of labels")
        return self.labels

    @property
    def has_label(self) -> np.ndarray:
        """A mask (n,) of the rows that have a label."""
        return np.zeros(self.n, dtype=bool) if self.labels is None else is_labelled(marked(self.labels))

    @property
    def labelled(self) -> Part:
        """The rows that have a label. Raises InputError if there are none."""
        has_label = is_labelled(marked(self.required_labels))
        if not has_label.any():
            raise InputError(f"{self.name}: no row has a label; save 'labels' in its file or give a file of labels")
        return self if has_label.all() else self.only(has_label)

    def only(self, rows: np.ndarray) -> Part:
        """Some of the rows, by mask or row numbers."""
        labels, ids, sets = (None if column is None else column[rows] for column in (self.labels, self.ids, self.sets))
        return replace(self, teacher=self.teacher[rows], student=self.student[rows], labels=labels, ids=ids, sets=sets)

    @property
    def units(self) -> np.ndarray:
        """Numbers (n,) of what is independent: the rows, or their sets."""
        return np.arange(self.n) if self.sets is None else self.sets


@dataclass(frozen=True)
class Outcome:
    """A score of teacher and student: ``key`` names it, ``n`` counts the test rows, ``fidelity`` compares the two.

    An undefined score has the value None, and ``note`` states the reason; ``details`` lists the values that the score
    averages.
    """

    key: str
    of_teacher: Estimate
    of_student: Estimate
    n: int
    fidelity: dict[str, float | None] = field(default_factory=dict)
    note: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def teacher(self) -> float | None:
        """The teacher's score."""
        return self.of_teacher.value

    @property
    def student(self) -> float | None:
        """The student's score."""
        return self.of_student.value


def part_of(pair: Pair, name: str) -> Part:
    """All rows of a pair, in memory."""
    sets = None
    if pair.teacher.source.tokens is not None:
        rows = pair.teacher.order if pair.teacher.order is not None else np.arange(pair.teacher.n)
        sets = rows // pair.teacher.source.tokens
    return Part(as_rows(pair.teacher, name), as_rows(pair.student, name), pair.labels, pair.ids, name, sets)


def classified(key: str, predict: Predict, bank: Part, test: Part, note: str | None = None) -> Outcome:
    """A classifier fitted on the bank in each space: accuracy on the test rows, and agreement of the two models."""
    bank_labels, test_labels = of_one_kind(bank.required_labels, test.required_labels)
    if not np.isin(test_labels, bank_labels).any():
        in_bank, in_test = (str(np.unique(part.required_labels)[:3].tolist())[1:-1] for part in (bank, test))
        raise InputError(
            f"labels: no label of the {test.name} rows ({in_test}, ...) is in the bank ({in_bank}, ...); give both "
            "files the same codes for the same classes"
        )
    teacher, student = (
        predict(rows, bank_labels, queries) for rows, queries in zip(bank.sides, test.sides, strict=True)
    )
    return scored(key, teacher, student, test_labels, len(np.unique(bank_labels)), note, units=test.units)


def scored(
    key: str,
    teacher: np.ndarray,
    student: np.ndarray,
    labels: np.ndarray,
    classes: int,
    note: str | None = None,
    details: dict[str, Any] | None = None,
    units: np.ndarray | None = None,
) -> Outcome:
    """The accuracy of two predictions of one of ``classes``, and their agreement.

    Predictions are (n,), or (m, n) for m predictions of the same rows.
    """
    repeated = np.broadcast_to(labels, teacher.shape).ravel()
    fidelity = agreement(teacher.ravel(), student.ravel(), repeated, classes)
    scores = [mean_of(np.atleast_2d(side == labels).mean(axis=0), units) for side in (teacher, student)]
    return Outcome(key, scores[0], scores[1], repeated.size, fidelity, note, details or {})
