"""Half-splits: what the neighbour measures do between two random halves of the rows.

Within each half every query takes its first k neighbours that lie in its half, from lists a little over 3k deep, so no
new search is needed; the halves' values differ by what sampling does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifold_probe.measures import classes, geometry, overlap
from manifold_probe.measures.rows import HALVING, generator
from manifold_probe.measures.sides import Side, half_depth

SPLITS = 40
METRICS = ("cosine", "euclidean")


@dataclass(frozen=True)
class Lists:
    """Both sides' neighbour lists (q, depth), and the flat places where a row stands in both, with its query."""

    teacher: dict[str, np.ndarray]
    student: dict[str, np.ndarray]
    shared: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]


def half_differences(teacher: Side, student: Side, codes: np.ndarray | None, seed: int) -> dict[str, np.ndarray]:
    """For each measure the difference (SPLITS,) between the two halves of random halvings of the rows.

    Without ``codes`` (n,) there are no class measures.
    """
    n, depth = teacher.n, min(teacher.n - 1, half_depth(teacher.k))
    first, second = ({m: getattr(side, m).deep[:, :depth] for m in METRICS} for side in (teacher, student))
    lists = Lists(first, second, {m: overlap.shared(first[m], second[m], n) for m in METRICS})
    rng = generator(seed, HALVING)
    differences: dict[str, list[float]] = {}
    for _ in range(SPLITS):
        half = np.zeros(n, dtype=bool)
        half[rng.permutation(n)[: n // 2]] = True
        one, other = _halves(teacher, student, lists, codes, half)
        for key, value in one.items():
            differences.setdefault(key, []).append(value - other[key])
    return {key: np.array(row) for key, row in differences.items()}


def _halves(
    teacher: Side, student: Side, lists: Lists, codes: np.ndarray | None, half: np.ndarray
) -> list[dict[str, float]]:
    """Every measure within the half and within the rest."""
    k, queries = teacher.k, teacher.queries
    inside = half[queries]
    masks = {
        name: {m: _first_in_half(rows[m], half, inside, k) for m in METRICS}
        for name, rows in (("teacher", lists.teacher), ("student", lists.student))
    }
    common = {}
    for m, (query, here, there) in lists.shared.items():
        both = masks["teacher"][m].ravel()[here] & masks["student"][m].ravel()[there]
        common[m] = np.bincount(query[both], minlength=len(queries))
    votes = {}
    for name, owned in (("teacher", lists.teacher), ("student", lists.student)):
        query, place = np.nonzero(masks[name]["cosine"])
        votes[name] = (query, owned["cosine"][query, place])
    terms = {
        "overlap": common["cosine"] / k,
        "overlap:euclidean": common["euclidean"] / k,
        "jaccard": common["cosine"] / (2 * k - common["cosine"]),
    }
    if codes is not None:
        count = int(codes.max()) + 1
        first, second = (
            classes.majority(query, codes[near], None, len(queries), count) for query, near in votes.values()
        )
        terms |= classes.class_terms(first, second, codes[queries])
    found = []
    for rows, part in ((half, inside), (~half, ~inside)):
        values = {key: float(term[part].mean()) for key, term in terms.items()}
        if codes is not None:
            values["knn_kappa"] = classes.kappa(first[part], second[part])
        for name, side in (("teacher", teacher), ("student", student)):
            query, neighbours = votes[name]
            counts = np.bincount(neighbours[part[query]], minlength=len(half))[rows]
            values[f"hubness_{name}"] = geometry.skewness(counts, int(part.sum()))
            distances = side.euclidean.distances[part]
            near = masks[name]["euclidean"][part][:, : distances.shape[1]]
            nearest = np.where(near, distances[:, : near.shape[1]], 0.0)
            values[f"intrinsic_dimension_{name}"] = geometry.twonn(nearest)
        found.append(values)
    return found


def _first_in_half(rows: np.ndarray, half: np.ndarray, inside: np.ndarray, k: int) -> np.ndarray:
    """Mask (q, depth) of each query's first k neighbours that lie in its half."""
    same = half[rows] == inside[:, None]
    return same & (np.cumsum(same, axis=1, dtype=np.int16) <= k)
