"""The report of an evaluation: a table for each kind of task, with the scores of both models and how far they agree."""

from __future__ import annotations

from typing import Any

from manifold_probe.report.blocks import Block, Row, Section, Sentence, Table, Value
from manifold_probe.report.comparison import MOST_PAIRS, alarms_raised, by_students
from manifold_probe.report.tables.rows import distinct
from manifold_probe.report.words import ends, interval, number, one_line, shown

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


LOWER_IS_BETTER = "ood_fpr95"
LEGEND_OF_SEVERAL = (
    "*: ahead of every other student, each paired 95% interval of the difference on its side of zero; -: undefined."
)


def evaluation_blocks(document: dict[str, Any]) -> list[Block]:
    """The report of one student."""
    names = " and ".join(f"{side} {shown(document['inputs']['test'][side]['name'])}" for side in ("teacher", "student"))
    sections = []
    for (title, headings, legend), keys in _kinds(document):
        rows = []
        for key in keys:
            task, fidelity = document["tasks"][key], [document["fidelity"][key].get(name) for name in headings]
            note = one_line(task.get("note") or "") if None in (task["teacher"], task["student"], *fidelity) else ""
            scores = (_score(task, side) for side in ("teacher", "student"))
            rows.append(Row((shown(key), *scores, *map(number, fidelity)), note))
        table = Table(("task", "teacher", "student", *headings.values()), rows)
        sections.append(Section(title, [table, Sentence(legend, "faint")]))
    return [Sentence(_tested(document, names)), *sections, alarms_raised(document["alarms"])]


def evaluations_blocks(document: dict[str, Any]) -> list[Block]:
    """The report of several students: one table for each kind of task, and the paired differences."""
    students = document["students"]
    first = next(iter(students.values()))
    names = f"teacher {shown(first['inputs']['test']['teacher']['name'])}; students {', '.join(map(shown, students))}"
    heads = distinct(shown(name, 24) for name in students)
    sections: list[Block] = []
    for (title, headings, legend), keys in _kinds(first):
        rows: list[Row] = []
        for place, key in enumerate(keys):
            ahead = _ahead(document, key)
            scores = [_score(one["tasks"][key], "student", name == ahead) for name, one in students.items()]
            rows.append(Row((shown(key), _score(first["tasks"][key], "teacher"), *scores), strong=True))
            if place and first["fidelity"][key] == first["fidelity"][keys[place - 1]]:
                continue  # another score of the same decisions
            for name, heading in headings.items():
                values = [one["fidelity"][key].get(name) for one in students.values()]
                if any(value is not None for value in values):
                    rows.append(Row((f"\u2003{heading}", "", *map(number, values))))
        table = Table(("task", "teacher", *heads), rows)
        sections.append(Section(title, [table, Sentence(legend, "faint")]))
    sections.append(Section("", [Sentence(LEGEND_OF_SEVERAL, "faint")]))
    alarms = by_students(students, lambda one: [(alarm["code"], alarm["message"]) for alarm in one["alarms"]])
    whose = [(code, f"{', '.join(map(shown, of))}: {text}" if of else text) for (code, text), of in alarms]
    return [
        Sentence(_tested(first, names)),
        *sections,
        *_differences(document),
        alarms_raised([{"code": code, "message": text} for code, text in whose]),
    ]


def _kinds(document: dict[str, Any]) -> list[tuple[tuple[str, dict[str, str], str], list[str]]]:
    """The kinds of tasks that were done, each with its keys."""
    kinds: dict[str, list[str]] = {}
    for key in document["tasks"]:
        kinds.setdefault(next(kind for kind in KINDS if key.startswith(kind)), []).append(key)
    return [(KINDS[kind], keys) for kind, keys in kinds.items()]


def _tested(document: dict[str, Any], names: str) -> str:
    """Which rows were tested, with which bank."""
    settings = document["settings"]
    bank = "training rows" if settings["bank"] == "train" else "others of the same file, halved at random"
    head = f"{names}: {settings['test_rows']:,} test rows compared with {settings['bank_rows']:,} {bank}."
    unlabelled = {name: how["unlabelled"] for name, how in document["pairing"].items() if how and how["unlabelled"]}
    if unlabelled:
        counts = ", ".join(f"{count:,} {name} rows" for name, count in unlabelled.items())
        head += f" Without a label, and left out of what asks for labels: {counts}."
    return head


def _score(task: dict[str, Any], side: str, ahead: bool = False) -> Value:
    low, high = task.get(f"{side}_low"), task.get(f"{side}_high")
    if low is None or high is None:
        return Value(number(task[side]), best=ahead)
    return Value(number(task[side]), *ends(low, high), best=ahead)


def _ahead(document: dict[str, Any], key: str) -> str | None:
    """The student that is better than every other, each paired interval excluding zero; None where none is."""
    sign = -1 if key.startswith(LOWER_IS_BETTER) else 1
    beaten: dict[str, int] = dict.fromkeys(document["students"], 0)
    for row in document["differences"]:
        if row["task"] == key and row["low"] is not None and not row["low"] <= 0 <= row["high"]:
            beaten[row["a"] if sign * row["low"] > 0 else row["b"]] += 1
    return next((name for name, count in beaten.items() if count == len(beaten) - 1), None)


def _differences(document: dict[str, Any]) -> list[Section]:
    """The paired differences, a section for every two students."""
    pairs: dict[tuple[str, str], list[Row]] = {}
    for row in document["differences"]:
        if row["value"] is not None:
            sign = -1 if row["task"].startswith(LOWER_IS_BETTER) else 1
            known = row["low"] is not None and not row["low"] <= 0 <= row["high"]
            ahead = shown(row["a"] if sign * row["value"] > 0 else row["b"], 24) if known else "neither"
            cells = (shown(row["task"]), number(row["value"]), interval(row["low"], row["high"]), ahead)
            pairs.setdefault((row["a"], row["b"]), []).append(Row(cells))
    return [
        Section(
            f"{shown(a)} minus {shown(b)}, paired over the same rows",
            [Table(("task", "difference", "95% interval", "ahead"), rows)],
            folded=True,
        )
        for (a, b), rows in list(pairs.items())[:MOST_PAIRS]
    ]


def evaluation_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The tidy rows: the scores of "teacher" and "student" for every task, and each number of fidelity."""
    rows = []
    for key, task in document["tasks"].items():
        fixed = {"n": task["n"], "note": task.get("note")}
        for side in ("teacher", "student"):
            low, high = task.get(f"{side}_low"), task.get(f"{side}_high")
            rows.append({"task": key, "measure": side, "value": task[side], "low": low, "high": high, **fixed})
        for name, value in document["fidelity"][key].items():
            rows.append({"task": key, "measure": name, "value": value, "low": None, "high": None, **fixed})
    return rows
