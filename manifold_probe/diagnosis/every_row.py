"""Every row of a pair: the neighbours it kept, its class in both spaces, and the ranks of its lost neighbours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.inputs import codes_of
from manifold_probe.engine.neighbours import Neighbours, search
from manifold_probe.engine.ranks import places
from manifold_probe.engine.rows import sample
from manifold_probe.engine.threads import threads
from manifold_probe.measures.catalogue import OVERLAP
from manifold_probe.measures.classes import predictions
from manifold_probe.measures.overlap import intersections
from manifold_probe.parts import Progress
from manifold_probe.spaces.labels import plain_labels
from manifold_probe.spaces.pairing import Pair

MAX_ROWS = 20_000  # of more rows a sample is drawn


def row_table(pair: Pair, k: int, seed: int, progress: Progress | None = None) -> dict[str, Any]:
    """The rows, worst first, as columns: ``row``, ``id``, ``label``, ``overlap@k``, ``teacher_vote``, ``student_vote``,
    ``lost_neighbours`` and ``lost_ranks`` (nearest first, a list a row). Of more than 20,000 rows a sample of that size
    is drawn; neighbours are searched among all rows.

    The k nearest other rows (cosine) with a label vote; a vote is null where none has a label. A rank is 1 for the
    nearest row in the student.
    """
    n = pair.teacher.n
    queries = sample(n, MAX_ROWS, seed)
    clouds = [Cloud(space) for space in (pair.teacher, pair.student)]
    read = 0

    def advance(rows: int) -> None:
        nonlocal read
        read += rows
        if progress is not None:
            progress("every row", read, 3 * n)

    with threads() as parallel:
        near, in_student = (search(cloud, queries, k, {"cosine": k}, parallel, advance)["cosine"] for cloud in clouds)
        nearer, _ = places(clouds[1], queries, near.members, "cosine", parallel, advance)
    kept = intersections(near, in_student) / k
    lost = (near.members >= 0) & (near.weights > 0) & (nearer >= k)
    order = np.argsort(kept, kind="stable")
    table: dict[str, Any] = {"row": queries[order].tolist()}
    table["id"] = _taken(pair.ids, queries[order])
    labels = None if pair.labels is None else plain_labels(np.asarray(pair.labels)[queries[order]])
    table["label"] = labels or [None] * len(order)
    table[OVERLAP.named(k)] = kept[order].tolist()
    table |= _votes(pair, near, in_student, order)
    names = np.arange(n) if pair.ids is None else np.asarray(pair.ids)
    table["lost_neighbours"] = [names[near.members[row][lost[row]]].tolist() for row in order]
    table["lost_ranks"] = [(nearer[row][lost[row]] + 1).tolist() for row in order]
    return table


def _taken(column: np.ndarray | None, rows: np.ndarray) -> list[Any]:
    return [None] * len(rows) if column is None else np.asarray(column)[rows].tolist()


def _votes(pair: Pair, near: Any, in_student: Any, order: np.ndarray) -> dict[str, list[Any]]:
    if pair.labels is None:
        return {f"{side}_vote": [None] * len(order) for side in ("teacher", "student")}
    codes, names = codes_of(np.asarray(pair.labels))
    return {
        f"{side}_vote": _voted(neighbours, codes, names, order)
        for side, neighbours in (("teacher", near), ("student", in_student))
    }


def _voted(neighbours: Neighbours, codes: np.ndarray, names: np.ndarray, order: np.ndarray) -> list[Any]:
    voting = neighbours.weights * ((neighbours.members >= 0) & (codes[neighbours.members] >= 0))
    votes = names[predictions(replace(neighbours, weights=voting), codes)[order]].tolist()
    return [vote if labelled else None for vote, labelled in zip(votes, voting[order].any(1).tolist(), strict=True)]
