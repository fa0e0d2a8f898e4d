"""The report of an evaluation: a table of tasks, the scores of both models and how far their decisions agree."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from manifold_probe.report.blocks import Block, Row, Section, Sentence, Table
from manifold_probe.report.render.terminal import lines
from manifold_probe.report.sections import alarms_raised
from manifold_probe.report.words import number, one_line, shown

SCHEMA = "manifold-probe/evaluation/1"
SHORT = {
    "agreement": "agree",
    "expected": "by accuracy alone",
    "excess": "excess",
    "neighbour_recall": "teacher's nearest found",
    "cross_recall": "student's queries in the teacher's space",
    "rank_correlation_in": "rank correlation inside",
    "rank_correlation_out": "outside",
}
LEGEND = (
    "fidelity: share of rows on which the two decide alike; what their accuracies alone would give; the excess over "
    "that, 1 where they always decide alike. Of OOD scores the rank correlation inside the distribution, and outside. "
    "ood_fpr95: lower is better; all else: higher."
)


def evaluation_blocks(document: dict[str, Any]) -> list[Block]:
    """The whole report."""
    settings, test = document["settings"], document["inputs"]["test"]
    names = " and ".join(f"{side} {shown(test[side]['name'])}" for side in ("teacher", "student"))
    bank = "training rows" if settings["bank"] == "train" else "others of the same file, halved at random"
    head = f"{names}: {settings['test_rows']:,} test rows compared with {settings['bank_rows']:,} {bank}."
    without = {name: how["unlabelled"] for name, how in document["pairing"].items() if how and how["unlabelled"]}
    if without:
        counts = ", ".join(f"{count:,} {name} rows" for name, count in without.items())
        head += f" Without a label, and left out of what asks for labels: {counts}."
    rows = []
    for key, task in document["tasks"].items():
        agreements = document["fidelity"][key].items()
        fidelity = ", ".join(f"{SHORT[name]} {number(value)}" for name, value in agreements if value is not None)
        cells = (key, number(task["teacher"]), number(task["student"]))
        rows.append(Row(cells, fidelity or one_line(task["note"] or "-")))
    return [
        Sentence(head),
        Section("", [Table(("task", "teacher", "student"), rows, "fidelity")]),
        alarms_raised(document["alarms"]),
        Section("", [Sentence(LEGEND, "faint")]),
    ]


def evaluation_lines(document: dict[str, Any], width: int | None) -> list[Text]:
    """The whole report as styled lines."""
    return lines(evaluation_blocks(document), width)
