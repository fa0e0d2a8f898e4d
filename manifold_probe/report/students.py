"""The report of several students: a verdict each, one table with the students as columns, and paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any, TypeVar

from manifold_probe.measures.catalogue import OVERLAP
from manifold_probe.report.advice import next_steps
from manifold_probe.report.blocks import Block, Row, Section, Sentence, Table, Value
from manifold_probe.report.diagnosis.document import of_comparison
from manifold_probe.report.diagnosis.lines import benign, causes, side_by_side
from manifold_probe.report.document import Reading, readings
from manifold_probe.report.readings import faithful, gloss, grouped, headline, variant
from manifold_probe.report.sections import (
    CLASSES,
    alarms_raised,
    classes_called,
    next_to_do,
    pairing,
    picture,
    size,
    told,
)
from manifold_probe.report.training import training
from manifold_probe.report.verdict import verdict
from manifold_probe.report.words import ends, interval, number, one_line, shown

MOST_PAIRS = 6
Said = TypeVar("Said")
APART = "Not all students were compared together, so who is ahead is not known: give them all to one probe compare."
LEGEND = "*: ahead of every other student, each paired 95% interval of the difference above zero; -: undefined."


def students_blocks(document: dict[str, Any]) -> list[Block]:
    """The whole report of several students."""
    students = document["students"]
    diagnoses = {name: found for name, each in students.items() if (found := of_comparison(each)) is not None}
    return [
        *(Sentence(verdict(each), "strong") for each in students.values()),
        *(Sentence(f"{shown(name)}: {one_line(each['verdict'])}", "strong") for name, each in diagnoses.items()),
        Sentence(ranking(document), "strong"),
        side_by_side(diagnoses),
        Section("", [*_compared(students), *training(students)]),
        picture(document),
        *_measures(document),
        *_differences(document),
        *(block for name, each in diagnoses.items() for block in causes(each, shown(name))),
        *(benign(each, shown(name)) for name, each in diagnoses.items()),
        _alarms(students),
        _classes(students),
        _steps(students),
    ]


def ranking(document: dict[str, Any]) -> str:
    """Whether one student keeps more neighbours than every other, in a sentence; empty for a single student."""
    names = list(document["students"])
    k = document["students"][names[0]]["settings"]["k"]
    if len(names) < 2:
        return ""
    if not paired(document):
        return APART
    first = best(document, OVERLAP.named(k))
    if first is None:
        return "No student clearly keeps more neighbours than every other."
    gaps = [
        row for row in document["differences"] if row["measure"] == OVERLAP.named(k) and first in (row["a"], row["b"])
    ]
    nearest = min(gaps, key=lambda row: abs(row["value"]))
    other = nearest["b"] if nearest["a"] == first else nearest["a"]
    low, high = sorted((abs(nearest["low"]), abs(nearest["high"])))
    return (
        f"{shown(first)} keeps the most neighbours: {100 * abs(nearest['value']):.1f} percentage points more than "
        f"{shown(other)} (95% interval {100 * low:.1f} to {100 * high:.1f})."
    )


def paired(document: dict[str, Any]) -> bool:
    """Whether every two students were compared together, so that their differences are known."""
    known = {frozenset((row["a"], row["b"])) for row in document["differences"]}
    return all(frozenset(two) in known for two in combinations(document["students"], 2))


def best(document: dict[str, Any], key: str) -> str | None:
    """The student ahead of every other one in a measure, where each paired interval excludes zero."""
    names = list(document["students"])
    ahead: dict[str, set[str]] = {name: set() for name in names}
    for row in document["differences"]:
        if row["measure"] == key and row["low"] is not None and row["high"] is not None:
            if row["low"] > 0:
                ahead[row["a"]].add(row["b"])
            elif row["high"] < 0:
                ahead[row["b"]].add(row["a"])
    return next((name for name in names if len(names) > 1 and len(ahead[name]) == len(names) - 1), None)


def _compared(students: dict[str, dict[str, Any]]) -> list[Sentence]:
    first = next(iter(students.values()))
    sizes = ", ".join(f"{shown(name)} = {_size(each)}" for name, each in students.items())
    how = {name: pairing(each) for name, each in students.items()}
    alike = len(set(how.values())) == 1
    said = [pairing(first)] if alike else [f"{shown(name)}: {text}" for name, text in how.items()]
    return [Sentence(text) for text in (f"teacher {size(first, 'teacher')}; students {sizes}.", *said)]


def _size(document: dict[str, Any]) -> str:
    """A student's file and size."""
    path = str(document["inputs"]["student"].get("path") or "").rstrip("/").rsplit("/", 1)[-1]
    return f"{shown(path)} {size(document, 'student', named=False)}" if path else size(document, "student", named=False)


def _measures(document: dict[str, Any]) -> list[Block]:
    """One table, students as columns."""
    measured = {name: readings(each) for name, each in document["students"].items()}
    ahead = {key: best(document, key) for key in faithful(document)}
    first = next(iter(measured.values()))
    rows = [
        Row(
            (key, *(_value(each.get(key), ahead.get(key) == name) for name, each in measured.items())),
            gloss(key, document) + _chance(first.get(key)),
            group,
            variant(key),
        )
        for group, keys in grouped(document).items()
        for key in keys
    ]
    header = ("measure", *_headings(measured))
    return [Section("", [Table(header, rows, "meaning")]), Section("", [Sentence(LEGEND, "faint")])]


def _headings(names: Iterable[str]) -> list[str]:
    """The names of students as headings, no two alike."""
    from manifold_probe.report.tables.rows import distinct  # which takes `best` from here

    return distinct(shown(name, 24) for name in names)


def _value(measure: Reading | None, ahead: bool) -> Value:
    if measure is None or measure.value is None:
        return Value("-")
    if measure.low is None or measure.high is None:
        return Value(number(measure.value), best=ahead)
    return Value(number(measure.value), *ends(measure.low, measure.high), ahead)


def _chance(measure: Reading | None) -> str:
    return f"; chance {number(measure.chance)}" if measure is not None and measure.chance else ""


def _differences(document: dict[str, Any]) -> list[Section]:
    """Paired differences of the main measures, a section for every two students; of overlap alone where they are
    many."""
    k = next(iter(document["students"].values()))["settings"]["k"]
    found = {(row["a"], row["b"], row["measure"]): row for row in document["differences"]}
    pairs, key = list(combinations(document["students"], 2)), OVERLAP.named(k)
    if len(pairs) > MOST_PAIRS:
        rows = {f"{shown(a)} - {shown(b)}": found.get((a, b, key)) for a, b in pairs}
        title = f"{key}, paired over the same rows (--json has every measure)"
        return [Section(title, [_difference_table("students", rows)], folded=True)]
    return [
        Section(
            f"{shown(a)} minus {shown(b)}, paired over the same rows",
            [_difference_table("measure", {each: found.get((a, b, each)) for each in headline(document)})],
            folded=True,
        )
        for a, b in pairs
    ]


def _difference_table(first: str, differences: dict[str, dict[str, Any] | None]) -> Table:
    rows = [
        Row((name, number(row["value"]), interval(row["low"], row["high"]), _ahead(row)))
        for name, row in differences.items()
        if row is not None and row["value"] is not None
    ]
    return Table((first, "difference", "95% interval", "ahead"), rows)


def _ahead(row: dict[str, Any]) -> str:
    if row["low"] is None or row["low"] <= 0 <= row["high"]:
        return "neither"
    return shown(row["a"] if row["low"] > 0 else row["b"], 24)


def _alarms(students: dict[str, dict[str, Any]]) -> Section:
    """Every alarm once; one that not all students raise names those that do."""
    raised = {
        name: [(alarm["code"], alarm["message"]) for alarm in told(each["alarms"])] for name, each in students.items()
    }
    alarms = _once(raised).items()
    return alarms_raised([{"code": code, "message": of + message} for (code, message), of in alarms])


def _steps(students: dict[str, dict[str, Any]]) -> Section:
    """Every step once; one that is not for all students names those that it is for."""
    steps = _once({name: next_steps(each) for name, each in students.items()})
    return next_to_do([of + step for step, of in steps.items()])


def _once(said: Mapping[str, Iterable[Said]]) -> dict[Said, str]:
    """What is said of students, with "a, b: " for the names of those it is said of, empty where it is said of all."""
    names: dict[Said, list[str]] = {}
    for name, each in said.items():
        for one in each:
            names.setdefault(one, []).append(name)
    return {
        one: "" if len(of) == len(said) else f"{', '.join(shown(name, 24) for name in of)}: "
        for one, of in names.items()
    }


def _classes(students: dict[str, dict[str, Any]]) -> Section:
    """Overlap of the classes that suffer most in any student."""
    overlaps: dict[Any, dict[str, float]] = {}
    for name, each in students.items():
        for row in each["details"].get("per_class") or []:
            if row.get("overlap") is not None:
                overlaps.setdefault(row["class"], {})[name] = row["overlap"]
    kind, title = classes_called(next(iter(students.values())))
    worst = sorted(overlaps.items(), key=lambda item: min(item[1].values()))[:CLASSES]
    rows = [Row((shown(each, 24), *(number(kept.get(name)) for name in students))) for each, kept in worst]
    table = Table((kind, *_headings(students)), rows)
    return Section(f"{title}, by overlap", [table] if len(overlaps) > 1 else [], folded=True)
