"""The report of one student: verdict, what was compared, the table of measures, alarms, worst classes, next steps."""

from __future__ import annotations

from typing import Any

from manifold_probe.report.advice import next_steps
from manifold_probe.report.blocks import Block, Row, Section, Sentence, Table
from manifold_probe.report.diagnosis.document import of_comparison
from manifold_probe.report.diagnosis.lines import accounts, benign, causes
from manifold_probe.report.document import readings
from manifold_probe.report.readings import grouped, reading, shared_notes, variant
from manifold_probe.report.sections import alarms_raised, compared, next_to_do, picture, told, worst_classes
from manifold_probe.report.training import training
from manifold_probe.report.verdict import verdict
from manifold_probe.report.words import interval, number, one_line, student_name

HEADER = ("measure", "value", "95% interval", "chance", "class", "reference")
LEGEND = (
    "chance: rows paired at random; class: rows shuffled within each {class}; reference: the teacher against its first "
    "principal components, as many as the student has dimensions; -: undefined."
)
CLUSTER = "cluster (k-means of the teacher stands in for labels)"


def student_blocks(document: dict[str, Any]) -> list[Block]:
    """The whole report of one student; of one that was diagnosed the account first, its causes after the measures."""
    diagnosis = of_comparison(document)
    return [
        Sentence(verdict(document), "strong"),
        *([Sentence(one_line(diagnosis["verdict"]), "strong"), *accounts(diagnosis)] if diagnosis else []),
        Section("", [*compared(document), *training({student_name(document): document})]),
        picture(document),
        *measures(document),
        *([*causes(diagnosis), benign(diagnosis)] if diagnosis else []),
        alarms_raised(told(document["alarms"])),
        worst_classes(document),
        next_to_do(next_steps(document)),
    ]


def measures(document: dict[str, Any]) -> list[Block]:
    """The table of measures in groups, each with what it says."""
    measured = readings(document)
    rows = []
    for group, keys in grouped(document).items():
        for key in keys:
            found = measured[key]
            yardsticks = (found.chance, found.class_chance, found.reference)
            cells = (key, number(found.value), interval(found.low, found.high), *map(number, yardsticks))
            rows.append(Row(cells, one_line(reading(key, document)), group, variant(key)))
    clusters = document["settings"].get("classes") == "k-means"
    legend = LEGEND.replace("{class}", CLUSTER if clusters else "class")
    notes = [f"note {place}: {one_line(note)}." for place, note in enumerate(shared_notes(document), start=1)]
    return [
        Section("", [Table(HEADER, rows, "reading", spare=(3, 4, 5))]),
        Section("", [Sentence(text, "faint") for text in (legend, *notes)]),
    ]
