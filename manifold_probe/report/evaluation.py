"""The report of an evaluation: a table for each kind of task, with the scores of both models and how far they agree."""

from __future__ import annotations

from typing import Any

from manifold_probe.report.blocks import Block, Row, Section, Sentence, Table
from manifold_probe.report.comparison import alarms_raised
from manifold_probe.report.words import number, one_line, shown

# The kinds of tasks by how their keys begin: title, the headings of the numbers of fidelity, and what those mean.
KINDS: dict[str, tuple[str, dict[str, str], str]] = {
    "recall@": (
        "Retrieval",
        {"neighbour_recall": "nearest found", "cross_recall": "across"},
        "nearest found: share of rows whose nearest row in the teacher is among the nearest in the student; across: "
        "recall of the student's queries among the teacher's rows.",
    ),
    "ood_": (
        "Unusual rows (OOD)",
        {"rank_correlation_in": "ranks inside", "rank_correlation_out": "ranks outside"},
        "ranks: rank correlation of the two models' scores inside the distribution, and outside. Of ood_fpr95 lower is "
        "better, of all else higher.",
    ),
    "": (
        "Classification",
        {"agreement": "agree", "expected": "by accuracy", "excess": "excess"},
        "agree: share of rows on which the two decide alike; by accuracy: what their accuracies alone would give; "
        "excess: what is above that, 1 where they always decide alike.",
    ),
}


def evaluation_blocks(document: dict[str, Any]) -> list[Block]:
    """The whole report."""
    settings, test = document["settings"], document["inputs"]["test"]
    names = " and ".join(f"{side} {shown(test[side]['name'])}" for side in ("teacher", "student"))
    bank = "training rows" if settings["bank"] == "train" else "others of the same file, halved at random"
    head = f"{names}: {settings['test_rows']:,} test rows compared with {settings['bank_rows']:,} {bank}."
    unlabelled = {name: how["unlabelled"] for name, how in document["pairing"].items() if how and how["unlabelled"]}
    if unlabelled:
        counts = ", ".join(f"{count:,} {name} rows" for name, count in unlabelled.items())
        head += f" Without a label, and left out of what asks for labels: {counts}."
    kinds = {key: next(kind for kind in KINDS if key.startswith(kind)) for key in document["tasks"]}
    tables = {kind: [key for key in kinds if kinds[key] == kind] for kind in kinds.values()}
    return [
        Sentence(head),
        *(_tasks(document, kind, keys) for kind, keys in tables.items()),
        alarms_raised(document["alarms"]),
    ]


def _tasks(document: dict[str, Any], kind: str, keys: list[str]) -> Section:
    """The tasks of one kind; the note of a task where a number is undefined."""
    title, headings, legend = KINDS[kind]
    rows = []
    for key in keys:
        task, fidelity = document["tasks"][key], document["fidelity"][key]
        values = [task["teacher"], task["student"], *(fidelity.get(name) for name in headings)]
        note = one_line(task.get("note") or "") if None in values else ""
        rows.append(Row((shown(key), *map(number, values)), note))
    table = Table(("task", "teacher", "student", *headings.values()), rows)
    return Section(title, [table, Sentence(legend, "faint")])


def evaluation_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The tidy rows: the scores of "teacher" and "student" for every task, and each number of fidelity."""
    return [
        {"task": key, "measure": measure, "value": value, "n": task["n"], "note": task.get("note")}
        for key, task in document["tasks"].items()
        for measure, value in {
            **{side: task[side] for side in ("teacher", "student")},
            **document["fidelity"][key],
        }.items()
    ]
