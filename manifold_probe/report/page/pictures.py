"""The figures of a comparison as inline SVG with their captions."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from manifold_probe.report.figures import draw
from manifold_probe.report.figures.captions import caption
from manifold_probe.report.figures.look import PAGE
from manifold_probe.report.figures.save import svg_with_text
from manifold_probe.report.page.svg import inline

SHOWN_AS_STRIPS = "measures"
ROOM = 3_300_000  # characters: with all else a page of many students stays under 5 MB


def pictures(document: dict[str, Any]) -> tuple[list[tuple[Markup, str]], int]:
    """SVG and caption of the figures, and how many found no room; the measures the page draws itself."""
    found: list[tuple[Markup, str]] = []
    drawn = {name: figure for name, figure in draw(document, PAGE).items() if name != SHOWN_AS_STRIPS}
    for name, figure in drawn.items():
        words = caption(name, document)
        svg = inline(svg_with_text(figure, PAGE), name, words)
        if sum(len(other) for other, _ in found) + len(svg) <= ROOM:
            found.append((svg, words))
    return found, len(drawn) - len(found)
