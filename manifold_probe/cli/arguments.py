"""What a user types, as the verbs take it: the two sides, names of students and results, an allowed drop."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from manifold_probe.errors import InputError

DEFAULT_DROP = 0.02
FILES = 0.005  # of the time that the rest takes: how long it takes to write the results
EXTRACT_ONLY = ("--skip-bad", "--dtype", "--weights", "--out")


def two_sides(arguments: list[str] | None, teacher: str | None, students: list[str] | None) -> tuple[str, list[str]]:
    """Teacher and students: those of the options, and those given without names, the teacher first.

    >>> two_sides(["t.pt", "a.pt", "b.pt"], None, None)
    ('t.pt', ['a.pt', 'b.pt'])
    >>> two_sides(["a.pt"], "t.pt", ["b.pt"])
    ('t.pt', ['a.pt', 'b.pt'])
    """
    rest = list(arguments or [])
    if teacher is None and rest:
        teacher = rest.pop(0)
    if teacher is None:
        raise InputError("--teacher: missing; give the features of teacher and student, as in t.pt s.pt")
    students = [*rest, *(students or [])]
    if not students:
        raise InputError(f"--student: missing; give the student's features too, as in {teacher} s.pt")
    return teacher, students


def two_sides_of_one(arguments: list[str] | None, teacher: str | None, student: str | None) -> tuple[str, str]:
    """Teacher and student, as `two_sides`. Raises InputError for several students."""
    teacher, students = two_sides(arguments, teacher, None if student is None else [student])
    if len(students) > 1:
        raise InputError(f"--student: {' and '.join(students)} are given; run the command once for each student")
    return teacher, students[0]


def named_students(texts: list[str]) -> dict[str, str]:
    """{name: path} from PATH or NAME=PATH; a path's default name is its file's stem.

    >>> named_students(["runs/a.pt", "best=runs/b.pt"])
    {'a': 'runs/a.pt', 'best': 'runs/b.pt'}
    >>> named_students(["python:nets:make?seed=1"])
    {'nets:make?seed=1': 'python:nets:make?seed=1'}
    """
    from manifold_probe.models.source import has_kind

    students: dict[str, str] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if has_kind(text):
            name, path = text.partition(":")[2], text
        elif not equals or "/" in name or os.path.exists(text.rpartition("::")[0] or text):
            file = text.rpartition("::")[0] or text
            name, path = Path(file).stem or Path(file).resolve().name, text
        name = name.strip()
        if not name or not path:
            raise InputError(f"--student: {text!r} is neither PATH nor NAME=PATH; write --student best=runs/s.pt")
        if name in students:
            fix = f"name them, as in --student {name}1={students[name]} --student {name}2={path}"
            raise InputError(f"--student: {students[name]} and {path} are both called {name!r}; {fix}")
        students[name] = path
    return students


def measures_named(text: str | None, k: int) -> list[str] | None:
    """The measure keys in "overlap@10,linear_cka", or None for all.

    >>> measures_named("overlap@10, linear_cka", 10)
    ['overlap@10', 'linear_cka']
    """
    from manifold_probe.measures.user_defined import chosen

    if text is None:
        return None
    keys = [part.strip() for part in text.split(",")]
    try:
        return [measure.named(k) for measure in chosen(keys, k)]
    except InputError as error:
        raise InputError(f"--{error}") from error


def named_results(texts: list[str]) -> dict[str, str | None]:
    """{path: name, or None} from PATH or NAME=PATH.

    >>> named_results(["a.json", "best=runs/b.json"])
    {'a.json': None, 'runs/b.json': 'best'}
    """
    results: dict[str, str | None] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or "/" in name or os.path.exists(text):
            name, path = "", text
        elif not name.strip() or not path:
            raise InputError(f"RESULT: {text!r} is neither PATH nor NAME=PATH; write best=runs/b.json")
        if path in results:
            raise InputError(f"RESULT: {path} is given twice; give every result once")
        results[path] = name.strip() or None
    return results


@contextmanager
def advising_extract() -> Iterator[None]:
    """Around a verb that may extract features: where advice names an option that only ``probe extract`` has, say so."""
    try:
        yield
    except InputError as error:
        named = next((option for option in EXTRACT_ONLY if option in str(error)), None)
        if named is None:
            raise
        raise InputError(
            f"{error} ({named} belongs to probe extract: run that, and give its folder in place of the model)"
        ) from error


def checked_drop(max_drop: float | None, baseline: str | None) -> float:
    """How far a measure may fall; refused without a baseline, and where it is no number of at least 0."""
    if max_drop is None:
        return DEFAULT_DROP
    if baseline is None:
        raise InputError("--max-drop: there is no --baseline to fall from; add --baseline OLD.json")
    if not math.isfinite(max_drop) or max_drop < 0:
        raise InputError(f"--max-drop: {max_drop} is not a number of at least 0; write --max-drop {DEFAULT_DROP}")
    return max_drop
