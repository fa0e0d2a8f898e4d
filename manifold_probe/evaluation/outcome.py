"""What is evaluated and what comes out: rows in both spaces, and one score for each with the fidelity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.evaluation.fidelity import accuracy, agreement
from manifold_probe.evaluation.inputs import as_rows
from manifold_probe.spaces.columns import clean_column
from manifold_probe.spaces.labels import is_labelled, marked, of_one_kind
from manifold_probe.spaces.pairing import Pair

Predict = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # (bank, labels, queries) -> labels of the queries


@dataclass(frozen=True)
class Part:
    """The same rows in both spaces: teacher (n, dt), student (n, ds), and labels and ids (n,) where known.

    Rows may lack a label: see `spaces.labels`.
    """

    teacher: np.ndarray
    student: np.ndarray
    labels: np.ndarray | None = None
    ids: np.ndarray | None = None
    name: str = "rows"

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
    def known(self) -> np.ndarray:
        """The labels.

        Raises
        ------
        InputError
            Where there are none.
        """
        if self.labels is None:
            raise InputError(f"{self.name}: has no labels; put 'labels' into its file or give a file of them")
        return self.labels

    @property
    def has_label(self) -> np.ndarray:
        """Which rows have a label, (n,)."""
        return np.zeros(self.n, dtype=bool) if self.labels is None else is_labelled(marked(self.labels))

    @property
    def labelled(self) -> Part:
        """The rows that have a label. Raises InputError where none has."""
        known = is_labelled(marked(self.known))
        if not known.any():
            raise InputError(f"{self.name}: no row has a label; put 'labels' into its file or give a file of them")
        return self if known.all() else self.only(known)

    def only(self, rows: np.ndarray) -> Part:
        """Some of the rows, by mask or number."""
        labels, ids = (None if each is None else each[rows] for each in (self.labels, self.ids))
        return replace(self, teacher=self.teacher[rows], student=self.student[rows], labels=labels, ids=ids)


@dataclass(frozen=True)
class Outcome:
    """One score of teacher and student: ``key`` names it, ``n`` rows were judged, ``fidelity`` has its own keys.

    What is not defined is None, and ``note`` says why; ``details`` is what the score is a mean of.
    """

    key: str
    teacher: float | None
    student: float | None
    n: int
    fidelity: dict[str, float | None] = field(default_factory=dict)
    note: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


def part_of(pair: Pair, name: str) -> Part:
    """The rows of a pair, read whole."""
    return Part(as_rows(pair.teacher, name), as_rows(pair.student, name), pair.labels, pair.ids, name)


def classified(key: str, predict: Predict, bank: Part, test: Part, note: str | None = None) -> Outcome:
    """A classifier fitted on each side's bank: its accuracy on each side's test rows, and how far the two agree."""
    known, labels = of_one_kind(bank.known, test.known)
    if not np.isin(labels, known).any():
        few = [str(np.unique(each)[:3].tolist())[1:-1] for each in (bank.known, test.known)]
        raise InputError(
            f"labels: no label of the {test.name} rows ({few[1]}, ...) is among the bank's ({few[0]}, ...); give both "
            "files the same codes for the same classes"
        )
    teacher, student = (predict(rows, known, asked) for rows, asked in zip(bank.sides, test.sides, strict=True))
    return judged(key, teacher, student, labels, len(np.unique(known)), note)


def judged(
    key: str,
    teacher: np.ndarray,
    student: np.ndarray,
    labels: np.ndarray,
    classes: int,
    note: str | None = None,
    details: dict[str, Any] | None = None,
) -> Outcome:
    """The accuracy of two predictions (n,) of one of ``classes``, and how far they agree."""
    alike = agreement(teacher, student, labels, classes)
    return Outcome(key, accuracy(teacher, labels), accuracy(student, labels), len(labels), alike, note, details or {})
