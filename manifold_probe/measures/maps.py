"""Two linked maps, an illustration in addition to the measures: UMAP layouts of teacher and student on the same sampled
rows.

The student's layout starts from the teacher's, so that what stayed in place stays in place for the eye. A map shows
groups and tears; distances on it, sizes of groups and empty space mean nothing, and no measure is read off it.
(McInnes, Healy, Melville 2018, arXiv:1802.03426.)
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.linalg import orthogonal_procrustes

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.neighbours import Neighbours
from manifold_probe.engine.rows import MAPPING, sample
from manifold_probe.measures import overlap
from manifold_probe.measures.sides import Side, Teacher
from manifold_probe.spaces.pairing import Pair

MAP_ROWS = 2_000
FEWEST = 10
NEIGHBOURS = 15
LISTED = 20  # neighbours of a drawn row that are placed on its maps, the nearest first
AT_ONCE = 4_096  # rows that are placed together
# From a start, groups that stayed what they were should not drift: with UMAP's own 500 steps of full size a teacher
# and its copy (160 rows, four groups) ended at a Procrustes disparity of 0.57, with these at 0.16, unrelated at 0.98.
FROM_START = {"n_epochs": 100, "learning_rate": 0.25}
DIGITS = 3


def map_rows(queries: np.ndarray, seed: int) -> np.ndarray:
    """Positions among the queries (m,) of the rows that are drawn: at most 2,000, the same for every student."""
    return sample(len(queries), MAP_ROWS, seed, MAPPING)


def layout(cloud: Cloud, rows: np.ndarray, seed: int, start: np.ndarray | None = None) -> np.ndarray:
    """UMAP of some rows by angle, (m, 2), from ``start`` (m, 2) where given; the same on every run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of duplicates and graphs in parts, which a map may well show
        from umap import UMAP  # importing it takes seconds

        points = cloud.points(cloud.space.take(rows), "cosine").astype(np.float32)
        begin = {"init": "spectral"} if start is None else {"init": start, **FROM_START}
        mapper = UMAP(n_neighbors=min(NEIGHBOURS, len(rows) - 1), random_state=seed % 2**31, n_jobs=1, **begin)
        found = np.asarray(mapper.fit_transform(points), dtype=np.float64)
    return found if start is None else _onto(found, start)


def _onto(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """A layout (m, 2) turned, resized and moved to lie as close as it can to another: UMAP leaves these open."""
    here, there = moving - moving.mean(0), fixed - fixed.mean(0)
    turn, reach = orthogonal_procrustes(here, there)
    return here @ turn * (reach / max((here**2).sum(), 1e-12)) + fixed.mean(0)


def linked_maps(
    teacher: Teacher,
    side: Side,
    teacher_layout: np.ndarray,
    student: Side,
    student_cloud: Cloud,
    student_layout: np.ndarray,
    pair: Pair,
    seed: int,
) -> dict[str, Any]:
    """Coordinates of both maps with what colours them, each row's class, by its place in ``classes``, and overlap, and
    with each row's neighbours (`placed_neighbours`)."""
    asked = map_rows(teacher.queries, seed)
    rows = teacher.queries[asked]
    codes, names = teacher.codes[rows], teacher.class_names.tolist()
    if (codes < 0).any():
        codes, names = np.where(codes < 0, len(names), codes), [*names, "(no label)"]
    here, there = side.only(asked).cosine, student.only(asked).cosine
    kept = overlap.intersections(here, there) / side.k
    return {
        "rows": rows.tolist(),
        "ids": None if pair.ids is None else pair.ids[rows].tolist(),
        "classes": names,
        "class": codes.tolist(),
        "overlap": np.round(kept, DIGITS).tolist(),
        "teacher": np.round(teacher_layout, DIGITS).tolist(),
        "student": np.round(student_layout, DIGITS).tolist(),
        "neighbours": placed_neighbours(rows, here, there, (teacher.cloud, student_cloud)),
        "method": {"name": "UMAP", "metric": "cosine", "neighbours": min(NEIGHBOURS, len(rows) - 1), "seed": seed},
    }


def placed_neighbours(
    rows: np.ndarray, teacher: Neighbours, student: Neighbours, clouds: tuple[Cloud, Cloud]
) -> dict[str, list[list[int]]]:
    """Where the neighbours of each drawn row stand on the two maps: those in both spaces (``kept``), in the teacher
    alone (``lost``) and in the student alone (``gained``), at most the 20 nearest of each space, from all rows.

    Each list holds two numbers a neighbour: its place among ``rows`` (m,) on the teacher's and on the student's map. A
    neighbour that was not drawn stands at the drawn row nearest to it in that space: place p is then written as -1 - p.
    """
    k = teacher.k
    before, after = teacher.members[:, :k], student.members[:, :k]
    same = (before[:, :, None] == after[:, None, :]) & (before >= 0)[:, :, None]
    held = {"kept": (before, same.any(2)), "lost": (before, ~same.any(2)), "gained": (after, ~same.any(1))}
    listed = {kind: np.where(mask & (members >= 0), members, -1)[:, :LISTED] for kind, (members, mask) in held.items()}
    named = np.unique(np.concatenate([members[members >= 0] for members in listed.values()]))
    places = np.stack([_places(named, rows, cloud) for cloud in clouds], axis=1)
    return {
        kind: [places[np.searchsorted(named, row[row >= 0])].ravel().tolist() for row in members]
        for kind, members in listed.items()
    }


def _places(named: np.ndarray, rows: np.ndarray, cloud: Cloud) -> np.ndarray:
    """The place among ``rows`` (m,) of each named row, or -1 - p where it is not among them and p is the nearest by
    angle."""
    order = np.argsort(rows, kind="stable")
    found = order[np.minimum(np.searchsorted(rows, named, sorter=order), len(rows) - 1)]
    absent = np.flatnonzero(rows[found] != named)
    drawn = cloud.points(cloud.space.take(rows), "cosine").astype(np.float32)
    half = (drawn**2).sum(1) / 2
    for start in range(0, len(absent), AT_ONCE):
        some = absent[start : start + AT_ONCE]
        points = cloud.points(cloud.space.take(named[some]), "cosine").astype(np.float32)
        found[some] = -1 - (points @ drawn.T - half).argmax(1)
    return found
