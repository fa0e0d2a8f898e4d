"""A comparison as blocks and as lines of text, for one student as for several.

A width of None gives every line in full, as for a pipe. Names, ids and labels are never read as markup, and their
control characters are made visible.
"""

from __future__ import annotations

from typing import Any

from rich.text import Text

from manifold_probe.report.blocks import Block
from manifold_probe.report.document import SEVERAL
from manifold_probe.report.render.terminal import lines, plain_text
from manifold_probe.report.student import student_blocks
from manifold_probe.report.students import students_blocks


def report_blocks(document: dict[str, Any]) -> list[Block]:
    """The whole report."""
    return (students_blocks if document["schema"] == SEVERAL else student_blocks)(document)


def report_lines(document: dict[str, Any], width: int | None = None) -> list[Text]:
    """The whole report as styled lines."""
    return lines(report_blocks(document), width)


def plain_report(document: dict[str, Any], width: int | None = None) -> str:
    """The report as plain text, a line feed after every line."""
    return plain_text(report_blocks(document), width)
