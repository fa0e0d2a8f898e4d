"""A compact HTML table for notebooks."""

from __future__ import annotations

from html import escape
from typing import Any

from manifold_probe.report.diagnosis.document import of_comparison
from manifold_probe.report.diagnosis.notebook import html_table as diagnosis_table
from manifold_probe.report.document import Reading, students_of
from manifold_probe.report.readings import catalogue, gloss
from manifold_probe.report.tables.rows import BOLD, distinct, leaders, measured
from manifold_probe.report.verdict import verdict
from manifold_probe.report.words import interval, number, shown

# Colours are the notebook's own, light or dark; only what some notebooks centre or wrap is set.
CELL = ' style="text-align:right;white-space:nowrap"'
HEAD = ' style="text-align:right;overflow-wrap:anywhere"'
FIRST = ' style="text-align:left"'


def html_table(document: dict[str, Any]) -> str:
    """Verdicts and measures, each value with its interval; one student with its yardsticks, several as columns.

    In bold is the student ahead of every other one where each paired difference excludes zero. All text is escaped.
    """
    students = measured(document)
    several = len(students) > 1
    header = ["value", "95% interval", "chance", "class chance", "reference"]
    header = distinct(shown(name, 24) for name in students) if several else header
    ahead = leaders(document)
    rows = []
    for key in catalogue(document):
        read = {name: each.get(key) for name, each in students.items()}
        cells = _several(read, ahead.get(key)) if several else _one(next(iter(read.values())))
        title = escape(gloss(key, document))
        row = "".join(f"<td{CELL}>{cell}</td>" for cell in cells)
        rows.append(f'<tr><th scope="row"{FIRST} title="{title}">{escape(key)}</th>{row}</tr>')
    verdicts = "".join(f"<p>{escape(verdict(each))}</p>" for each in students_of(document).values())
    columns = "".join(f'<th scope="col"{HEAD}>{escape(cell)}</th>' for cell in header)
    head = f'<thead><tr><th scope="col"{FIRST}>measure</th>{columns}</tr></thead>'
    legend = f"<p><small>{BOLD}</small></p>" if several else ""
    found = "".join(_diagnosis(name, each, several) for name, each in students_of(document).items())
    return f"<div>{verdicts}{found}<table>{head}<tbody>{''.join(rows)}</tbody></table>{legend}</div>"


def _diagnosis(name: str, comparison: dict[str, Any], several: bool) -> str:
    """What a student's diagnosis shows; empty where there is none."""
    found = of_comparison(comparison)
    return "" if found is None else (f"<p>{escape(shown(name))}</p>" if several else "") + diagnosis_table(found)


def _one(measure: Reading | None) -> list[str]:
    if measure is None:
        return []
    yardsticks = (measure.chance, measure.class_chance, measure.reference)
    return [number(measure.value), interval(measure.low, measure.high), *map(number, yardsticks)]


def _several(read: dict[str, Reading | None], best: str | None) -> list[str]:
    """The value of every student, its interval small below it."""
    cells = []
    for name, measure in read.items():
        value = number(None if measure is None else measure.value)
        value = f"<strong>{value}</strong>" if name == best else value
        known = measure is not None and measure.value is not None and measure.low is not None
        cells.append(f"{value}<br><small>{interval(measure.low, measure.high)}</small>" if known and measure else value)
    return cells
