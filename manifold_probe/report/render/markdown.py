"""Blocks as GitHub-flavoured Markdown. All text is escaped."""

from __future__ import annotations

from collections.abc import Sequence

from manifold_probe.report.blocks import Block, Facts, Items, Picture, Row, Section, Sentence, Table, Value
from manifold_probe.report.tables.markdown import escaped


def markdown(blocks: Sequence[Block], level: int = 2) -> str:
    """The blocks, sections below headings of this level."""
    return "".join(f"{text}\n\n" for block in blocks if (text := _block(block, level)))


def _block(block: Block, level: int) -> str:
    match block:
        case Sentence(text, tone):
            return f"**{escaped(text)}**" if text and tone == "strong" else escaped(text)
        case Items(items, mark):
            return "\n".join(f"{'1.' if mark == '1' else '-'} {escaped(item)}" for item in items)
        case Facts(facts):
            return "\n".join(f"- **{escaped(name)}**: {escaped(text)}" for name, text in facts if text)
        case Table():
            return _table(block)
        case Picture():
            return ""
        case Section(title, inner):
            content = markdown(inner, level + 1).rstrip("\n")
            return f"{'#' * level} {escaped(title)}\n\n{content}" if content and title else content


def _table(table: Table) -> str:
    """A pipe table, its notes in the last column."""
    if not table.rows:
        return ""
    noted = any(row.note for row in table.rows)
    rule = ["---", *("---:" for _ in table.header[1:]), *(["---"] if noted else [])]
    rows = [[*map(escaped, table.header), *([escaped(table.notes)] if noted else [])], rule]
    group = ""
    for row in table.rows:
        if row.group != group:
            group = row.group
            rows.append([f"**{escaped(group)}**", *("" for _ in rule[1:])])
        rows.append([*(_cell(cell, row) for cell in row.cells), *([escaped(row.note)] if noted else [])])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(cell: str | Value, row: Row) -> str:
    if isinstance(cell, str):
        return f"**{escaped(cell)}**" if row.strong and cell else escaped(cell)
    text = rf"**{escaped(cell.text)}**\*" if cell.best else escaped(cell.text)
    return f"{text} ({escaped(cell.low)} to {escaped(cell.high)})" if cell.low else text
