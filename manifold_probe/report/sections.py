"""Parts that every report has: what was compared, alarms, worst classes, next steps."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from manifold_probe.measures.catalogue import KNN_AGREEMENT, OVERLAP
from manifold_probe.report.document import readings
from manifold_probe.report.layout import heading, paragraph, table
from manifold_probe.report.words import (
    columns_left,
    interval,
    number,
    one_line,
    paired_rows,
    shown,
    student_name,
    teacher_name,
)

OF_ONE_VECTOR = ("duplicate_rows", "dead_dimensions", "zero_vectors", "constant_rows", "collapsed_rank")


def compared_lines(document: dict[str, Any], width: int | None) -> list[Text]:
    """What was compared, how the rows were paired, how many there were."""
    return [
        *paragraph(f"teacher {size(document, 'teacher')}; student {size(document, 'student')}.", width),
        *paragraph(pairing(document), width),
        *paragraph(columns_left(document["inputs"]), width),
    ]


def pairing(document: dict[str, Any]) -> str:
    """How the rows were paired and how many queries the neighbour measures rest on."""
    how, settings = document["pairing"], document["settings"]
    k = settings["k"]
    overlap = readings(document).get(OVERLAP.named(k))
    queries = how["rows"] if overlap is None or overlap.n is None else overlap.n
    return f"{paired_rows(how)}. k = {k}: neighbours of {queries:,} query rows among all {how['rows']:,}."


def told(alarms: list[dict[str, str]]) -> list[dict[str, str]]:
    """The alarms without those that follow from another: of a side that holds one vector only, this alone."""
    one_vector = {alarm["message"].partition(":")[0] for alarm in alarms if alarm["code"] == "constant_space"}
    return [
        alarm
        for alarm in alarms
        if not (alarm["code"] in OF_ONE_VECTOR and alarm["message"].partition(":")[0] in one_vector)
    ]


def alarm_lines(alarms: list[dict[str, str]], width: int | None) -> list[Text]:
    """The alarms, one a paragraph."""
    if not alarms:
        return []
    lines = heading("Alarms", width)
    for alarm in alarms:
        text = f"{shown(alarm['code'])}: {one_line(alarm['message'])}"
        lines.extend(paragraph(text, width, style="yellow", indent=2, first="! "))
    return lines


def class_lines(document: dict[str, Any], width: int | None, most: int = 5) -> list[Text]:
    """The classes that keep the fewest neighbours."""
    rows = [row for row in document["details"].get("per_class") or [] if row.get("overlap") is not None]
    if len({number(row["overlap"]) for row in rows}) < 2:  # none is worse than another
        return []
    rows = sorted(rows, key=lambda row: row["overlap"])[:most]
    clusters = document["settings"].get("classes") == "k-means"
    kind = "cluster" if clusters else "class"
    cells = [[kind, "rows", "overlap", "95% interval", "agreement"]]
    cells += [
        [
            shown(row["class"], 24),
            f"{row['n']:,}",
            number(row["overlap"]),
            interval(row.get("low"), row.get("high")),
            number(row.get(KNN_AGREEMENT.detail)),
        ]
        for row in rows
    ]
    title = "Worst clusters (k-means of the teacher stands in for labels)" if clusters else "Worst classes"
    return [*heading(title, width), *table(cells, width)]


def step_lines(steps: list[str], width: int | None) -> list[Text]:
    """What to do next, as a numbered list."""
    if not steps:
        return []
    lines = heading("What to do next", width)
    for place, step in enumerate(steps, start=1):
        lines.extend(paragraph(step, width, indent=len(f"{place}. "), first=f"{place}. "))
    return lines


def size(document: dict[str, Any], side: str, named: bool = True) -> str:
    """ "t.pt (10,000 x 512 float32)"."""
    space = document["inputs"][side]
    name = teacher_name(document) if side == "teacher" else student_name(document)
    rows, dimensions = space["shape"]
    return f"{name + ' ' if named and name != side else ''}({rows:,} x {dimensions:,} {space['dtype']})"
