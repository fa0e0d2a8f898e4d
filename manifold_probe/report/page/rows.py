"""The classes, and the rows that lost most of their neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MOST_NEIGHBOURS = 20
MOST_ROWS = 12


@dataclass(frozen=True)
class ClassRow:
    """One class or slice: how many queries, and what every student keeps of it (None where it was not measured)."""

    name: Any
    n: int
    students: list[dict[str, Any] | None]

    @property
    def lowest(self) -> float:
        """The overlap of the student that suffers most."""
        return min(_overlap(each) for each in self.students if each)


@dataclass(frozen=True)
class WorstRow:
    """A row, its neighbours with whether both spaces name them, and how many are left out of each list."""

    row: int
    id: Any
    label: Any
    overlap: float | None
    teacher: list[tuple[Any, bool]]
    student: list[tuple[Any, bool]]
    left_out: int


@dataclass(frozen=True)
class WorstRows:
    """The rows of one student that lost most; ``differ``: whether their overlap does, so that it needs a column."""

    rows: list[WorstRow]
    sentence: str
    differ: bool


def worst_first(classes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Classes by overlap, the undefined last."""
    return sorted(classes, key=_overlap)


def classes(students: dict[str, dict[str, Any]]) -> list[ClassRow]:
    """Every class, that which suffers most in any student first."""
    by_name = [{row["class"]: row for row in each["details"].get("per_class") or []} for each in students.values()]
    rows = []
    for name in dict.fromkeys(name for of_student in by_name for name in of_student):
        of_name = [of_student.get(name) for of_student in by_name]
        rows.append(ClassRow(name, max(row["n"] for row in of_name if row), of_name))
    return sorted(rows, key=lambda row: row.lowest)


def worst_rows(document: dict[str, Any], most: int) -> WorstRows | None:
    """The rows that lost most, at most so many, and what is said of all that the document lists; None without any."""
    lost = listed(document)
    if not lost:
        return None
    rows = [_worst(row) for row in lost[: min(most, MOST_ROWS)]]
    none = sum(row.get("overlap") == 0 for row in lost)
    sentence = f"{none} of the {len(lost)} rows that lost most keep no neighbour." if none else ""
    if len(rows) < len(lost):
        sentence += f" The first {len(rows)} of the {len(lost)}; the saved JSON holds all."
    return WorstRows(rows, sentence.strip(), len({row.overlap for row in rows}) > 1)


def listed(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that lost most, all that the document holds."""
    return document["details"].get("worst_rows") or []


def longest(document: dict[str, Any]) -> int:
    """How many neighbours the page names for each row, at most."""
    known = [len(row[side]) for row in listed(document) for side in ("teacher_neighbours", "student_neighbours")]
    return min(MOST_NEIGHBOURS, max(known, default=0))


def _worst(row: dict[str, Any]) -> WorstRow:
    teacher, student = row["teacher_neighbours"], row["student_neighbours"]
    both = set(teacher) & set(student)
    return WorstRow(
        row["row"],
        row.get("id"),
        row.get("label"),
        row.get("overlap"),
        [(name, name in both) for name in teacher[:MOST_NEIGHBOURS]],
        [(name, name in both) for name in student[:MOST_NEIGHBOURS]],
        max(len(teacher), len(student)) - MOST_NEIGHBOURS,
    )


def _overlap(row: dict[str, Any]) -> float:
    return float("inf") if row.get("overlap") is None else row["overlap"]
