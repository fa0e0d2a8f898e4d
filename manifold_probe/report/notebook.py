"""A compact HTML table for notebooks."""

from __future__ import annotations

from html import escape
from typing import Any

from manifold_probe.report.document import readings, students_of
from manifold_probe.report.readings import gloss, measure_names
from manifold_probe.report.verdict import verdict
from manifold_probe.report.words import interval, number, shown


def html_table(document: dict[str, Any]) -> str:
    """Verdicts and measures; one student with its interval and yardsticks, several as columns. All text is escaped."""
    students = students_of(document)
    measures = {name: readings(student) for name, student in students.items()}
    settings = next(iter(students.values()))["settings"]
    one = next(iter(measures.values())) if len(students) == 1 else None
    header = ["measure", "value", "95% interval", "chance", "class chance", "reference"]
    header = header if one is not None else ["measure", *(shown(name) for name in students)]
    rows = []
    for key in measure_names(settings["k"]):
        found = [each.get(key) for each in measures.values()]
        if all(measure is None for measure in found):
            continue
        cells = [number(None if measure is None else measure.value) for measure in found]
        if one is not None:
            m = one[key]
            cells += [interval(m.low, m.high), *(number(v) for v in (m.chance, m.class_chance, m.reference))]
        title = escape(gloss(key, settings["k"]), quote=True)
        row = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        rows.append(f'<tr><th scope="row" style="text-align:left" title="{title}">{escape(key)}</th>{row}</tr>')
    verdicts = "".join(f"<p>{escape(verdict(student))}</p>" for student in students.values())
    columns = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    return f"<div>{verdicts}<table><thead><tr>{columns}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
