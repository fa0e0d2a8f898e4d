"""The measures of every student as strips on a common axis, in the groups of the report."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from manifold_probe.report.document import readings, students_of
from manifold_probe.report.page.strips import Axis, Strip, common_axis, own_axis, strip
from manifold_probe.report.readings import catalogue, gloss, grouped, headline, reading, title
from manifold_probe.report.records import Reading
from manifold_probe.report.words import interval, number

BRACKETS = re.compile(r" \([^)]*\)")
EVERY = 6  # lines of a phone's screen: after so many, the axis is said again there


@dataclass(frozen=True)
class Line:
    """One value with its strip; ``student`` is its place among the students, None for a value of the teacher.

    ``again``: the axis's labels above it are far away on a phone.
    """

    student: int | None
    measure: Reading
    strip: Strip
    again: bool


@dataclass(frozen=True)
class Undefined:
    """The students (places, as in a line) in which a measure is undefined for the same reason."""

    students: list[int | None]
    note: str | None


@dataclass(frozen=True)
class Block:
    """One measure of all students; of several, those in which it is undefined stand apart."""

    key: str
    title: str
    words: str
    lines: list[Line]
    undefined: list[Undefined]
    axis: Axis


@dataclass(frozen=True)
class Group:
    """Measures under one heading; ``axis`` is None where the blocks have different axes.

    ``yardsticks``: whether there are columns for them. All groups on the common axis have them or none has, for else
    0 and 1 would not stand in one line down the page.
    """

    title: str
    axis: Axis | None
    blocks: list[Block]
    yardsticks: bool


def main_measures(document: dict[str, Any]) -> list[Block]:
    """The headline measures of one student, which the page shows first, on one axis."""
    measures = [readings(each) for each in students_of(document).values()]
    keys = headline(document)
    return _blocks(keys, common_axis(each[key] for key in keys for each in measures if key in each), document)


def groups(document: dict[str, Any]) -> list[Group]:
    """The measures that the page does not show first, in the order of the report.

    Groups of measures that end at 1 share an axis; what describes one space alone, or has no upper end, has a separate
    one.
    """
    students, declared = students_of(document), catalogue(document)
    measures = [readings(each) for each in students.values()]
    shown_first = set(headline(document))
    rest = {name: [key for key in members if key not in shown_first] for name, members in grouped(document).items()}
    keys = {name: members for name, members in rest.items() if members}
    common = [name for name in keys if all(declared[key].bounds[1] == 1 for key in keys[name])]
    shares = [each[key] for name in common for key in keys[name] for each in measures if key in each]
    axis, yardsticks = common_axis(shares), _yardsticks(shares)

    def group(name: str, members: list[str]) -> Group:
        if name in common:
            return Group(name, axis, _blocks(members, axis, document), yardsticks)
        alone = [each[key] for key in members for each in measures if key in each]
        return Group(name, None, _blocks(members, None, document), _yardsticks(alone))

    return [group(name, members) for name, members in keys.items()]


def _yardsticks(measures: list[Reading]) -> bool:
    """Whether any of them has a chance level or a reference."""
    known = [value for each in measures for value in (each.chance, each.class_chance, each.reference)]
    return any(value is not None for value in known)


def _blocks(keys: list[str], axis: Axis | None, document: dict[str, Any]) -> list[Block]:
    measures = [readings(each) for each in students_of(document).values()]
    blocks: list[Block] = []
    for key in keys:
        # the two sides of a pair share an axis, so that they can be compared
        pair = (key.replace("_student", "_teacher"), key.replace("_teacher", "_student"))
        of_pair = axis or own_axis(each[side] for each in measures for side in pair if side in each)
        above = sum(len(block.lines) for block in blocks) if axis else 0
        blocks.append(_block(key, of_pair, document, above))
    return blocks


def _block(key: str, axis: Axis, document: dict[str, Any], above: int) -> Block:
    students, declared = students_of(document), catalogue(document)[key]
    first = next(iter(students.values()))
    all_of = [(place, readings(each).get(key)) for place, each in enumerate(students.values())]
    known: list[tuple[int | None, Reading]] = [(place, each) for place, each in all_of if each is not None]
    # what describes the teacher alone is the same with every student
    if declared.side == "teacher" and len({_printed(measure) for _, measure in known}) == 1:
        known = [(None, known[0][1])]
    undefined = []
    if len(students) > 1:
        undefined = _undefined([(place, measure.note) for place, measure in known if measure.value is None])
        known = [(place, measure) for place, measure in known if measure.value is not None]
    lines = [
        Line(place, each, strip(each, axis), (above + turn) % EVERY == 0)
        for turn, (place, each) in enumerate(known, start=1)
    ]
    words = reading(key, first) if len(students) == 1 else gloss(key, document)
    return Block(key, title(key, document), words, lines, undefined, axis)


def _undefined(notes: list[tuple[int | None, str | None]]) -> list[Undefined]:
    """Every note once: those that differ in what stands in brackets, as the students' widths, are one without it.

    >>> _undefined([(0, "widths (1, 2)"), (1, "widths (1, 3)"), (2, "rank (1)")])
    [Undefined(students=[0, 1], note='widths'), Undefined(students=[2], note='rank (1)')]
    """
    alike: dict[str, list[tuple[int | None, str | None]]] = {}
    for place, note in notes:
        alike.setdefault(BRACKETS.sub("", note or ""), []).append((place, note))
    return [
        Undefined([place for place, _ in these], these[0][1] if len({note for _, note in these}) == 1 else words)
        for words, these in alike.items()
    ]


def _printed(measure: Reading) -> tuple[str, str]:
    return number(measure.value), interval(measure.low, measure.high)
