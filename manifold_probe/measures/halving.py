"""Half-splits: what the neighbour measures do between two random halves of the rows.

Within each half every query takes its first k neighbours that lie in its half, from lists a little over 3k deep, so no
new search is needed; the halves' values differ by what sampling does.

Halves tell how far queries depend on each other, but each has half the rows and so another spread of its queries'
terms. A difference of means is therefore taken in units of that spread and given the spread that the whole has.

The skewness of k-occurrences is decided by few hubs where it is large, and a half holds such a hub or not: there halves
find .6 to .75 of the error (n = 200 and 400, an offset of five deviations), the grouped jackknife .97 to 1.05. Below,
it is the jackknife that is wrong (1.5 to 2.4 times), so it is used for a skewness above 1 only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifold_probe.engine.rows import HALVING, generator, random_groups
from manifold_probe.measures import classes, geometry, overlap
from manifold_probe.measures.sides import Side, half_depth
from manifold_probe.measures.uncertainty import Estimate, half_splits, jackknife

SPLITS = 40
HUBBY = 1.0
METRICS = ("cosine", "euclidean")


@dataclass(frozen=True)
class Lists:
    """Both sides' neighbour lists (q, depth), and the flat places where a row stands in both, with its query."""

    teacher: dict[str, np.ndarray]
    student: dict[str, np.ndarray]
    shared: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]


def half_differences(
    teacher: Side, student: Side, codes: np.ndarray | None, spreads: dict[str, float], seed: int
) -> dict[str, np.ndarray]:
    """For each measure the difference (SPLITS,) between the two halves of random halvings of the rows.

    Without ``codes`` (n,) there are no class measures. ``spreads``: the standard deviation over queries of the terms of
    each measure that is a mean.
    """
    n, depth = teacher.n, min(teacher.n - 1, half_depth(teacher.k))
    first, second = ({m: getattr(side, m).deep[:, :depth] for m in METRICS} for side in (teacher, student))
    lists = Lists(first, second, {m: overlap.shared(first[m], second[m], n) for m in METRICS})
    rng = generator(seed, HALVING)
    differences: dict[str, list[float]] = {}
    for _ in range(SPLITS):
        half = np.zeros(n, dtype=bool)
        half[rng.permutation(n)[: n // 2]] = True
        one, other = _halves(teacher, student, lists, codes, half, spreads)
        for key, value in one.items():
            differences.setdefault(key, []).append(value - other[key])
    return {key: np.array(row) for key, row in differences.items()}


def _halves(
    teacher: Side,
    student: Side,
    lists: Lists,
    codes: np.ndarray | None,
    half: np.ndarray,
    spreads: dict[str, float],
) -> list[dict[str, float]]:
    """Every measure within the half and within the rest; means at the spread of the whole."""
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
    at_whole = {key: _ratio(spreads[key], float(term.std())) for key, term in terms.items()}
    found = []
    for rows, part in ((half, inside), (~half, ~inside)):
        values = {key: float(term[part].mean()) * at_whole[key] for key, term in terms.items()}
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


def _ratio(whole: float, half: float) -> float:
    """The spread of the whole over that of the halves, within a factor of two: terms that happen to be equal tell
    little."""
    return float(np.clip(whole / half, 0.5, 2.0)) if half > 0 else 1.0


def hub_errors(side: Side, value: float, differences: np.ndarray, seed: int) -> Estimate:
    """The skewness of k-occurrences with its interval: from halves, and from a jackknife where hubs decide it."""
    estimate = half_splits(value, differences)
    if not value > HUBBY:
        return estimate
    deep, k = side.cosine.deep, side.k
    groups, count = random_groups(side.n, seed)
    left_out = []
    for group in range(count):
        kept = groups != group
        asked = np.flatnonzero(kept[side.queries])
        rows = deep[asked]
        near = rows[_first_in_half(rows, kept, kept[side.queries[asked]], k)]
        left_out.append(geometry.skewness(np.bincount(near, minlength=side.n)[kept], len(asked)))
    other = jackknife(value, np.array(left_out))
    return max(estimate, other, key=lambda each: each.standard_error or 0.0)


def _first_in_half(rows: np.ndarray, half: np.ndarray, inside: np.ndarray, k: int) -> np.ndarray:
    """Mask (q, depth) of each query's first k neighbours that lie in its half."""
    same = half[rows] == inside[:, None]
    return same & (np.cumsum(same, axis=1, dtype=np.int16) <= k)
