"""A compact HTML table of a diagnosis for notebooks."""

from __future__ import annotations

from html import escape
from typing import Any

from manifold_probe.report.diagnosis import words
from manifold_probe.report.diagnosis.verdict import words_of
from manifold_probe.report.words import interval, number, one_line

LEFT = ' style="text-align:left"'
RIGHT = ' style="text-align:right;white-space:nowrap"'


def html_table(document: dict[str, Any]) -> str:
    """The verdict, the causes with what to do, and the ladder. All text is escaped."""
    causes = "".join(_cause(cause) for cause in document["causes"])
    listed = f"<ol>{causes}</ol>" if causes else ""
    keys = words.overlap_keys(document)
    head = "".join(f'<th scope="col"{RIGHT}>{escape(key)}</th>' for key in keys)
    rows = "".join(_step(step, keys) for step in document["ladder"])
    table = f'<table><thead><tr><th scope="col"{LEFT}>repair</th>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f"<div><p><strong>{escape(one_line(document['verdict']))}</strong></p>{listed}{table}</div>"


def _cause(cause: dict[str, Any]) -> str:
    said = [words.sure(cause), words.proof(cause), *words.where(cause), one_line(cause["advice"])]
    return f"<li>{escape(words_of(cause))}<br><small>{'<br>'.join(map(escape, said))}</small></li>"


def _step(step: dict[str, Any], keys: list[str]) -> str:
    cells = ""
    for key in keys:
        found = step["measures"].get(key) or {}
        limits = f"<br><small>{interval(found['low'], found['high'])}</small>" if found.get("low") is not None else ""
        cells += f"<td{RIGHT}>{number(found.get('value'))}{limits}</td>"
    return f'<tr><th scope="row"{LEFT}>{escape(words.rung(step["repair"]))}</th>{cells}</tr>'
