"""The report of one student: verdict, what was compared, the table of measures, alarms, worst classes, next steps."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from manifold_probe.report.advice import next_steps
from manifold_probe.report.diagnosis.document import of_comparison
from manifold_probe.report.diagnosis.lines import account_lines, benign_lines, cause_lines
from manifold_probe.report.document import Reading, readings
from manifold_probe.report.layout import GAP, columns, paragraph, sizes, total
from manifold_probe.report.readings import grouped, label, reading, shared_notes
from manifold_probe.report.sections import alarm_lines, class_lines, compared_lines, step_lines, told
from manifold_probe.report.training import training_lines
from manifold_probe.report.verdict import verdict
from manifold_probe.report.words import interval, number, one_line, student_name

HEADER = ["measure", "value", "95% interval", "chance", "class", "reference"]
LEGEND = (
    "chance: rows paired at random; class: rows shuffled within each class; reference: the teacher against its own "
    "first principal components, as many as the student has dimensions; -: undefined."
)
READING_ROOM = 72  # a reading gets a column of its own where this much is left, else the line below


def student_lines(document: dict[str, Any], width: int | None) -> list[Text]:
    """The whole report of one student; of one that was diagnosed the account first, its causes after the measures."""
    diagnosis = of_comparison(document)
    return [
        *paragraph(verdict(document), width, style="bold"),
        *(paragraph(one_line(diagnosis["verdict"]), width, style="bold") if diagnosis else []),
        *(account_lines(diagnosis, width) if diagnosis else []),
        Text(),
        *compared_lines(document, width),
        *training_lines({student_name(document): document}, width),
        *measure_lines(document, width),
        *(cause_lines(diagnosis, width) if diagnosis else []),
        *(benign_lines(diagnosis, width) if diagnosis else []),
        *alarm_lines(told(document["alarms"]), width),
        *class_lines(document, width),
        *step_lines(next_steps(document), width),
    ]


def measure_lines(document: dict[str, Any], width: int | None) -> list[Text]:
    """The table of measures in groups, each with its reading."""
    measures = readings(document)
    groups = grouped(document)
    cells = {key: _cells(key, measures[key], width) for keys in groups.values() for key in keys}
    widths = sizes([HEADER, *cells.values()])
    beside = width is None or width >= total(widths) + len(GAP) + READING_ROOM
    narrow = width is not None and width < total(widths)
    shown_columns = 3 if narrow else len(HEADER)
    lines = [Text(), Text(columns([HEADER[:shown_columns]], widths[:shown_columns])[0], style="dim")]
    if beside:
        lines[-1].append(f"{GAP}reading")
    for title, keys in groups.items():
        lines.append(Text(title, style="bold"))
        for key in keys:
            numbers = columns([cells[key][:shown_columns]], widths[:shown_columns])[0]
            words = one_line(reading(key, document))
            if beside:
                lines.extend(_beside(numbers, words, width))
            else:
                extra = _yardsticks(measures[key]) if narrow else ""
                lines.append(Text(numbers, style="" if measures[key].value is not None else "dim"))
                lines.extend(paragraph(words + extra, width, style="dim", indent=4))
    lines += [Text(), *paragraph(_legend(document), width, style="dim")]
    for place, note in enumerate(shared_notes(document), start=1):
        lines += paragraph(f"note {place}: {one_line(note)}.", width, style="dim")
    return lines


def _cells(key: str, measure: Reading, width: int | None) -> list[str]:
    values = (measure.chance, measure.class_chance, measure.reference)
    return [
        label(key, width),
        number(measure.value),
        interval(measure.low, measure.high),
        *(number(value) for value in values),
    ]


def _beside(numbers: str, words: str, width: int | None) -> list[Text]:
    if width is None:
        return [Text(f"{numbers}{GAP}{words}")]
    margin = len(numbers) + len(GAP)
    return paragraph(words, width, indent=margin, first=numbers + GAP)


def _yardsticks(measure: Reading) -> str:
    named = (("chance", measure.chance), ("class", measure.class_chance), ("reference", measure.reference))
    known = [f"{name} {number(value)}" for name, value in named if value is not None]
    return f" [{', '.join(known)}]" if known else ""


def _legend(document: dict[str, Any]) -> str:
    if document["settings"].get("classes") == "k-means":
        return LEGEND.replace("within each class", "within each cluster (k-means of the teacher stands in for labels)")
    return LEGEND
