"""Half-splits: what the neighbour measures do between two random halves of the rows.

Within each half every query takes its first k neighbours that lie in its half, from lists about 6k deep, so no new
search is needed; the halves' values differ by what sampling does.
"""

from __future__ import annotations

import numpy as np

from manifold_probe.measures import classes, geometry, overlap
from manifold_probe.measures.rows import HALVING, generator
from manifold_probe.measures.sides import DEPTH, Side

SPLITS = 40


def half_differences(teacher: Side, student: Side, codes: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """For each measure the difference (SPLITS,) between the two halves of random halvings of the rows."""
    n, k, queries = teacher.n, teacher.k, teacher.queries
    depth = min(n - 1, DEPTH * k)
    lists = {
        (side, metric): getattr(owner, metric).deep[:, :depth]
        for side, owner in (("teacher", teacher), ("student", student))
        for metric in ("cosine", "euclidean")
    }
    where = {m: overlap.positions(lists["teacher", m], lists["student", m], n) for m in ("cosine", "euclidean")}
    rng = generator(seed, HALVING)
    differences: dict[str, list[float]] = {}
    for _ in range(SPLITS):
        half = np.zeros(n, dtype=bool)
        half[rng.permutation(n)[: n // 2]] = True
        inside = half[queries]
        chosen = {key: _first_in_half(rows, half, inside, k) for key, rows in lists.items()}
        terms = _half_terms(chosen, lists, where, codes, queries, k)
        pair = [
            _half_values(part, half == side, chosen, lists, terms, teacher, student)
            for side, part in ((True, inside), (False, ~inside))
        ]
        for key, value in pair[0].items():
            differences.setdefault(key, []).append(value - pair[1][key])
    return {key: np.array(row) for key, row in differences.items()}


def _first_in_half(rows: np.ndarray, half: np.ndarray, inside: np.ndarray, k: int) -> np.ndarray:
    """Mask (q, depth) of each query's first k neighbours that lie in its half."""
    same = half[rows] == inside[:, None]
    return same & (np.cumsum(same, axis=1, dtype=np.int16) <= k)


def _half_terms(chosen, lists, where, codes, queries, k) -> dict[str, np.ndarray]:  # type: ignore[no-untyped-def]
    """Per-query terms (q,) within the halves."""
    common = {}
    for metric in ("cosine", "euclidean"):
        padded = np.pad(chosen["student", metric], ((0, 0), (0, 1)))
        both = chosen["teacher", metric] & np.take_along_axis(padded, where[metric], axis=1)
        common[metric] = both.sum(1)
    count = int(codes.max()) + 1
    first, second = (
        classes.majority(codes[lists[side, "cosine"]], chosen[side, "cosine"].astype(float), count)
        for side in ("teacher", "student")
    )
    own = codes[queries]
    return {
        "overlap": common["cosine"] / k,
        "overlap:euclidean": common["euclidean"] / k,
        "jaccard": common["cosine"] / (2 * k - common["cosine"]),
        "knn_agreement": first == second,
        "knn_accuracy_teacher": first == own,
        "knn_accuracy_student": second == own,
        "first": first,
        "second": second,
    }


def _half_values(part, half, chosen, lists, terms, teacher, student) -> dict[str, float]:  # type: ignore[no-untyped-def]
    """Every measure within one half."""
    size, asked = int(half.sum()), int(part.sum())
    values = {key: float(term[part].mean()) for key, term in terms.items() if key not in ("first", "second")}
    values["knn_kappa"] = classes.kappa(terms["first"][part], terms["second"][part])
    for name, side in (("teacher", teacher), ("student", student)):
        mask = chosen[name, "cosine"][part]
        members = np.where(mask, lists[name, "cosine"][part], -1)
        renumbered = np.where(mask, (np.cumsum(half) - 1)[members], -1)
        values[f"hubness_{name}"] = geometry.skewness(renumbered, mask.astype(float), size, asked)
        distances = side.euclidean.distances[part]
        near = chosen[name, "euclidean"][part][:, : distances.shape[1]]
        values[f"intrinsic_dimension_{name}"] = geometry.twonn(np.where(near, distances[:, : near.shape[1]], 0.0))
    return values
