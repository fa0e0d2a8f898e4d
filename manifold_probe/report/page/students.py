"""Several students: one table of their headline measures, and the paired differences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from manifold_probe.report.comparison import MOST_PAIRS
from manifold_probe.report.document import readings
from manifold_probe.report.page.room import overlap
from manifold_probe.report.readings import faithful, headline, title
from manifold_probe.report.records import Reading
from manifold_probe.report.verdict import best
from manifold_probe.report.words import number, shown

MOST_LISTED = 1000  # pairs


@dataclass(frozen=True)
class Cell:
    """A student's value of a measure; ``best`` where every paired difference to another excludes zero."""

    measure: Reading | None
    best: bool


@dataclass(frozen=True)
class Table:
    """The headline measures of all students: ``rows`` holds (place of the student, its cells), ``yardsticks`` what
    each measure's chance level, class chance and reference are, as text, over all students."""

    titles: list[str]
    rows: list[tuple[int, list[Cell]]]
    yardsticks: dict[str, list[str]]


@dataclass(frozen=True)
class Gap:
    """A paired difference: of the measure in ``title``, or of overlap between the students ``a`` and ``b``."""

    title: str
    a: str
    b: str
    value: float
    low: float | None
    high: float | None

    @property
    def ahead(self) -> str | None:
        """Who is ahead, where the interval excludes zero."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return None
        return self.a if self.low > 0 else self.b


def table(document: dict[str, Any], students: dict[str, dict[str, Any]]) -> Table:
    """The headline measures of these students; best is who is ahead of all in the document."""
    measures = [readings(each) for each in students.values()]
    keys, judged = headline(document), set(faithful(document))
    first = {key: best(document, key) if key in judged else None for key in keys}
    rows = [
        (place, [Cell(each.get(key), name == first[key]) for key in keys])
        for place, (name, each) in enumerate(zip(students, measures, strict=True))
    ]
    yardsticks = {
        name: [_range(getattr(each[key], name) for each in measures if key in each) for key in keys]
        for name in ("chance", "class_chance", "reference")
    }
    return Table([title(key, document) for key in keys], rows, yardsticks)


def _range(values: Iterable[float | None]) -> str:
    """ "0.81 to 0.84", one number where all are printed alike, or "" where none is known."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = number(min(known)), number(max(known))
    return low if low == high else f"{low} to {high}"


def differences(
    document: dict[str, Any], students: dict[str, dict[str, Any]]
) -> tuple[list[tuple[str, list[Gap]]], str | None]:
    """(caption, gaps): the main measures for every two students, or overlap alone where the pairs are many.

    Where they are more than `MOST_LISTED`, the pairs of the student that keeps the most neighbours, and its name.
    """
    rows = {(row["a"], row["b"], row["measure"]): row for row in document["differences"]}
    pairs, main = list(combinations(students, 2)), headline(document)
    first = max(students, key=lambda name: overlap(students[name])) if len(pairs) > MOST_LISTED else None
    pairs = [pair for pair in pairs if first is None or first in pair]

    def gaps(wanted: list[tuple[str, str, str]]) -> list[Gap]:
        found = [rows[each] for each in wanted if each in rows]
        return [_gap(row, document) for row in found if row["value"] is not None]

    if many(document):
        tables = [(title(main[0], document), gaps([(a, b, main[0]) for a, b in pairs]))]
    else:
        tables = [(f"{shown(a)} minus {shown(b)}", gaps([(a, b, key) for key in main])) for a, b in pairs]
    return [each for each in tables if each[1]], first


def many(document: dict[str, Any]) -> bool:
    """Whether there are too many pairs for a table each."""
    return len(list(combinations(document["students"], 2))) > MOST_PAIRS


def _gap(row: dict[str, Any], document: dict[str, Any]) -> Gap:
    return Gap(title(row["measure"], document), row["a"], row["b"], row["value"], row["low"], row["high"])
