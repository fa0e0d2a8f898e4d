"""What a saved comparison must look like for every report and figure to be made of it.

A form is a type, a tuple of alternatives, a list of one form, a dict of forms by key, `Each` (a dict of any keys), or
`Maybe` (absent or null). Lists named together in `SAME_LENGTH` are columns of one table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from manifold_probe.measures.catalogue import detailed


@dataclass(frozen=True)
class Maybe:
    """The key may be missing, or null."""

    form: Any


@dataclass(frozen=True)
class Each:
    """A dict with any keys, whose values have this form."""

    form: Any


LARGEST = 1e100  # beyond the squares of what features hold; nothing larger can be drawn
NUMBER = (int, float)
NAME = (str, int, float)
SPACE = {"name": str, "path": Maybe(str), "sha256": Maybe(str), "shape": [int], "dtype": str, "key": Maybe(str)}
SPACE |= {"method": Maybe(str)}  # of a student that is a run of our trainer
MEASURE = {
    **{part: Maybe(NUMBER) for part in ("value", "low", "high", "confidence", "chance", "class_chance", "reference")},
    "n": Maybe(int),
    "metric": Maybe(str),
    "note": Maybe(str),
    "quantiles": Maybe(Each(Maybe(NUMBER))),
    "declared": Maybe({"title": str, "group": str, "gloss": str, "higher_is_better": Maybe(bool)}),
}
RANKS = {
    "k": int,
    "n": int,
    "quantiles": [NUMBER],
    "teacher_neighbours_in_student": [[NUMBER]],
    "student_neighbours_in_teacher": [[NUMBER]],
}
OF_CLASS = {
    "class": NAME,
    "n": int,
    **{part: Maybe(NUMBER) for part in ("overlap", "low", "high", *detailed("classes"))},
}
WORST = {
    "row": int,
    "id": Maybe(NAME),
    "label": Maybe(NAME),
    "overlap": NUMBER,
    "teacher_neighbours": [NAME],
    "student_neighbours": [NAME],
}
MAPS = {
    "classes": [NAME],
    "class": [int],
    "overlap": [NUMBER],
    "teacher": [[NUMBER]],
    "student": [[NUMBER]],
}
GAIN = {
    "measure": str,
    "rows": int,
    "held_out": bool,
    "untrained": Maybe(NUMBER),
    "trained": Maybe(NUMBER),
    "difference": {part: Maybe(NUMBER) for part in ("value", "low", "high")},
    "better": Maybe(bool),
    "cka": {part: Maybe(NUMBER) for part in ("untrained", "trained")},
}
TRAINING = {"rows": Maybe(int), "trained_rows": Maybe(int), "side": str, "verified": bool, "gain": Maybe(GAIN)}
DETAILS = {
    "overlap_by_k": Maybe(
        {
            "k": [int],
            "cosine": [Maybe(NUMBER)],
            "chance": [Maybe(NUMBER)],
            **{part: Maybe([Maybe(NUMBER)]) for part in ("euclidean", "reference")},
        }
    ),
    "spectra": Maybe({"teacher": [NUMBER], "student": [NUMBER]}),
    "per_class": Maybe([OF_CLASS]),
    "per_dimension": Maybe({part: Maybe([Maybe(NUMBER)]) for part in detailed("moments")}),
    "rank_quantiles": Maybe(RANKS),
    "worst_rows": Maybe([WORST]),
    "maps": Maybe(MAPS),
    "training": Maybe(TRAINING),
}
PAIRING = {
    "by": str,
    "rows": int,
    "coverage": NUMBER,
    "verified": bool,
    **{part: Maybe(int) for part in ("label_conflicts", "unlabelled", "copies_left_out")},
    "labels_recoded": Maybe(bool),
}
COMPARISON = {
    "schema": str,
    "inputs": {"teacher": SPACE, "student": SPACE},
    "pairing": PAIRING,
    "settings": {"k": int, "classes": Maybe(str)},
    "measures": Each(MEASURE),
    "details": DETAILS,
    "alarms": [{"code": str, "message": str}],
    "provenance": dict,
}
DIFFERENCE = {"measure": str, "a": str, "b": str, "value": Maybe(NUMBER), "low": Maybe(NUMBER), "high": Maybe(NUMBER)}
SAME_LENGTH = {
    "overlap_by_k": ("k", "cosine", "euclidean", "chance", "reference"),
    "maps": ("class", "overlap", "teacher", "student"),
}
ROWS_OF = {"rank_quantiles": 5, "maps": 2}


def problem(comparison: Any) -> str | None:
    """What is wrong with a comparison, naming the field; None where all is well.

    >>> problem({"schema": "x"})
    "'inputs' is missing"
    """
    wrong = mismatch(comparison, COMPARISON)
    if wrong is None and comparison["settings"]["k"] < 1:
        wrong = "'settings.k' is below 1"
    return wrong or _tables(comparison["details"])


def mismatch(thing: Any, form: Any, where: str = "") -> str | None:
    """The first place where a thing has not its form."""
    if isinstance(form, Maybe):
        return None if thing is None else mismatch(thing, form.form, where)
    if isinstance(form, list):
        if not isinstance(thing, list):
            return _wrong(where, "a list")
        return _first(mismatch(each, form[0], f"{where}[{place}]") for place, each in enumerate(thing))
    if isinstance(form, Each):
        if not isinstance(thing, dict):
            return _wrong(where, "an object")
        return _first(mismatch(each, form.form, f"{where}.{key}") for key, each in thing.items())
    if isinstance(form, dict):
        if not isinstance(thing, dict):
            return _wrong(where, "an object")
        return _first(_part(thing, key, each, where) for key, each in form.items())
    return None if _is(thing, form) else _wrong(where, KINDS.get(form, "what it should be"))


KINDS = {
    NUMBER: "a number",
    NAME: "a name",
    str: "text",
    int: "a whole number",
    bool: "true or false",
    dict: "an object",
}


def _part(thing: dict[str, Any], key: str, form: Any, where: str) -> str | None:
    path = f"{where}.{key}" if where else key
    if key not in thing:
        return None if isinstance(form, Maybe) else f"{path!r} is missing"
    return mismatch(thing[key], form, path)


def _is(thing: Any, kinds: Any) -> bool:
    if isinstance(thing, bool):
        return kinds is bool
    if isinstance(thing, int | float) and not abs(thing) < LARGEST:  # NaN too
        return False
    return isinstance(thing, kinds)


def _wrong(where: str, wanted: str) -> str:
    return f"{where.lstrip('.')!r} is not {wanted}" if where else f"it is not {wanted}"


def _first(problems: Any) -> str | None:
    return next((each for each in problems if each is not None), None)


def _bounded(details: dict[str, Any]) -> Iterator[tuple[str, list[float], int]]:
    """What stands on a logarithmic axis, and the least it can be."""
    yield "overlap_by_k.k", (details.get("overlap_by_k") or {}).get("k", []), 1
    spectra, ranks = details.get("spectra") or {}, details.get("rank_quantiles") or {}
    for side in ("teacher", "student"):
        yield f"spectra.{side}", spectra.get(side, []), 0
    yield "rank_quantiles.n", [ranks.get("n", 1)], 1
    for key in ("teacher_neighbours_in_student", "student_neighbours_in_teacher"):
        yield f"rank_quantiles.{key}", [value for row in ranks.get(key, []) for value in row], 0


def _tables(details: dict[str, Any]) -> str | None:
    for name, columns in SAME_LENGTH.items():
        table = details.get(name) or {}
        lengths = {len(table[column]) for column in columns if table.get(column) is not None}
        if len(lengths) > 1:
            return f"the lists of 'details.{name}' differ in length"
    for name, size in ROWS_OF.items():
        for key, rows in (details.get(name) or {}).items():
            nested = isinstance(rows, list) and rows and isinstance(rows[0], list)
            if nested and any(len(row) != size for row in rows):
                return f"a row of 'details.{name}.{key}' has not {size} numbers"
    for where, values, least in _bounded(details):
        if any(value < least for value in values):
            return f"'details.{where}' holds a value below {least}"
    maps = details.get("maps")
    if maps and not all(0 <= code < len(maps["classes"]) for code in maps["class"]):
        return "'details.maps.class' names a class that 'details.maps.classes' lacks"
    return None
