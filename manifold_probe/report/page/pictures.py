"""The figures of a comparison as inline SVG with their captions."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from manifold_probe.report.document import SEVERAL
from manifold_probe.report.figures import draw
from manifold_probe.report.figures.captions import caption
from manifold_probe.report.figures.look import PAGE
from manifold_probe.report.figures.save import svg_with_text
from manifold_probe.report.page.svg import inline

IN_TABLES = ("measures", "classes")


def pictures(document: dict[str, Any], room: int) -> tuple[list[tuple[Markup, str]], int]:
    """SVG and caption of the figures that fit into ``room`` bytes, and how many do not; not those whose content the
    page shows as tables and maps."""
    drawn = {name: figure for name, figure in draw(_drawable(document), PAGE).items() if name not in IN_TABLES}
    fitting: list[tuple[Markup, str]] = []
    for name, figure in drawn.items():
        words = caption(name, document)
        svg = inline(svg_with_text(figure, PAGE), name, words)
        size = len(svg.encode()) + len(words.encode()) + 100  # with the tags around them
        if size <= room:
            fitting.append((svg, words))
            room -= size
    return fitting, len(drawn) - len(fitting)


def _drawable(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what other parts of the page draw: diagnoses and maps."""
    if document["schema"] == SEVERAL:
        return {**document, "students": {name: _drawable(each) for name, each in document["students"].items()}}
    return {**document, "diagnosis": None, "details": {**document["details"], "maps": None}}
