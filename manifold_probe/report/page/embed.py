"""The numbers of the page for machines: a JSON block that no text in it can leave."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

from manifold_probe.measures.catalogue import OVERLAP, general
from manifold_probe.report.document import SEVERAL
from manifold_probe.report.page.room import most_classes
from manifold_probe.report.page.rows import worst_first
from manifold_probe.report.words import shown

LEFT_OUT = ("spectra", "per_dimension", "maps", "worst_rows")  # long: the saved result has them
LONGEST = 400  # characters of a name; one of 10,000 would stand in every difference
CONCERNED = 100  # of the rows, dimensions or classes that a cause concerns
ROOM = 900_000  # bytes
ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def script(document: dict[str, Any]) -> Markup:
    """The text of a JSON script element; nothing in it can end the element or open a comment.

    Of many students less and less is kept until the text fits, their measures in any case.
    """
    small = kept(document)
    for cut in (_without_details, _of_overlap):
        if len(_text(small).encode()) > ROOM:
            small = cut(small)
    return as_script(small)


def escaped(document: dict[str, Any]) -> Markup:
    """A document as it is, but for long names, as the text of a JSON script element."""
    return as_script(_shortened(document))


def as_script(data: dict[str, Any]) -> Markup:
    """Any data as the text of a JSON script element."""
    return Markup(_text(data))


def kept(document: dict[str, Any]) -> dict[str, Any]:
    """The document without its long lists, with as many classes as the page lists, and long names shortened."""
    if document["schema"] == SEVERAL:
        students = {name: _without_lists(student) for name, student in document["students"].items()}
        return _shortened({**document, "students": students})
    return _shortened(_without_lists(document))


def few_rows(causes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The causes of a diagnosis, each with the first of what it concerns."""
    return [
        cause
        if cause["where"] is None
        else {
            **cause,
            "where": {
                kind: each[:CONCERNED] if isinstance(each, list) else each for kind, each in cause["where"].items()
            },
        }
        for cause in causes
    ]


def _text(document: dict[str, Any]) -> str:
    text = json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for character, escape in ESCAPES.items():
        text = text.replace(character, escape)
    # a lone surrogate, as in a name from a damaged file, cannot be written as UTF-8
    return text.encode("utf-8", "backslashreplace").decode()


def _without_lists(document: dict[str, Any]) -> dict[str, Any]:
    details = {key: value for key, value in document["details"].items() if key not in LEFT_OUT}
    classes = details.get("per_class")
    if classes:
        details["per_class"] = classes if len(classes) <= most_classes(1) else worst_first(classes)[: most_classes(1)]
    shortened = {**document, "details": details}
    diagnosis = document.get("diagnosis")
    if diagnosis:
        shortened["diagnosis"] = {**diagnosis, "causes": few_rows(diagnosis["causes"])}
    return shortened


def _without_details(document: dict[str, Any]) -> dict[str, Any]:
    if document["schema"] != SEVERAL:
        return {**document, "details": {}, "diagnosis": None}
    students = {name: {**each, "details": {}, "diagnosis": None} for name, each in document["students"].items()}
    return {**document, "students": students}


def _of_overlap(document: dict[str, Any]) -> dict[str, Any]:
    """With the differences of overlap alone, and no more digits of a number than anyone reads."""
    differences = [row for row in document.get("differences", []) if general(row["measure"]) == OVERLAP.key]
    return _rounded({**document, "differences": differences} if differences else document)


def _rounded(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {key: _rounded(value) for key, value in thing.items()}
    if isinstance(thing, list):
        return [_rounded(value) for value in thing]
    return float(f"{thing:.6g}") if isinstance(thing, float) else thing


def _shortened(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {_shortened(key): _shortened(value) for key, value in thing.items()}
    if isinstance(thing, list):
        return [_shortened(value) for value in thing]
    return shown(thing, LONGEST) if isinstance(thing, str) and len(thing) > LONGEST else thing
