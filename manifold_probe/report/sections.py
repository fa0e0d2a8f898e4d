"""Parts that every report has: what was compared, alarms, worst classes, next steps."""

from __future__ import annotations

from typing import Any

from manifold_probe.measures.catalogue import KNN_AGREEMENT, OVERLAP
from manifold_probe.report.blocks import Items, Picture, Row, Section, Sentence, Table
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
CLASSES = 5  # are shown


def compared(document: dict[str, Any]) -> list[Sentence]:
    """What was compared, how the rows were paired, how many there were."""
    return [
        Sentence(f"teacher {size(document, 'teacher')}; student {size(document, 'student')}."),
        Sentence(pairing(document)),
        Sentence(columns_left(document["inputs"])),
    ]


def pairing(document: dict[str, Any]) -> str:
    """How the rows were paired and how many queries the neighbour measures are from."""
    how, k = document["pairing"], document["settings"]["k"]
    queries = (document["measures"].get(OVERLAP.named(k)) or {}).get("n")
    known = "" if queries is None else f": neighbours of {queries:,} query rows among all {how['rows']:,}"
    return f"{paired_rows(how)}. k = {k}{known}."


def size(document: dict[str, Any], side: str, named: bool = True) -> str:
    """ "t.pt (10,000 x 512 float32)"."""
    space = document["inputs"][side]
    name = teacher_name(document) if side == "teacher" else student_name(document)
    rows, dimensions = space["shape"]
    return f"{name + ' ' if named and name != side else ''}({rows:,} x {dimensions:,} {space['dtype']})"


def told(alarms: list[dict[str, str]]) -> list[dict[str, str]]:
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


def worst_classes(document: dict[str, Any]) -> Section:
    """The classes that keep the fewest neighbours, where some keep fewer than others."""
    rows = [row for row in document["details"].get("per_class") or [] if row.get("overlap") is not None]
    kind, title = classes_called(document)
    if len({number(row["overlap"]) for row in rows}) < 2:
        return Section(title, [])
    cells = [
        (
            shown(row["class"], 24),
            f"{row['n']:,}",
            number(row["overlap"]),
            interval(row.get("low"), row.get("high")),
            number(row.get(KNN_AGREEMENT.detail)),
        )
        for row in sorted(rows, key=lambda row: row["overlap"])[:CLASSES]
    ]
    header = (kind, "rows", "overlap", "95% interval", "agreement")
    return Section(title, [Table(header, [Row(each) for each in cells])], folded=True)


def classes_called(document: dict[str, Any]) -> tuple[str, str]:
    """What a class is called, and the title of the worst ones."""
    if document["settings"].get("classes") == "k-means":
        return "cluster", "Worst clusters (k-means of the teacher stands in for labels)"
    return "class", "Worst classes"


def next_to_do(steps: list[str]) -> Section:
    """What to do next."""
    return Section("What to do next", [Items(steps, "1")] if steps else [])


def picture(document: dict[str, Any]) -> Picture:
    """The main measures as a picture."""
    from manifold_probe.report import figures

    return Picture("The main measures with their intervals", lambda: figures.picture(document))
