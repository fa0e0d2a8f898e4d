"""A comparison in words: what was compared, and the measures by their declarations, with what each value says."""

from __future__ import annotations

from collections import Counter
from typing import Any

from manifold_probe.measures.catalogue import MEASURES, OVERLAP, PER_DIMENSION, Measure
from manifold_probe.report.document import class_word, readings, students_of
from manifold_probe.report.records import Reading
from manifold_probe.report.words import (
    degree,
    file_named,
    fraction,
    neighbours,
    number,
    paired_rows,
    shown,
    teacher_name,
)

OTHERS = "Others"  # the heading of measures that this version does not know


def catalogue(document: dict[str, Any]) -> dict[str, Measure]:
    """{key: declaration} of every measure in a result, in the order of reports.

    A measure of the user's is declared in the result itself; one that a newer version wrote has its key for a title.
    """
    students = list(students_of(document).values())
    k = students[0]["settings"]["k"]
    measured: dict[str, dict[str, Any]] = {key: one for student in students for key, one in student["measures"].items()}
    known = {measure.named(k): measure for measure in MEASURES if measure.named(k) in measured}
    rest = {key: _declared(key, one) for key, one in measured.items() if key not in known}
    return known | dict(sorted(rest.items(), key=lambda item: item[1].group == OTHERS))


def _declared(key: str, measure: dict[str, Any]) -> Measure:
    declared = measure.get("declared")
    if declared is None:
        return Measure(key, key, OTHERS, key, higher_is_better=None)
    return Measure(
        key, declared["title"], declared["group"], declared["gloss"], higher_is_better=declared.get("higher_is_better")
    )


def grouped(document: dict[str, Any]) -> dict[str, list[str]]:
    """{heading: measure keys} in the order of the report."""
    groups: dict[str, list[str]] = {}
    for key, measure in catalogue(document).items():
        groups.setdefault(measure.group, []).append(key)
    return groups


def faithful(document: dict[str, Any]) -> list[str]:
    """The measures of which more is more faithful."""
    return [key for key, measure in catalogue(document).items() if measure.higher_is_better]


def headline(document: dict[str, Any]) -> list[str]:
    """The measures that small tables and crowded figures show."""
    return [key for key, measure in catalogue(document).items() if measure.headline]


def title(key: str, document: dict[str, Any]) -> str:
    """The printed name of a measure."""
    measure = catalogue(document).get(key)
    return key if measure is None else measure.title.replace("{k}", str(_k(document)))


def _k(document: dict[str, Any]) -> int:
    return next(iter(students_of(document).values()))["settings"]["k"]


def variant(key: str) -> str:
    """The short name of a measure that stands below the one it varies, to save room; empty for others."""
    base, _, what = key.partition(":")
    return f"  :{what}" if what and base == PER_DIMENSION.key else ""


def gloss(key: str, document: dict[str, Any]) -> str:
    """What a measure is, for any value."""
    return catalogue(document)[key].gloss.replace("{neighbours}", neighbours(_k(document)))


def reading(key: str, document: dict[str, Any]) -> str:
    """What the value of one measure of one student says, without a full stop; the note where it is undefined."""
    measure, declared = readings(document)[key], catalogue(document)[key]
    if measure.value is None:
        return f"undefined: {measure.note}" if measure.note else "undefined"
    words = _sentence(declared, measure.value, document) if declared.reading else gloss(key, document)
    return words + _spread(measure) + _noted(measure.note, shared_notes(document))


def shared_notes(document: dict[str, Any]) -> list[str]:
    """The notes that more than one value of a student has: reports say each once, as "note 1: ...",
    in the order of their measures."""
    measures = readings(document)
    in_order = [measures[key] for key in catalogue(document)]
    notes = [measure.note for measure in in_order if measure.value is not None and measure.note]
    counts = Counter(part for note in notes for part in note.split("; "))
    return [part for part, count in counts.items() if count > 1]


def _noted(note: str | None, shared: list[str]) -> str:
    """A note in brackets, with the numbers of the parts that are shared.

    >>> _noted("only this one; as elsewhere", ["another", "as elsewhere"])
    ' (only this one; note 2)'
    """
    parts = note.split("; ") if note else []
    numbers = [str(shared.index(part) + 1) for part in parts if part in shared]
    texts = [part for part in parts if part not in shared] + ([f"note {', '.join(numbers)}"] if numbers else [])
    return f" ({'; '.join(texts)})" if texts else ""


def _sentence(declared: Measure, value: float, document: dict[str, Any]) -> str:
    """The sentence of a declaration, with its words filled in."""
    words = {
        "share": fraction(value),
        "degree": degree(value, *declared.steps, otherwise=""),
        "about": f"{value:.0f}",
        "width": document["inputs"][declared.side or "student"]["shape"][1],
        "neighbours": neighbours(document["settings"]["k"]),
        "class": class_word(document),
    }
    return declared.reading.format(**words)


def _spread(measure: Reading) -> str:
    quantiles = measure.quantiles or {}
    if quantiles.get("0.05") is None or quantiles.get("0.95") is None:
        return ""
    return f"; 90% of the dimensions lie between {number(quantiles['0.05'])} and {number(quantiles['0.95'])}"


def pairing(document: dict[str, Any]) -> str:
    """How the rows were paired and how many queries the neighbour measures are from."""
    how, k = document["pairing"], document["settings"]["k"]
    queries = (document["measures"].get(OVERLAP.named(k)) or {}).get("n")
    known = "" if queries is None else f": neighbours of {queries:,} query rows among all {how['rows']:,}"
    return f"{paired_rows(how)}. k = {k}{known}."


def size(document: dict[str, Any], side: str, named: bool = True) -> str:
    """ "t.pt (10,000 x 512 float32)", of a student with its name: "s = s.pt (10,000 x 384 float32)"."""
    space = document["inputs"][side]
    rows, dimensions = space["shape"]
    name = teacher_name(document) if side == "teacher" else shown(space["name"])
    file = file_named(space)
    called = f"{name} = {file} " if file not in ("", name) else f"{name} " * (name != side)
    return f"{called * named}({rows:,} x {dimensions:,} {space['dtype']})"
