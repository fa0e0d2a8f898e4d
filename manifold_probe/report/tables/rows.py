"""What a printed table holds, in LaTeX or Markdown: measures, students, yardsticks and what the marks mean."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from manifold_probe.report.document import SEVERAL, readings, students_of
from manifold_probe.report.readings import faithful, headline
from manifold_probe.report.records import Reading
from manifold_probe.report.verdict import best
from manifold_probe.report.words import teacher_name


class Yardstick(NamedTuple):
    """A row below the students: what it is, and for every measure the values of those students it holds for."""

    label: str
    values: dict[str, list[float]]


def neighbours_of(document: dict[str, Any]) -> int:
    """The number of neighbours, k."""
    return next(iter(students_of(document).values()))["settings"]["k"]


def measured(document: dict[str, Any]) -> dict[str, dict[str, Reading]]:
    """{student: {measure key: reading}}."""
    return {name: readings(each) for name, each in students_of(document).items()}


def leaders(document: dict[str, Any]) -> dict[str, str]:
    """{measure key: the student ahead of every other one}, where each paired difference excludes zero."""
    if document["schema"] != SEVERAL:
        return {}
    ahead = {key: best(document, key) for key in faithful(document)}
    return {key: name for key, name in ahead.items() if name is not None}


def yardsticks(document: dict[str, Any]) -> list[Yardstick]:
    """Chance, class chance, and the teacher's own principal components for every width narrower than the teacher.

    A student as wide as the teacher has the teacher itself for its reference: a row of ones, left out.
    """
    students = students_of(document)
    names = list(students)
    first = students[names[0]]
    width = {name: each["inputs"]["student"]["shape"][1] for name, each in students.items()}
    narrow = sorted({each for each in width.values() if each < first["inputs"]["teacher"]["shape"][1]}, reverse=True)
    kind = "cluster" if first["settings"].get("classes") == "k-means" else "class"
    rows = [
        ("chance", "chance", names),
        (f"{kind} chance", "class_chance", names),
        *((f"PCA, {each:,} dims", "reference", [name for name in names if width[name] == each]) for each in narrow),
    ]
    yardsticks = [Yardstick(label, _values(document, part, whose)) for label, part, whose in rows]
    return [row for row in yardsticks if any(row.values.values())]


def _values(document: dict[str, Any], part: str, names: list[str]) -> dict[str, list[float]]:
    read = measured(document)
    held = {key: [getattr(read[name][key], part) for name in names if key in read[name]] for key in headline(document)}
    return {key: [value for value in values if value is not None] for key, values in held.items()}


def facts(document: dict[str, Any]) -> str:
    """ "Teacher t.pt, 10,000 rows, k = 10."."""
    students = list(students_of(document).values())
    rows = sorted({each["pairing"]["rows"] for each in students})
    counted = f"{rows[0]:,}" if len(rows) == 1 else f"{rows[0]:,} to {rows[-1]:,}"
    return f"Teacher {teacher_name(students[0])}, {counted} rows, k = {neighbours_of(document)}."


def meanings(document: dict[str, Any]) -> list[str]:
    """What bold and the yardsticks of the table mean, in sentences."""
    labels = " ".join(row.label for row in yardsticks(document))
    sentences = [BOLD] if len(students_of(document)) > 1 else []
    if "chance" in labels:
        sentences.append("Chance: rows paired at random.")
    if "class chance" in labels:
        sentences.append("Class chance: rows shuffled within each class.")
    if "cluster chance" in labels:
        sentences.append("Cluster chance: rows shuffled within each k-means cluster of the teacher.")
    if "PCA" in labels:
        sentences.append("PCA: the teacher against as many of its principal components as a student has dimensions.")
    if len(students_of(document)) > 1:
        sentences.append("A range below the students: lowest to highest of them.")
    return sentences


BOLD = "Bold: ahead of every other student, each paired 95% interval of the difference above zero."


def distinct(names: Iterable[str]) -> list[str]:
    """The names, those that look like an earlier one numbered: shortening and escaping can make two alike.

    >>> distinct(["a", "a  ", "a (2)", "a"])
    ['a', 'a (2)', 'a (2) (2)', 'a (3)']
    """
    taken: list[str] = []
    for name in names:
        plain = re.sub(" +", " ", name).strip(" ") or "-"
        number, numbered = 1, plain
        while numbered in taken:
            number += 1
            numbered = f"{plain} ({number})"
        taken.append(numbered)
    return taken
