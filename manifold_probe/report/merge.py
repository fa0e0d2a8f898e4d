"""Several saved results of one teacher as one document, so that their students stand in the same figure."""

from __future__ import annotations

from typing import Any

from manifold_probe.errors import InputError
from manifold_probe.report.document import ONE, SEVERAL, students_of

# What students in one figure must share, and what it means where they do not.
SHARED = (
    ("inputs", "teacher.sha256", "has another teacher than"),
    ("pairing", "rows", "was measured on other rows than"),
    ("settings", "k", "was measured with another k than"),
    ("settings", "queries", "was measured with another number of queries than"),
    ("settings", "seed", "was measured with another seed, and so other queries, than"),
    ("settings", "classes", "was measured with other classes than"),
    ("pairing", "rows_sha256", "was measured on other rows, or with other labels, than"),
)


def merged(documents: dict[str, dict[str, Any]], names: dict[str, str] | None = None) -> dict[str, Any]:
    """One document with the students of all.

    Parameters
    ----------
    documents : dict
        The documents by the file they came from.
    names : dict, optional
        File -> what its only student shall be called.

    Raises
    ------
    InputError
        For another teacher, other rows, another k, or two students of one name.
    """
    if len(documents) == 1 and not names:
        return next(iter(documents.values()))
    students: dict[str, dict[str, Any]] = {}
    origin: dict[str, str] = {}
    for path, document in documents.items():
        for name, student in _students(path, document, (names or {}).get(path)).items():
            if name in students:
                fix = f"name them, as in {name}1={origin[name]} {name}2={path}"
                raise InputError(f"{path}: a student of {origin[name]} is called {name!r} too; {fix}")
            students[name], origin[name] = student, path
    _check_shared(students, origin)
    differences = [
        row for document in documents.values() if document["schema"] == SEVERAL for row in document["differences"]
    ]
    return {"schema": SEVERAL, "students": students, "differences": differences}


def _students(path: str, document: dict[str, Any], name: str | None) -> dict[str, dict[str, Any]]:
    if name is None:
        return students_of(document)
    if document["schema"] != ONE:
        raise InputError(f"{path}: holds several students, so {name!r} cannot name it; give it without a name")
    student = {**document["inputs"]["student"], "name": name, "path": None}
    return {name: {**document, "inputs": {**document["inputs"], "student": student}}}


def _check_shared(students: dict[str, dict[str, Any]], origin: dict[str, str]) -> None:
    first, *others = students
    here = students[first]
    for name in others:
        student, where = students[name], f"{origin[name]}: student {name!r}"
        for part, key, meaning in SHARED:
            mine, theirs = here[part], student[part]
            for step in key.split("."):
                mine, theirs = (side.get(step) if isinstance(side, dict) else None for side in (mine, theirs))
            if mine != theirs or (mine is None and key == "teacher.sha256"):
                raise InputError(
                    f"{where} {meaning} {first!r} of {origin[first]} ({part}.{key} {_short(theirs)}, not "
                    f"{_short(mine)}); draw them apart, or compare them together"
                )


def _short(value: Any) -> str:
    return f"{value[:12]}..." if isinstance(value, str) and len(value) > 16 else f"{value!r}"
