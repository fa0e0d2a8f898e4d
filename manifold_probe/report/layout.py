"""Lines of text: wrapping to a width, and columns. A width of None means that nothing is wrapped or cut."""

from __future__ import annotations

import textwrap

from rich.cells import cell_len
from rich.text import Text

GAP = "  "


def heading(text: str, width: int | None) -> list[Text]:
    """An empty line and a title."""
    return [Text(), *paragraph(text, width, style="bold")]


def paragraph(text: str, width: int | None, *, style: str = "", indent: int = 0, first: str = "") -> list[Text]:
    """Text wrapped to the width; ``first`` (a bullet) opens the first line in place of its indentation."""
    if not text:
        return []
    margin = " " * indent
    opening = margin if not first else first.rjust(indent)
    if width is None:
        return [Text(opening + text, style=style)]
    lines = textwrap.wrap(text, max(width, indent + 20), initial_indent=opening, subsequent_indent=margin)
    return [Text(line, style=style) for line in lines]


def pad(text: str, size: int, *, right: bool = False) -> str:
    """Text filled up to ``size`` terminal cells."""
    space = " " * max(size - cell_len(text), 0)
    return space + text if right else text + space


def sizes(rows: list[list[str]]) -> list[int]:
    """The cells that each column of the rows needs."""
    return [max(cell_len(row[place]) for row in rows) for place in range(len(rows[0]))]


def total(columns: list[int]) -> int:
    """The cells that columns take with the gaps between them."""
    return sum(columns) + len(GAP) * (len(columns) - 1)


def columns(rows: list[list[str]], widths: list[int] | None = None) -> list[str]:
    """Rows as aligned lines: the first column to the left, the others to the right.

    >>> columns([["measure", "value"], ["a", "0.1"]])
    ['measure  value', 'a          0.1']
    """
    widths = widths or sizes(rows)
    return [
        GAP.join(pad(cell, size, right=place > 0) for place, (cell, size) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]


def table(rows: list[list[str]], width: int | None, *, indent: int = 0) -> list[Text]:
    """A header and rows; columns at the right that do not fit follow in further blocks, each with the first column."""
    widths = sizes(rows)
    room = None if width is None else max(width - indent, 20)
    lines: list[Text] = []
    start = 1
    while start < len(widths) or not lines:
        stop = start + 1
        while stop < len(widths) and (room is None or total([widths[0], *widths[start : stop + 1]]) <= room):
            stop += 1
        block = [[row[0], *row[start:stop]] for row in rows]
        text = columns(block)
        lines.append(Text(" " * indent + text[0], style="dim"))
        lines.extend(Text(" " * indent + line) for line in text[1:])
        start = stop
    return lines
