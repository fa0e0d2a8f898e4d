"""The measures of every student as strips on a common axis, in the groups of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manifold_probe.report.document import Reading, readings
from manifold_probe.report.page.strips import Axis, Strip, common_axis, own_axis, strip
from manifold_probe.report.readings import FAITHFUL, gloss, grouped, reading
from manifold_probe.report.titles import title
from manifold_probe.report.words import interval, number

OTHERS = "Others"


@dataclass(frozen=True)
class Line:
    """One value with its strip; ``student`` is its place among the students, None for the teacher's own value."""

    student: int | None
    measure: Reading
    strip: Strip


@dataclass(frozen=True)
class Block:
    """One measure of all students."""

    key: str
    title: str
    words: str
    lines: list[Line]
    axis: Axis


@dataclass(frozen=True)
class Group:
    """Measures under one heading; ``axis`` is None where every block has its own."""

    title: str
    axis: Axis | None
    blocks: list[Block]

    @property
    def yardsticks(self) -> bool:
        """Whether any of them has a chance level or a reference."""
        measures = [line.measure for block in self.blocks for line in block.lines]
        known = [value for each in measures for value in (each.chance, each.class_chance, each.reference)]
        return any(value is not None for value in known)


def groups(students: dict[str, dict[str, Any]]) -> list[Group]:
    """Every measure that any student has, in the order of the report."""
    measures = [readings(each) for each in students.values()]
    keys = grouped_keys(students)
    common = [name for name in keys if name in (*FAITHFUL, OTHERS)]
    shared = common_axis(each[key] for name in common for key in keys[name] for each in measures if key in each)
    return [_group(name, members, shared if name in common else None, students) for name, members in keys.items()]


def grouped_keys(students: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """{heading: keys} of the measures that any student has; those that the report does not know come last."""
    first = next(iter(students.values()))
    present = dict.fromkeys(key for each in students.values() for key in each["measures"])
    found = {name: [key for key in keys if key in present] for name, keys in grouped(first["settings"]["k"])}
    known = {key for keys in found.values() for key in keys}
    found[OTHERS] = [key for key in present if key not in known]
    return {name: keys for name, keys in found.items() if keys}


def _group(name: str, keys: list[str], axis: Axis | None, students: dict[str, dict[str, Any]]) -> Group:
    measures = [readings(each) for each in students.values()]
    blocks = []
    for key in keys:
        # the two sides of a pair share an axis, so that they can be compared
        pair = (key.replace("_student", "_teacher"), key.replace("_teacher", "_student"))
        own = axis or own_axis(each[side] for each in measures for side in pair if side in each)
        blocks.append(_block(key, own, students))
    return Group(name, axis, blocks)


def _block(key: str, axis: Axis, students: dict[str, dict[str, Any]]) -> Block:
    first = next(iter(students.values()))
    k = first["settings"]["k"]
    found = [(place, readings(each).get(key)) for place, each in enumerate(students.values())]
    lines = [Line(place, each, strip(each, axis)) for place, each in found if each is not None]
    # what tells of the teacher alone is the same beside every student
    if key.split("@")[0].endswith("_teacher") and len({_printed(line.measure) for line in lines}) == 1:
        lines = [Line(None, lines[0].measure, lines[0].strip)]
    words = reading(key, first) if len(students) == 1 else gloss(key, k)
    return Block(key, title(key, k), words, lines, axis)


def _printed(measure: Reading) -> tuple[str, str]:
    return number(measure.value), interval(measure.low, measure.high)
