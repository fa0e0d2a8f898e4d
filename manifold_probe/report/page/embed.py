"""The numbers of the page for machines: a JSON block that no text in it can leave."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

from manifold_probe.report.document import SEVERAL
from manifold_probe.report.page.rows import MOST_CLASSES, worst_first
from manifold_probe.report.words import shown

LEFT_OUT = ("spectra", "per_dimension", "maps", "worst_rows")  # long: the saved result has them
LONGEST = 400  # characters of a name; one of 10,000 would stand in every difference
ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def script(document: dict[str, Any]) -> Markup:
    """The text of a JSON script element; nothing in it can end the element or open a comment."""
    text = json.dumps(kept(document), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for character, escape in ESCAPES.items():
        text = text.replace(character, escape)
    # a lone surrogate, as in a name from a damaged file, cannot be written as UTF-8
    return Markup(text.encode("utf-8", "backslashreplace").decode())


def kept(document: dict[str, Any]) -> dict[str, Any]:
    """The document without its long lists, with at most `MOST_CLASSES` classes, and long names shortened."""
    if document["schema"] == SEVERAL:
        students = {name: _without_lists(student) for name, student in document["students"].items()}
        return _shortened({**document, "students": students})
    return _shortened(_without_lists(document))


def _without_lists(document: dict[str, Any]) -> dict[str, Any]:
    details = {key: value for key, value in document["details"].items() if key not in LEFT_OUT}
    classes = details.get("per_class")
    if classes and len(classes) > MOST_CLASSES:
        details["per_class"] = worst_first(classes)[:MOST_CLASSES]
    return {**document, "details": details}


def _shortened(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {_shortened(key): _shortened(value) for key, value in thing.items()}
    if isinstance(thing, list):
        return [_shortened(value) for value in thing]
    return shown(thing, LONGEST) if isinstance(thing, str) and len(thing) > LONGEST else thing
