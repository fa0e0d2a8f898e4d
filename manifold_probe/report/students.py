"""The report of several students: a verdict each, one table with the students as columns, and paired differences."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from rich.text import Text

from manifold_probe.measures.catalogue import OVERLAP
from manifold_probe.report.advice import next_steps
from manifold_probe.report.diagnosis.document import of_comparison
from manifold_probe.report.diagnosis.lines import accounts_lines, benign_lines, cause_lines
from manifold_probe.report.document import readings
from manifold_probe.report.layout import GAP, columns, heading, paragraph, sizes, table, total
from manifold_probe.report.readings import faithful, gloss, grouped, headline, label
from manifold_probe.report.sections import alarm_lines, pairing, size, step_lines, told
from manifold_probe.report.training import training_lines
from manifold_probe.report.verdict import verdict
from manifold_probe.report.words import interval, number, one_line, shown

MOST_PAIRS = 6
APART = "Not all students were compared together, so who is ahead is not known: give them all to one probe compare."
LEGEND = "*: ahead of every other student, each paired 95% interval of the difference above zero; -: undefined."


def students_lines(document: dict[str, Any], width: int | None) -> list[Text]:
    """The whole report of several students."""
    students = document["students"]
    lines = [line for each in students.values() for line in paragraph(verdict(each), width, style="bold")]
    diagnoses = {name: found for name, each in students.items() if (found := of_comparison(each)) is not None}
    for name, found in diagnoses.items():
        lines += paragraph(f"{shown(name)}: {one_line(found['verdict'])}", width, style="bold")
    return [
        *lines,
        *paragraph(ranking(document), width, style="bold"),
        *accounts_lines(diagnoses, width),
        Text(),
        *_compared(students, width),
        *training_lines(students, width),
        *_measures(document, width),
        *_differences(document, width),
        *(line for name, found in diagnoses.items() for line in cause_lines(found, width, shown(name))),
        *(line for name, found in diagnoses.items() for line in benign_lines(found, width, shown(name))),
        *_alarms(students, width),
        *_classes(students, width),
        *_steps(students, width),
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


def _compared(students: dict[str, dict[str, Any]], width: int | None) -> list[Text]:
    first = next(iter(students.values()))
    sizes = ", ".join(f"{shown(name)} = {_size(each)}" for name, each in students.items())
    how = dict.fromkeys(pairing(each) for each in students.values())
    lines = paragraph(f"teacher {size(first, 'teacher')}; students {sizes}.", width)
    if len(how) == 1:
        return [*lines, *paragraph(next(iter(how)), width)]
    for name, each in students.items():
        lines.extend(paragraph(f"{shown(name)}: {pairing(each)}", width))
    return lines


def _size(document: dict[str, Any]) -> str:
    """A student's file and size."""
    path = str(document["inputs"]["student"].get("path") or "").rstrip("/").rsplit("/", 1)[-1]
    return f"{shown(path)} {size(document, 'student', named=False)}" if path else size(document, "student", named=False)


def _measures(document: dict[str, Any], width: int | None) -> list[Text]:
    """One table, students as columns; those that do not fit follow in further tables."""
    students = document["students"]
    measures = {name: readings(each) for name, each in students.items()}
    first = next(iter(measures.values()))
    groups = grouped(document)
    keys = [key for members in groups.values() for key in members]
    marks = {key: best(document, key) for key in faithful(document)}
    for with_interval in (True, False):
        rows = {key: [label(key, width)] for key in keys}
        for name, each in measures.items():
            for key in keys:
                rows[key].append(_cell(each.get(key), marks.get(key) == name, with_interval))
        header = ["measure", *(shown(name, 24) for name in students)]
        widths = sizes([header, *rows.values()])
        if width is None or total(widths) <= width:
            break
    lines: list[Text] = []
    for block in _blocks(widths, width):
        lines += [Text(), Text(_row(header, widths, block), style="dim")]
        for title, members in groups.items():
            lines.append(Text(title, style="bold"))
            for key in members:
                words = gloss(key, document) + _chance(first.get(key)) if block[0] == 1 else ""
                text = _row(rows[key], widths, block)
                lines.append(Text(f"{text}{GAP}{words}" if width is None else text))
                lines += paragraph(words, width, style="dim", indent=4) if width is not None and words else []
    return [*lines, Text(), *paragraph(LEGEND, width, style="dim")]


def _blocks(widths: list[int], width: int | None) -> list[list[int]]:
    """The columns of each table, at least one student in each."""
    blocks: list[list[int]] = [[]]
    for place in range(1, len(widths)):
        taken = [widths[0], *(widths[other] for other in [*blocks[-1], place])]
        if blocks[-1] and width is not None and total(taken) > width:
            blocks.append([])
        blocks[-1].append(place)
    return blocks


def _row(cells: list[str], widths: list[int], block: list[int]) -> str:
    places = [0, *block]
    return columns([[cells[place] for place in places]], [widths[place] for place in places])[0]


def _chance(measure: Any) -> str:
    return f"; chance {number(measure.chance)}" if measure is not None and measure.chance else ""


def _cell(measure: Any, is_best: bool, with_interval: bool) -> str:
    if measure is None or measure.value is None:
        return "- "
    text = number(measure.value)
    if with_interval and measure.low is not None:
        text += f" ({interval(measure.low, measure.high)})"
    return text + ("*" if is_best else " ")


def _differences(document: dict[str, Any], width: int | None) -> list[Text]:
    """Paired differences of the main measures, a block for every two students; of overlap alone where they are many."""
    k = next(iter(document["students"].values()))["settings"]["k"]
    pairs = list(combinations(document["students"], 2))
    if len(pairs) > MOST_PAIRS:
        rows = {(row["a"], row["b"]): row for row in document["differences"] if row["measure"] == OVERLAP.named(k)}
        lines = heading(f"{OVERLAP.named(k)}, paired over the same rows (--json has every measure)", width)
        return lines + _difference_table(
            "students", {f"{shown(a)} - {shown(b)}": rows.get((a, b)) for a, b in pairs}, width
        )
    lines = []
    for a, b in pairs:
        found = {row["measure"]: row for row in document["differences"] if (row["a"], row["b"]) == (a, b)}
        lines += heading(f"{shown(a)} minus {shown(b)}, paired over the same rows", width)
        lines += _difference_table("measure", {key: found.get(key) for key in headline(document)}, width)
    return lines


def _difference_table(first: str, rows: dict[str, dict[str, Any] | None], width: int | None) -> list[Text]:
    cells = [[first, "difference", "95% interval", "ahead"]]
    for name, row in rows.items():
        if row is not None and row["value"] is not None:
            cells.append([name, number(row["value"]), interval(row["low"], row["high"]), _ahead(row)])
    return table(cells, width)


def _ahead(row: dict[str, Any]) -> str:
    if row["low"] is None or row["low"] <= 0 <= row["high"]:
        return "neither"
    return shown(row["a"] if row["low"] > 0 else row["b"], 24)


def _alarms(students: dict[str, dict[str, Any]], width: int | None) -> list[Text]:
    """Every alarm once; one that not all students raise names those that do."""
    raised: dict[tuple[str, str], list[str]] = {}
    for name, each in students.items():
        for alarm in told(each["alarms"]):
            raised.setdefault((alarm["code"], alarm["message"]), []).append(name)
    merged = [{"code": code, "message": _of(message, names, students)} for (code, message), names in raised.items()]
    return alarm_lines(merged, width)


def _steps(students: dict[str, dict[str, Any]], width: int | None) -> list[Text]:
    steps: dict[str, list[str]] = {}
    for name, each in students.items():
        for step in next_steps(each):
            steps.setdefault(step, []).append(name)
    return step_lines([_of(step, names, students) for step, names in steps.items()], width)


def _of(text: str, names: list[str], students: dict[str, Any]) -> str:
    return text if len(names) == len(students) else f"{', '.join(shown(name, 24) for name in names)}: {text}"


def _classes(students: dict[str, dict[str, Any]], width: int | None, most: int = 5) -> list[Text]:
    """Overlap of the classes that suffer most in any student."""
    overlaps: dict[Any, dict[str, float]] = {}
    for name, each in students.items():
        for row in each["details"].get("per_class") or []:
            if row.get("overlap") is not None:
                overlaps.setdefault(row["class"], {})[name] = row["overlap"]
    if len(overlaps) < 2:
        return []
    worst = sorted(overlaps.items(), key=lambda item: min(item[1].values()))[:most]
    rows = [[shown(kind, 24), *(number(kept.get(name)) for name in students)] for kind, kept in worst]
    clusters = next(iter(students.values()))["settings"].get("classes") == "k-means"
    title = "Worst clusters (k-means of the teacher stands in for labels)" if clusters else "Worst classes"
    header = ["cluster" if clusters else "class", *(shown(name, 24) for name in students)]
    return [*heading(f"{title}, by overlap", width), *table([header, *rows], width)]
