"""The page of a result that has no page of its kind: its blocks, in the same style and by the same rules."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from manifold_probe.report.blocks import Block
from manifold_probe.report.page.embed import escaped
from manifold_probe.report.page.page import environment, frame
from manifold_probe.report.render.html import html


def render_blocks(title: str, blocks: list[Block], document: dict[str, Any]) -> str:
    """The page as text: one file that asks for nothing else."""
    context = {"title": title, "content": Markup(html(blocks)), "json": escaped(document), **frame()}
    return environment().get_template("blocks.html").render(context)
