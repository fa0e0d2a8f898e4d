"""The figures of a comparison as inline SVG with their captions."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from manifold_probe.report.document import SEVERAL
from manifold_probe.report.figures import draw
from manifold_probe.report.figures.captions import caption
from manifold_probe.report.figures.look import PAGE
from manifold_probe.report.figures.save import svg_with_text
from manifold_probe.report.page.room import MAPS
from manifold_probe.report.page.svg import inline

SHOWN_AS_STRIPS = "measures"


def pictures(document: dict[str, Any], room: int) -> tuple[list[tuple[Markup, str]], int]:
    """SVG and caption of the figures that fit into ``room`` bytes, and how many do not; not those of the measures and
    of diagnoses, which have their own parts of the page."""
    few, undrawn = _with_few_maps(_without_diagnoses(document))
    drawn = {name: figure for name, figure in draw(few, PAGE).items() if name != SHOWN_AS_STRIPS}
    found: list[tuple[Markup, str]] = []
    for name, figure in drawn.items():
        words = caption(name, document)
        svg = inline(svg_with_text(figure, PAGE), name, words)
        size = len(svg.encode()) + len(words.encode()) + 100  # with the tags about them
        if size <= room:
            found.append((svg, words))
            room -= size
    return found, len(drawn) - len(found) + undrawn


def _without_diagnoses(document: dict[str, Any]) -> dict[str, Any]:
    if document["schema"] != SEVERAL:
        return {**document, "diagnosis": None}
    return {**document, "students": {name: {**each, "diagnosis": None} for name, each in document["students"].items()}}


def _with_few_maps(document: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """The document with the maps of the first `MAPS` students, and how many others have maps."""
    if document["schema"] != SEVERAL:
        return document, 0
    students = dict(document["students"])
    beyond = [name for name, each in students.items() if each["details"].get("maps")][MAPS:]
    for name in beyond:
        students[name] = {**students[name], "details": {**students[name]["details"], "maps": None}}
    return {**document, "students": students}, len(beyond)
