"""Two linked maps, an illustration in addition to the measures: UMAP layouts of teacher and student on the same sampled
rows.

The student's layout starts from the teacher's, so that rows whose neighbours did not change stay in place. A map shows
groups and tears; distances on it, sizes of groups and empty space mean nothing, and no measure is computed from it.
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
MIN_MAP_ROWS = 10
UMAP_NEIGHBOURS = 15  # UMAP's default
LISTED_NEIGHBOURS = 20  # of a drawn row, the nearest first, whose places on the maps are stored
BLOCK_ROWS = 4_096  # rows that are placed together
# From a start, groups that did not change should not drift: with UMAP's default, 500 steps of full size, a teacher
# and its copy (160 rows, four groups) ended at a Procrustes disparity of 0.57, with these at 0.16, unrelated at 0.98.
FROM_START = {"n_epochs": 100, "learning_rate": 0.25}
DIGITS = 3


def map_rows(queries: np.ndarray, seed: int) -> np.ndarray:
    """Positions among the queries (m,) of the rows that are drawn: at most 2,000, the same for every student."""
    return sample(len(queries), MAP_ROWS, seed, MAPPING)


def layout(cloud: Cloud, rows: np.ndarray, seed: int, start: np.ndarray | None = None) -> np.ndarray:
    """UMAP of some rows by angle, (m, 2), from ``start`` (m, 2) where given; the same on every run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about duplicates and disconnected graphs, which a map may show
        from umap import UMAP  # importing it takes seconds

        points = cloud.points(cloud.space.take(rows), "cosine").astype(np.float32)
        begin = {"init": "spectral"} if start is None else {"init": start, **FROM_START}
        mapper = UMAP(n_neighbors=min(UMAP_NEIGHBOURS, len(rows) - 1), random_state=seed % 2**31, n_jobs=1, **begin)
        points_2d = np.asarray(mapper.fit_transform(points), dtype=np.float64)
    return points_2d if start is None else _onto(points_2d, start)


def _onto(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """A layout (m, 2) rotated, scaled and moved to lie closest to another: UMAP does not determine these."""
    centred, target = moving - moving.mean(0), fixed - fixed.mean(0)
    turn, reach = orthogonal_procrustes(centred, target)
    return centred @ turn * (reach / max((centred**2).sum(), 1e-12)) + fixed.mean(0)


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
    """Coordinates of both maps, with each row's class (its place in ``classes``), its overlap, and its neighbours
    (`placed_neighbours`)."""
    positions = map_rows(teacher.queries, seed)
    rows = teacher.queries[positions]
    codes, names = teacher.codes[rows], teacher.class_names.tolist()
    if (codes < 0).any():
        codes, names = np.where(codes < 0, len(names), codes), [*names, "(no label)"]
    in_teacher, in_student = side.only(positions).cosine, student.only(positions).cosine
    kept = overlap.intersections(in_teacher, in_student) / side.k
    return {
        "rows": rows.tolist(),
        "ids": None if pair.ids is None else pair.ids[rows].tolist(),
        "classes": names,
        "class": codes.tolist(),
        "overlap": np.round(kept, DIGITS).tolist(),
        "teacher": np.round(teacher_layout, DIGITS).tolist(),
        "student": np.round(student_layout, DIGITS).tolist(),
        "neighbours": placed_neighbours(rows, in_teacher, in_student, (teacher.cloud, student_cloud)),
        "method": {"name": "UMAP", "metric": "cosine", "neighbours": min(UMAP_NEIGHBOURS, len(rows) - 1), "seed": seed},
    }


def placed_neighbours(
    rows: np.ndarray, teacher: Neighbours, student: Neighbours, clouds: tuple[Cloud, Cloud]
) -> dict[str, list[list[int]]]:
    """Places on the two maps of the neighbours of each drawn row: those in both spaces (``kept``), in the teacher
    alone (``lost``) and in the student alone (``gained``), at most the 20 nearest of each space, from all rows.

    Each list holds two numbers a neighbour: its place among ``rows`` (m,) on the teacher's and on the student's map. A
    neighbour that was not drawn is placed at the drawn row nearest to it in that space, p, written as -1 - p.
    """
    k = teacher.k
    before, after = teacher.members[:, :k], student.members[:, :k]
    same = (before[:, :, None] == after[:, None, :]) & (before >= 0)[:, :, None]
    kinds = {"kept": (before, same.any(2)), "lost": (before, ~same.any(2)), "gained": (after, ~same.any(1))}
    listed = {
        kind: np.where(mask & (members >= 0), members, -1)[:, :LISTED_NEIGHBOURS]
        for kind, (members, mask) in kinds.items()
    }
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
    places = order[np.minimum(np.searchsorted(rows, named, sorter=order), len(rows) - 1)]
    absent = np.flatnonzero(rows[places] != named)
    drawn = cloud.points(cloud.space.take(rows), "cosine").astype(np.float32)
    half = (drawn**2).sum(1) / 2
    for start in range(0, len(absent), BLOCK_ROWS):
        batch = absent[start : start + BLOCK_ROWS]
        points = cloud.points(cloud.space.take(named[batch]), "cosine").astype(np.float32)
        places[batch] = -1 - (points @ drawn.T - half).argmax(1)
    return places
