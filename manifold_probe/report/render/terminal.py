"""Blocks as styled lines of a terminal. A width of None, as for a pipe, gives every line in full and plain signs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from manifold_probe.report.blocks import Block, Facts, Items, Row, Section, Sentence, Table, Value

GAP = "  "
STYLES = {"strong": "bold", "faint": "dim", "warning": "yellow"}
BEST = "*"
NOTE_ROOM = 72  # notes get a column where this much is left, else a line below their row
BAR, SHORT_BAR = 24, 14  # cells of a bar: in a pipe, and the fewest that are worth one
FULL, THIN = ("█", "#"), ("▏", "|")  # of a bar and of a part too small for a cell; on a terminal, and in a pipe


def lines(blocks: Sequence[Block], width: int | None = None) -> list[Text]:
    """The blocks as lines."""
    rendered: list[Text] = []
    for block in blocks:
        match block:
            case Sentence(text, tone):
                rendered += _paragraph(text, width, STYLES.get(tone, ""))
            case Items(items, mark, tone):
                for place, item in enumerate(items, start=1):
                    opening = f"{place}. " if mark == "1" else f"{mark} "
                    rendered += _paragraph(item, width, STYLES.get(tone, ""), opening)
            case Facts(facts, indent):
                size = max([8, *(cell_len(name) for name, text in facts if text)])
                for name, text in facts:
                    rendered += _paragraph(text, width, "", f"{' ' * indent}{pad(name, size)}{GAP}")
            case Table():
                rendered += _table(block, width)
            case Section(title, inner):
                if inside := lines(inner, width):
                    rendered += [Text(), *_paragraph(title, width, "bold"), *inside]
    return rendered


def plain_text(blocks: Sequence[Block], width: int | None = None) -> str:
    """The blocks as plain text, a line feed after every line."""
    return "".join(line.plain.rstrip() + "\n" for line in lines(blocks, width))


def span(low: float, high: float, room: int, *, plain: bool) -> str:
    """The part from ``low`` to ``high`` of a bar of ``room`` cells that stands for 1.

    >>> span(0.25, 0.75, 8, plain=True), span(0.5, 0.51, 8, plain=True)
    ('..####..', '....|...')
    """
    start, stop = (round(min(max(value, 0.0), 1.0) * room) for value in (low, high))
    filled = FULL[plain] * (stop - start)
    if not filled and high > low and room:
        start, filled = min(start, room - 1), THIN[plain]
    empty = "." if plain else " "
    return empty * start + filled + empty * (room - start - len(filled))


def pad(text: str, size: int, *, right: bool = False) -> str:
    """Text filled up to ``size`` terminal cells."""
    space = " " * max(size - cell_len(text), 0)
    return space + text if right else text + space


def _paragraph(text: str, width: int | None, style: str, opening: str = "") -> list[Text]:
    """Text behind an opening such as a bullet, wrapped to the width with the opening's room left free."""
    if not text:
        return []
    if width is None:
        return [Text(opening + text, style=style)]
    margin = " " * cell_len(opening)
    wrapped = textwrap.wrap(text, max(width, len(margin) + 20), initial_indent=opening, subsequent_indent=margin)
    return [Text(line, style=style) for line in wrapped]


def _table(table: Table, width: int | None) -> list[Text]:
    """The rows in columns: where there is no room for all, with intervals below their values, then with the spare
    columns in the notes, then in further tables, each with the first column."""
    if not table.rows:
        return []
    every = list(range(len(table.header)))
    short = [place for place in every if place not in table.spare]
    stacked = any(isinstance(cell, Value) and cell.low for row in table.rows for cell in row.cells)
    layouts = [(every, False), *([(every, True)] if stacked else []), *([(short, False)] if table.spare else [])]
    for columns, below in layouts:
        sizes = _sizes(table, columns, below, width)
        if width is None or _total(sizes) <= width:
            return _rows(table, columns, sizes, below, width)
    columns = layouts[-1][0]
    room = dict(zip(columns, _sizes(table, columns, False, width), strict=True))
    parts: list[list[int]] = [[0]]
    for place in columns[1:]:
        if len(parts[-1]) > 1 and _total([room[column] for column in (*parts[-1], place)]) > (width or 0):
            parts.append([0])
        parts[-1].append(place)
    rendered: list[Text] = []
    for part in parts:
        rendered += [Text()] if rendered else []
        rendered += _rows(table, part, [room[column] for column in part], False, width, notes=part is parts[0])
    return rendered


def _rows(
    table: Table, columns: list[int], sizes: list[int], below: bool, width: int | None, notes: bool = True
) -> list[Text]:
    left = None if width is None else width - _total(sizes) - len(GAP)
    bars = any(row.bar for row in table.rows) and (left is None or left >= SHORT_BAR)
    alongside = bool(table.notes) and (left is None or left >= NOTE_ROOM)
    dropped = [place for place in table.spare if place not in columns]
    header = [
        *_aligned([table.header[place] for place in columns], sizes),
        *([table.notes] if alongside and notes else []),
    ]
    rendered, group = [Text(GAP.join(header), style="dim")], ""
    for row in table.rows:
        if row.group != group:
            group = row.group
            rendered.append(Text(group, style="bold"))
        cells = [_cell(row, place, below, width) for place in columns]
        texts = [GAP.join(_aligned(line, sizes)) for line in zip(*cells, strict=True)]
        texts = [text for text in texts if text.strip()]
        if alongside and notes:
            rendered += _paragraph(row.note, width, "", texts[0] + GAP) if row.note else [Text(texts[0])]
            continue
        rendered += [Text(line, style="bold" if row.strong else "") for line in texts]
        if bars and row.bar:
            room = BAR if left is None else min(2 * BAR, left)
            rendered[-1].append(GAP + span(*row.bar, room, plain=width is None), style=row.colour or "blue")
        known = [f"{table.header[place]} {_inline(row.cells[place])}" for place in dropped]
        aside = ", ".join(text for text in known if not text.endswith((" -", " ")))
        note = f"{row.note} [{aside}]".strip() if aside else row.note
        rendered += _paragraph(note, width, "dim", " " * 4) if notes else []
    return rendered


def _cell(row: Row, place: int, below: bool, width: int | None) -> tuple[str, str]:
    """The two lines of a cell, of which the second may be empty."""
    cell = row.cells[place]
    if place == 0:
        return (row.variant if row.variant and width is not None else str(cell)), ""
    if isinstance(cell, Value) and below and cell.low:
        sign = ".." if "-" in cell.low + cell.high else "-"
        return cell.text + (BEST if cell.best else " "), f"{cell.low}{sign}{cell.high}"
    return _inline(cell), ""


def _inline(cell: str | Value) -> str:
    if isinstance(cell, str):
        return cell
    interval = f" ({cell.low} to {cell.high})" if cell.low else ""
    return f"{cell.text}{interval}{BEST if cell.best else ' '}"


def _aligned(cells: Sequence[str], sizes: list[int]) -> list[str]:
    """The first to the left, the others to the right."""
    return [pad(cell, size, right=place > 0) for place, (cell, size) in enumerate(zip(cells, sizes, strict=True))]


def _sizes(table: Table, columns: list[int], below: bool, width: int | None) -> list[int]:
    return [
        max(
            cell_len(table.header[place]),
            *(cell_len(line) for row in table.rows for line in _cell(row, place, below, width)),
        )
        for place in columns
    ]


def _total(sizes: Sequence[int]) -> int:
    return sum(sizes) + len(GAP) * (len(sizes) - 1)
