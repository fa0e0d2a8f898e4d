"""A row of the table for every row of the pair: what it kept, how both spaces would classify it, and how far away its
lost neighbours are now. Worst first."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.inputs import codes_of
from manifold_probe.engine.neighbours import Neighbours, search
from manifold_probe.engine.ranks import places
from manifold_probe.engine.rows import sample
from manifold_probe.engine.threads import threads
from manifold_probe.errors import InputError
from manifold_probe.files import write_whole
from manifold_probe.measures.catalogue import OVERLAP
from manifold_probe.measures.classes import predictions
from manifold_probe.measures.overlap import intersections
from manifold_probe.parts import Progress
from manifold_probe.report.tables.write import csv_cell
from manifold_probe.spaces.labels import plain_labels
from manifold_probe.spaces.pairing import Pair

MOST = 20_000  # rows up to which every one is looked at
SUFFIXES = (".parquet", ".csv")


def row_table(pair: Pair, k: int, seed: int, progress: Progress | None = None) -> dict[str, Any]:
    """Columns ``row``, ``id``, ``label``, ``overlap@k``, ``teacher_vote``, ``student_vote``, ``lost_neighbours`` and
    ``lost_ranks`` (nearest first, a list a row); of more than 20,000 rows that many are drawn, their neighbours not.

    Votes are by those of the k nearest others (cosine) that have a label, and null where none has; a rank is 1
    for the nearest row in the student.
    """
    n = pair.teacher.n
    queries = sample(n, MOST, seed)
    clouds = [Cloud(space) for space in (pair.teacher, pair.student)]
    read = 0

    def advance(rows: int) -> None:
        nonlocal read
        read += rows
        if progress is not None:
            progress("every row", read, 3 * n)

    with threads() as each:
        near, own = (search(cloud, queries, k, {"cosine": k}, each, advance)["cosine"] for cloud in clouds)
        nearer, _ = places(clouds[1], queries, near.members, "cosine", each, advance)
    kept = intersections(near, own) / k
    lost = (near.members >= 0) & (near.weights > 0) & (nearer >= k)
    order = np.argsort(kept, kind="stable")
    table: dict[str, Any] = {"row": queries[order].tolist()}
    table["id"] = _taken(pair.ids, queries[order])
    labels = None if pair.labels is None else plain_labels(np.asarray(pair.labels)[queries[order]])
    table["label"] = labels or [None] * len(order)
    table[OVERLAP.named(k)] = kept[order].tolist()
    table |= _votes(pair, near, own, order)
    names = np.arange(n) if pair.ids is None else np.asarray(pair.ids)
    table["lost_neighbours"] = [names[near.members[row][lost[row]]].tolist() for row in order]
    table["lost_ranks"] = [(nearer[row][lost[row]] + 1).tolist() for row in order]
    return table


def check_rows(path: str, option: str = "--rows") -> None:
    """Refuse a name that says neither Parquet nor CSV. Raises InputError naming the option."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"{option}: {path}: rows are written as .parquet or .csv; choose such a name")


def write_rows(table: dict[str, Any], path: str | Path) -> None:
    """Write the table, whole or not at all: lists as lists in Parquet, joined by ";" in CSV.

    Raises
    ------
    InputError
        For another suffix, or a place that cannot be written to.
    """
    check_rows(str(path), "rows")
    write_whole(path, _parquet(table) if Path(path).suffix.lower() == ".parquet" else _csv(table))


def check_order(path: str, option: str = "--save-order") -> None:
    """Refuse a name that says neither CSV nor plain text. Raises InputError naming the option."""
    if Path(path).suffix.lower() not in (".csv", ".txt"):
        raise InputError(f"{option}: {path}: orders are written as .csv or .txt; choose such a name")


def write_order(teacher_ids: np.ndarray, student_ids: np.ndarray, path: str | Path) -> None:
    """Write the ids (n,) that pair two files, whole or not at all: two columns in CSV, the student's alone in .txt.

    Raises
    ------
    InputError
        For another suffix, or a place that cannot be written to.
    """
    check_order(str(path), "order")
    lines = student_ids.tolist()
    if Path(path).suffix.lower() == ".csv":
        lines = ["teacher,student", *map(",".join, zip(teacher_ids.tolist(), lines, strict=True))]
    write_whole(path, "".join(f"{line}\n" for line in lines))


def _taken(column: np.ndarray | None, rows: np.ndarray) -> list[Any]:
    return [None] * len(rows) if column is None else np.asarray(column)[rows].tolist()


def _votes(pair: Pair, near: Any, own: Any, order: np.ndarray) -> dict[str, list[Any]]:
    if pair.labels is None:
        return {f"{side}_vote": [None] * len(order) for side in ("teacher", "student")}
    codes, names = codes_of(np.asarray(pair.labels))
    return {f"{side}_vote": _voted(found, codes, names, order) for side, found in (("teacher", near), ("student", own))}


def _voted(found: Neighbours, codes: np.ndarray, names: np.ndarray, order: np.ndarray) -> list[Any]:
    voting = found.weights * ((found.members >= 0) & (codes[found.members] >= 0))
    votes = names[predictions(replace(found, weights=voting), codes)[order]].tolist()
    return [vote if known else None for vote, known in zip(votes, voting[order].any(1).tolist(), strict=True)]


def _csv(table: dict[str, Any]) -> str:
    lines = [list(table), *zip(*table.values(), strict=True)]
    return "".join(",".join(csv_cell(_joined(cell)) for cell in line) + "\n" for line in lines)


def _joined(cell: Any) -> Any:
    return ";".join(map(str, cell)) if isinstance(cell, list) else cell


def _parquet(table: dict[str, Any]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pa.table({name: pa.array(column) for name, column in table.items()}), out)
    return out.getvalue()
