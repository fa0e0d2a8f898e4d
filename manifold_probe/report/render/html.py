"""Blocks as HTML for notebooks. Colours are the notebook's, light or dark; all text is escaped."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape

from manifold_probe.report.blocks import Block, Facts, Items, Picture, Row, Section, Sentence, Table, Value

NUMBER = ' style="text-align:right;white-space:nowrap"'
HEAD = ' style="text-align:right;overflow-wrap:anywhere"'
FIRST = ' style="text-align:left;overflow-wrap:normal"'
NAME = ' style="text-align:left;font-weight:normal;overflow-wrap:normal"'
PAIRS = ' style="display:grid;grid-template-columns:max-content 1fr;gap:0 1em"'
TONES = {"strong": "<p><strong>{}</strong></p>", "faint": "<p><small>{}</small></p>"}


def html(blocks: Sequence[Block]) -> str:
    """The blocks as the content of an element."""
    return "".join(map(_block, blocks))


def _block(block: Block) -> str:
    match block:
        case Sentence(text, tone):
            return TONES.get(tone, "<p>{}</p>").format(escape(text)) if text else ""
        case Items(items, mark):
            tag = "ol" if mark == "1" else "ul"
            return f"<{tag}>{''.join(f'<li>{escape(item)}</li>' for item in items)}</{tag}>" if items else ""
        case Facts(facts):
            named = (f"<dt>{escape(name)}</dt><dd style='margin:0'>{escape(text)}</dd>" for name, text in facts if text)
            return f"<dl{PAIRS}>{''.join(named)}</dl>"
        case Table():
            return _table(block)
        case Picture(words, draw):
            data = b64encode(draw()).decode()
            shape = f'alt="{escape(words)}" style="max-width:100%;height:auto"'
            return f'<p><img {shape} src="data:image/png;base64,{data}"/></p>' if data else ""
        case Section(title, inner, folded):
            content = html(inner)
            if not content or not title:
                return content
            return f"<details{'' if folded else ' open'}><summary><b>{escape(title)}</b></summary>{content}</details>"


def _table(table: Table) -> str:
    if not table.rows:
        return ""
    bars = any(row.bar for row in table.rows)
    columns = "".join(f'<th scope="col"{HEAD}>{escape(cell)}</th>' for cell in table.header[1:])
    head = f'<tr><th scope="col"{FIRST}>{escape(table.header[0])}</th>{columns}{"<th></th>" if bars else ""}</tr>'
    rows, group = [], ""
    for row in table.rows:
        if row.group != group:
            group = row.group
            across = f'colspan="{len(table.header) + bars}"'
            rows.append(f'<tr><th scope="rowgroup" {across}{FIRST}>{escape(group)}</th></tr>')
        rows.append(_row(row, bars))
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _row(row: Row, bars: bool) -> str:
    note = f' title="{escape(row.note)}"' if row.note else ""
    cells = "".join(f"<td{NUMBER}>{_cell(cell, row.strong)}</td>" for cell in row.cells[1:])
    bar = _bar(*(row.bar or (0.0, 0.0))) if bars else ""
    style = FIRST if row.strong else NAME
    return f'<tr><th scope="row"{style}{note}>{escape(str(row.cells[0]))}</th>{cells}{bar}</tr>'


def _cell(cell: str | Value, strong: bool) -> str:
    """A value, its interval small below it."""
    if isinstance(cell, str):
        return f"<strong>{escape(cell)}</strong>" if strong and cell else escape(cell)
    text = f"<strong>{escape(cell.text)}</strong>*" if cell.best else escape(cell.text)
    return f"{text}<br><small>{escape(cell.low)} to {escape(cell.high)}</small>" if cell.low else text


def _bar(low: float, high: float) -> str:
    """A bar of the notebook's colour where a part lies between 0 and 1."""
    start, length = 100 * max(low, 0.0), 100 * (high - max(low, 0.0))
    style = f"margin-left:{start:.2f}%;width:{length:.2f}%;height:0.8em;background:currentColor;min-width:1px"
    return f'<td style="min-width:12em"><div style="{style};opacity:.6"></div></td>'
