"""How much of a comparison of many students fits on a page of less than 5 MB; the saved JSON has all of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from manifold_probe.measures.catalogue import OVERLAP
from manifold_probe.report.document import students_of

BYTES = 4_800_000  # bytes of a page; what the text leaves of it, the figures may take
STUDENTS = 100
FIGURES = 600_000  # bytes that maps and thumbnails leave to the figures
SHEET = 2_500_000  # bytes of all thumbnails
NEIGHBOURS = 12_000  # names of neighbours in all lists of rows
CLASS_CELLS = 2_000  # classes times students
FEWEST = 5  # rows or classes that are listed in any case
ACROSS = 7  # students side by side on paper


def fewer(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The students of the page, in their order: all of them, or the `STUDENTS` that keep the most neighbours."""
    students = students_of(document)
    if len(students) <= STUDENTS:
        return students
    kept = set(sorted(students, key=lambda name: -overlap(students[name]))[:STUDENTS])
    return {name: each for name, each in students.items() if name in kept}


def overlap(student: dict[str, Any]) -> float:
    """The share of kept neighbours; 0 where it is undefined."""
    return student["measures"].get(OVERLAP.named(student["settings"]["k"]), {}).get("value") or 0.0


def most_rows(students: int, neighbours: int) -> int:
    """How many of each student's rows to list, with so many neighbours on either side.

    >>> most_rows(12, 10), most_rows(40, 10), most_rows(100, 20)
    (50, 15, 5)
    """
    return max(FEWEST, NEIGHBOURS // (2 * students * max(neighbours, 1)))


def most_classes(students: int) -> int:
    """How many classes to list.

    >>> most_classes(1), most_classes(40)
    (100, 50)
    """
    return min(100, max(FEWEST, CLASS_CELLS // students))


def blocks(students: int) -> list[range]:
    """The columns of each table on paper, about as many in each.

    >>> blocks(7), blocks(12)
    ([range(0, 7)], [range(0, 6), range(6, 12)])
    """
    count = -(-students // ACROSS)
    ends = [place * students // count for place in range(count + 1)]
    return [range(start, end) for start, end in pairwise(ends)]
