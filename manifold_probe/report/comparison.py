"""A comparison as blocks: of one student, and of several with the students as columns of one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any, TypeVar

from manifold_probe.measures.catalogue import KNN_AGREEMENT, OVERLAP
from manifold_probe.report.advice import next_steps
from manifold_probe.report.blocks import Block, Items, Picture, Row, Section, Sentence, Table, Value
from manifold_probe.report.diagnosis.blocks import accounts, benign, causes, side_by_side
from manifold_probe.report.document import SEVERAL, class_word, classes_of, of_comparison, readings
from manifold_probe.report.predictions import expectation
from manifold_probe.report.readings import (
    faithful,
    gloss,
    grouped,
    headline,
    pairing,
    reading,
    shared_notes,
    size,
    variant,
)
from manifold_probe.report.records import Reading
from manifold_probe.report.run import training_sentences
from manifold_probe.report.tables.rows import distinct
from manifold_probe.report.verdict import best, ranking, verdict
from manifold_probe.report.words import (
    columns_left,
    ends,
    file_of,
    interval,
    number,
    one_line,
    shown,
    student_name,
)

Item = TypeVar("Item")
HEADER = ("measure", "value", "95% interval", "chance", "class", "reference")
LEGEND = (
    "chance: rows paired at random; class: rows shuffled within each {class}; reference: the teacher against its first "
    "principal components, as many as the student has dimensions; -: undefined."
)
LEGEND_OF_SEVERAL = (
    "*: ahead of every other student, each paired 95% interval of the difference above zero; -: undefined."
)
STAND_IN = " (k-means of the teacher stands in for labels)"
OF_ONE_VECTOR = ("duplicate_rows", "dead_dimensions", "zero_vectors", "constant_rows", "collapsed_rank")
CLASSES = 5  # are shown
MOST_PAIRS = 6  # of students, with a table each


def comparison_blocks(document: dict[str, Any]) -> list[Block]:
    """The whole report."""
    return (_of_several if document["schema"] == SEVERAL else _of_one)(document)


def _of_one(document: dict[str, Any]) -> list[Block]:
    """Of a student that was diagnosed the account stands first, its causes after the measures."""
    diagnosis = of_comparison(document)
    return [
        Sentence(verdict(document), "strong"),
        *([Sentence(one_line(diagnosis["verdict"]), "strong")] if diagnosis else []),
        Sentence(expectation(document)),
        *(accounts(diagnosis) if diagnosis else []),
        Section(
            "",
            [
                Sentence(f"teacher {size(document, 'teacher')}; student {size(document, 'student')}."),
                Sentence(pairing(document)),
                Sentence(columns_left(document["inputs"])),
                *_training({student_name(document): document}),
            ],
        ),
        _picture(document),
        *_measures(document),
        *([*causes(diagnosis), benign(diagnosis)] if diagnosis else []),
        alarms_raised(main_alarms(document["alarms"])),
        _worst_classes(document),
        _next_to_do(next_steps(document)),
    ]


def _of_several(document: dict[str, Any]) -> list[Block]:
    students = document["students"]
    diagnoses = {name: diagnosis for name, one in students.items() if (diagnosis := of_comparison(one)) is not None}
    alarms = by_students(students, lambda one: [(a["code"], a["message"]) for a in main_alarms(one["alarms"])])
    return [
        *(Sentence(verdict(student), "strong") for student in students.values()),
        *(Sentence(f"{shown(name)}: {one_line(one['verdict'])}", "strong") for name, one in diagnoses.items()),
        Sentence(ranking(document), "strong"),
        Sentence(expectation(document)),
        side_by_side(diagnoses),
        Section("", [*_compared(students), *_training(students)]),
        _picture(document),
        *_measures_of_several(document),
        *_differences(document),
        *(block for name, diagnosis in diagnoses.items() for block in causes(diagnosis, shown(name))),
        *(benign(diagnosis, shown(name)) for name, diagnosis in diagnoses.items()),
        alarms_raised([{"code": code, "message": _whose(names) + text} for (code, text), names in alarms]),
        _classes_of_several(students),
        _next_to_do([_whose(names) + step for step, names in by_students(students, next_steps)]),
    ]


def by_students(
    students: dict[str, dict[str, Any]], items: Callable[[dict[str, Any]], Iterable[Item]]
) -> list[tuple[Item, list[str]]]:
    """Every item once, with the students that have it; no names where all have it.

    >>> by_students({"a": {"x": [1, 2]}, "b": {"x": [2]}}, lambda student: student["x"])
    [(1, ['a']), (2, [])]
    """
    names: dict[Item, list[str]] = {}
    for name, student in students.items():
        for item in items(student):
            names.setdefault(item, []).append(name)
    return [(item, [] if len(of_item) == len(students) else of_item) for item, of_item in names.items()]


def _whose(names: list[str]) -> str:
    """ "a, b: ", or nothing where it is of all students."""
    return f"{', '.join(shown(name, 24) for name in names)}: " if names else ""


def _compared(students: dict[str, dict[str, Any]]) -> list[Sentence]:
    """The files and sizes of all, and how the rows were paired, once where that is one way."""
    first = next(iter(students.values()))
    sizes = []
    for name, student in students.items():
        file = file_of(student["inputs"]["student"])
        sizes.append(f"{shown(name)} = {file}{' ' * bool(file)}{size(student, 'student', named=False)}")
    text = f"teacher {size(first, 'teacher')}; students {', '.join(sizes)}."
    pairings = [_whose(names) + how for how, names in by_students(students, lambda student: [pairing(student)])]
    return [Sentence(sentence) for sentence in (text, *pairings)]


def _training(students: dict[str, dict[str, Any]]) -> list[Sentence]:
    """What training won; a warning for students that won nothing."""
    return [Sentence(text, "warning" if better is False else "") for text, better in training_sentences(students)]


def _picture(document: dict[str, Any]) -> Picture:
    from manifold_probe.report import figures

    return Picture("The main measures with their intervals", lambda: figures.picture(document))


def _measures(document: dict[str, Any]) -> list[Block]:
    """The measures in groups, each with what it says."""
    measured = readings(document)
    rows = []
    for group, keys in grouped(document).items():
        for key in keys:
            measure = measured[key]
            yardsticks = map(number, (measure.chance, measure.class_chance, measure.reference))
            cells = (key, number(measure.value), interval(measure.low, measure.high), *yardsticks)
            rows.append(Row(cells, one_line(reading(key, document)), group, variant(key)))
    kind = class_word(document)
    legend = LEGEND.replace("{class}", kind + STAND_IN if kind == "cluster" else kind)
    notes = [f"note {place}: {one_line(note)}." for place, note in enumerate(shared_notes(document), start=1)]
    return [
        Section("", [Table(HEADER, rows, "reading", spare=(3, 4, 5))]),
        Section("", [Sentence(text, "faint") for text in (legend, *notes)]),
    ]


def _measures_of_several(document: dict[str, Any]) -> list[Block]:
    measured = {name: readings(student) for name, student in document["students"].items()}
    ahead = {key: best(document, key) for key in faithful(document)}
    first = next(iter(measured.values()))
    rows = []
    for group, keys in grouped(document).items():
        for key in keys:
            values = (_value(of_student.get(key), ahead.get(key) == name) for name, of_student in measured.items())
            chance = first[key].chance if key in first else None
            note = gloss(key, document) + (f"; chance {number(chance)}" if chance else "")
            rows.append(Row((key, *values), note, group, variant(key)))
    table = Table(("measure", *_headings(measured)), rows, "meaning")
    return [Section("", [table]), Section("", [Sentence(LEGEND_OF_SEVERAL, "faint")])]


def _headings(names: Iterable[str]) -> list[str]:
    """The names of students as headings, no two alike."""
    return distinct(shown(name, 24) for name in names)


def _value(measure: Reading | None, ahead: bool) -> Value:
    if measure is None or measure.value is None:
        return Value("-")
    if measure.low is None or measure.high is None:
        return Value(number(measure.value), best=ahead)
    return Value(number(measure.value), *ends(measure.low, measure.high), ahead)


def _differences(document: dict[str, Any]) -> list[Section]:
    """Paired differences of the main measures, a section for every two students; of overlap alone where they are
    many."""
    students = document["students"]
    overlap = OVERLAP.named(next(iter(students.values()))["settings"]["k"])
    rows = {(row["a"], row["b"], row["measure"]): row for row in document["differences"]}
    names = {(a, b): (shown(a), shown(b)) for a, b in combinations(students, 2)}
    if len(names) > MOST_PAIRS:
        table = _difference_table(
            "students", {f"{a} - {b}": rows.get((*pair, overlap)) for pair, (a, b) in names.items()}
        )
        return [Section(f"{overlap}, paired over the same rows (--json has every measure)", [table], folded=True)]
    return [
        Section(
            f"{a} minus {b}, paired over the same rows",
            [_difference_table("measure", {key: rows.get((*pair, key)) for key in headline(document)})],
            folded=True,
        )
        for pair, (a, b) in names.items()
    ]


def _difference_table(first: str, differences: dict[str, dict[str, Any] | None]) -> Table:
    rows = []
    for name, row in differences.items():
        if row is not None and row["value"] is not None:
            low, high = row["low"], row["high"]
            known = low is not None and not low <= 0 <= high
            ahead = shown(row["a"] if low > 0 else row["b"], 24) if known else "neither"
            rows.append(Row((name, number(row["value"]), interval(low, high), ahead)))
    return Table((first, "difference", "95% interval", "ahead"), rows)


def main_alarms(alarms: list[dict[str, str]]) -> list[dict[str, str]]:
    """The alarms without those that follow from another: of a side that holds one vector only, this alone."""
    one_vector = {alarm["message"].partition(":")[0] for alarm in alarms if alarm["code"] == "constant_space"}
    return [
        alarm
        for alarm in alarms
        if not (alarm["code"] in OF_ONE_VECTOR and alarm["message"].partition(":")[0] in one_vector)
    ]


def alarms_raised(alarms: list[dict[str, str]]) -> Section:
    """The alarms."""
    texts = [f"{shown(alarm['code'])}: {one_line(alarm['message'])}" for alarm in alarms]
    return Section("Alarms", [Items(texts, "!", "warning")] if texts else [])


def _worst_classes(document: dict[str, Any]) -> Section:
    """The classes that keep the fewest neighbours, where some keep fewer than others."""
    rows = sorted(classes_of(document), key=lambda row: row["overlap"])
    if len({number(row["overlap"]) for row in rows}) < 2:
        return Section("", [])
    cells = [
        (
            shown(row["class"], 24),
            f"{row['n']:,}",
            number(row["overlap"]),
            interval(row.get("low"), row.get("high")),
            number(row.get(KNN_AGREEMENT.detail)),
        )
        for row in rows[:CLASSES]
    ]
    header = (class_word(document), "rows", "overlap", "95% interval", "agreement")
    return Section(_title_of_classes(document), [Table(header, [Row(row) for row in cells])], folded=True)


def _classes_of_several(students: dict[str, dict[str, Any]]) -> Section:
    """Overlap of the classes that suffer most in any student."""
    overlaps: dict[Any, dict[str, float]] = {}
    for name, student in students.items():
        for row in classes_of(student):
            overlaps.setdefault(row["class"], {})[name] = row["overlap"]
    if len(overlaps) < 2:
        return Section("", [])
    worst = sorted(overlaps.items(), key=lambda item: min(item[1].values()))[:CLASSES]
    rows = [Row((shown(label, 24), *(number(kept.get(name)) for name in students))) for label, kept in worst]
    first = next(iter(students.values()))
    table = Table((class_word(first), *_headings(students)), rows)
    return Section(f"{_title_of_classes(first)}, by overlap", [table], folded=True)


def _title_of_classes(document: dict[str, Any]) -> str:
    return f"Worst clusters{STAND_IN}" if class_word(document) == "cluster" else "Worst classes"


def _next_to_do(steps: list[str]) -> Section:
    return Section("What to do next", [Items(steps, "1")] if steps else [])
