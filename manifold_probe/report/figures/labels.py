"""Names that fit a figure: short, no two alike, with every character drawn."""

from __future__ import annotations

import re
from collections import Counter
from itertools import count
from typing import Any

from manifold_probe.report.document import SEVERAL, students_of
from manifold_probe.report.figures.canvas import text_width
from manifold_probe.report.figures.look import Look, drawable
from manifold_probe.report.words import shown, student_name, teacher_name


def student_labels(document: dict[str, Any], limit: int = 28) -> dict[str, str]:
    """Student -> what a figure calls it."""
    if document["schema"] != SEVERAL:
        return {name: fitting(student_name(one), limit) for name, one in students_of(document).items()}
    return dict(zip(document["students"], distinct(list(document["students"]), limit), strict=True))


def teacher_label(document: dict[str, Any], limit: int = 28) -> str:
    """What a figure calls the teacher."""
    return fitting(teacher_name(next(iter(students_of(document).values()))), limit)


def distinct(names: list[Any], limit: int) -> list[str]:
    """Names cut to ``limit`` characters; those that read the same then are numbered.

    >>> distinct(["a", "b" * 30, "b" * 40], 9)
    ['a', 'bbb...bbb (1)', 'bbb...bbb (2)']
    """
    short = [fitting(name, limit) for name in names]
    times, seen = Counter(short), Counter[str]()
    numbered = []
    for name in short:
        seen[name] += 1
        numbered.append(name if times[name] == 1 else f"{name} ({seen[name]})")
    return numbered


def fitting(thing: Any, limit: int) -> str:
    """One name: control characters and those that no font has written out, the middle of a long one left out."""
    text = str(thing)
    ends = text if len(text) <= 2 * limit else text[:limit] + text[-limit:]
    return shown("".join(_written(character) for character in ends), limit) or "(empty)"


def fitting_width(thing: Any, look: Look, inches: float) -> str:
    """One name in bold, cut until it is no wider than this."""
    limit = 28
    while limit > 8 and text_width(fitting(thing, limit), look, "bold") > inches:
        limit -= 1
    return fitting(thing, limit)


def _written(character: str) -> str:
    visible = shown(character)
    return visible if ord(character) in drawable() else character.encode("unicode_escape").decode()


OF_EACH = ("account", "causes", "maps")  # figures of one student alone


def names_of_each(document: dict[str, Any], figure: str) -> dict[str, str]:
    """Names of a figure of one student, as of maps -> the student it shows."""
    students = list(students_of(document))
    if document["schema"] != SEVERAL:
        return {figure: students[0]}
    return dict(zip((f"{figure}-{slug}" for slug in slugs(students)), students, strict=True))


def slugs(names: list[str]) -> list[str]:
    """Names as parts of file names, no two alike.

    >>> slugs(["CoSS, b=1", "../x", "CoSS b=1"])
    ['coss-b-1', 'x', 'coss-b-1-2']
    """
    taken: list[str] = []
    for name in names:
        slug = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")[:40].strip("-.") or "student"
        candidates = (f"{slug}-{number}" for number in count(2))
        taken.append(slug if slug not in taken else next(one for one in candidates if one not in taken))
    return taken
