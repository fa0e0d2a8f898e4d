"""All measures that need only neighbour lists, with half-split or per-query intervals.

Queries share neighbours, so a per-query standard error is too small where most rows are queries; there random halves of
the rows are compared (see halving.py): SE = sqrt(mean (a - b)^2) / 2. Where at most a quarter of the rows are queries
the per-query error is right and is used. Rows are never resampled: copies would be false neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifold_probe.engine.neighbours import Neighbours
from manifold_probe.engine.rows import random_groups, sample
from manifold_probe.measures import classes, geometry, overlap
from manifold_probe.measures.catalogue import AT_MOST_ONE, UNIT
from manifold_probe.measures.class_measures import class_chance, measure_classes, moved_note
from manifold_probe.measures.from_moments import defined
from manifold_probe.measures.halving import half_differences, hub_errors
from manifold_probe.measures.results import Measure
from manifold_probe.measures.sides import Settings, Side, Teacher
from manifold_probe.measures.uncertainty import Estimate, error_of_share, half_splits, jackknife, over_queries

SPARSE_QUERIES = 0.25
FEWEST_HUB_QUERIES, LEAST_HUB_SHARE = 500, 0.05
ALL_RANKS = 5_000
RANK_QUERIES = 1_000


def per_query(teacher: Side, student: Side, codes: np.ndarray | None) -> dict[str, np.ndarray]:
    """The terms (q,) whose means are the measures, by key without the k; without ``codes`` no class measures."""
    k = teacher.k
    common = overlap.intersections(teacher.cosine, student.cosine)
    found = {
        "overlap": common / k,
        "overlap:euclidean": overlap.intersections(teacher.euclidean, student.euclidean) / k,
        "jaccard": common / (2 * k - common),
    }
    if codes is None:
        return found
    terms = classes.class_terms(_predicted(teacher, codes), _predicted(student, codes), codes[teacher.queries])
    return found | {key: term.astype(float) for key, term in terms.items()}


def values(teacher: Side, student: Side, codes: np.ndarray | None) -> dict[str, float]:
    """Every neighbour measure by key without the k, and without an interval."""
    found = {key: float(term.mean()) for key, term in per_query(teacher, student, codes).items()}
    return found | _others(teacher, student, codes)


def estimates(teacher: Side, student: Side, codes: np.ndarray | None, seed: int) -> tuple[dict[str, Estimate], float]:
    """Every neighbour measure by key (without the k) with its interval, and how much dependence widens it."""
    whole, terms = values(teacher, student, codes), per_query(teacher, student, codes)
    if len(teacher.queries) <= SPARSE_QUERIES * teacher.n or teacher.n // 2 <= teacher.k + 1:
        found = {key: over_queries(whole[key], term, UNIT) for key, term in terms.items()}
        found |= _jackknifed(teacher, student, codes, whole, seed)
        return {key: defined(estimate) for key, estimate in _votes(found, teacher, student, codes).items()}, 1.0
    spreads = {key: float(term.std()) for key, term in terms.items()}
    differences = half_differences(teacher, student, codes, spreads, seed)
    found = {key: half_splits(whole[key], differences[key], _bounds(key)) for key in whole}
    for name, side in (("teacher", teacher), ("student", student)):
        key = f"hubness_{name}"
        found[key] = hub_errors(side, whole[key], differences[key], seed)
    alone = over_queries(whole["overlap"], terms["overlap"]).standard_error
    together = found["overlap"].standard_error
    wider = together / alone if alone and together else 1.0
    return {key: defined(estimate) for key, estimate in _votes(found, teacher, student, codes).items()}, wider


def _votes(found: dict[str, Estimate], teacher: Side, student: Side, codes: np.ndarray | None) -> dict[str, Estimate]:
    """The estimates, those of votes with the error of independent rows at least; none where all neighbours are kept."""
    if codes is None:
        return found
    q = len(teacher.queries)
    least = {key: error_of_share(found[key].value or 0.0, q) for key in found if key.startswith("knn_accuracy")}
    if found["overlap"].value != 1:
        least["knn_agreement"] = error = error_of_share(found["knn_agreement"].value or 0.0, q)
        expected = classes.expected_agreement(_predicted(teacher, codes), _predicted(student, codes))
        least |= {"knn_kappa": error / (1 - expected)} if expected < 1 else {}
    return found | {key: found[key].at_least(error) for key, error in least.items()}


def _bounds(key: str) -> tuple[float, float]:
    if key == "knn_kappa":
        return AT_MOST_ONE
    return (-np.inf, np.inf) if key.startswith("hubness") else (0.0, np.inf) if key.startswith("intrinsic") else UNIT


def _others(teacher: Side, student: Side, codes: np.ndarray | None) -> dict[str, float]:
    """The measures that are no mean over queries."""
    found = {}
    if codes is not None:
        found["knn_kappa"] = classes.kappa(_predicted(teacher, codes), _predicted(student, codes))
    for name, side in (("teacher", teacher), ("student", student)):
        found[f"hubness_{name}"] = _hubness(side.cosine)
        found[f"intrinsic_dimension_{name}"] = geometry.twonn(side.euclidean.distances)
    return found


def _predicted(side: Side, codes: np.ndarray) -> np.ndarray:
    return classes.predictions(side.cosine, codes)


def _hubness(found: Neighbours) -> float:
    asked = len(found.queries)
    if asked == found.n:
        return geometry.skewness(geometry.occurrences(found), asked)
    if asked < max(FEWEST_HUB_QUERIES, LEAST_HUB_SHARE * found.n):
        return float("nan")
    # factorial moments need whole counts
    return geometry.skewness(np.bincount(found.deep[:, : found.k].ravel(), minlength=found.n), asked)


def _jackknifed(
    teacher: Side, student: Side, codes: np.ndarray | None, whole: dict[str, float], seed: int
) -> dict[str, Estimate]:
    """Intervals of the measures that are no mean, over groups of queries."""
    groups, count = random_groups(len(teacher.queries), seed)
    left_out = [_others(teacher.only(groups != g), student.only(groups != g), codes) for g in range(count)]
    return {key: jackknife(whole[key], np.array([row[key] for row in left_out]), _bounds(key)) for key in left_out[0]}


def named(key: str, k: int) -> str:
    """overlap:euclidean -> overlap@10:euclidean; intrinsic dimensions have no k."""
    if key.startswith("intrinsic"):
        return key
    name, _, metric = key.partition(":")
    return f"{name}@{k}" + (f":{metric}" if metric else "")


@dataclass(frozen=True)
class Ranked:
    """Where each space's neighbours stand in the other, for the queries at positions ``kept``: nearer and tied rows."""

    kept: np.ndarray
    in_teacher: tuple[np.ndarray, np.ndarray]
    in_student: tuple[np.ndarray, np.ndarray]


def measure_neighbours(
    teacher: Teacher,
    side: Side,
    student: Side,
    voters: Side | None,
    settings: Settings,
    ranked: Ranked | None,
) -> tuple[dict[str, Measure], float]:
    """The neighbour measures with interval, chance and class chance; and how dependence widens errors.

    ``side`` and ``student`` are the neighbours in both spaces, ``voters`` the student's among the rows with a class,
    None where these are too few; ``ranked`` the ranks where they are wanted.
    """
    n, k, codes, seed = student.n, student.k, teacher.codes, settings.seed
    voting = settings.asks("classes")
    everyone = len(teacher.voters.rows) == n
    found, wider = estimates(side, student, codes if everyone and voting else None, seed)
    chance = {
        "overlap": overlap.overlap_chance(n, k),
        "overlap:euclidean": overlap.overlap_chance(n, k),
        "jaccard": overlap.jaccard_chance(n, k),
    }
    within = {
        "overlap": class_chance(overlap.class_overlap(side.cosine, student.cosine, codes), codes[side.queries]),
        "overlap:euclidean": class_chance(
            overlap.class_overlap(side.euclidean, student.euclidean, codes), codes[side.queries]
        ),
    }
    measures = {}
    for key, estimate in found.items():
        if key.startswith("knn"):
            continue
        metric = "euclidean" if key in ("overlap:euclidean",) or key.startswith("intrinsic") else "cosine"
        note = moved_note(teacher) if key in within else _note(key, estimate, student)
        measures[named(key, k)] = Measure(
            estimate, len(student.queries), chance.get(key), within.get(key), metric=metric, note=note
        )
    asked = teacher.voters
    if voting:
        if not everyone and asked.side is not None and voters is not None:
            found, _ = estimates(asked.side, voters, asked.codes, seed)
        measures |= measure_classes(teacher, k, voters, found, seed)
    if ranked is not None:
        measures |= _rank_measures(side, student, ranked, wider)
    return measures, wider


def _note(key: str, estimate: Estimate, student: Side) -> str | None:
    asked, n = len(student.queries), student.n
    if key.startswith("hubness") and asked < n:
        if estimate.value is None:
            return f"{asked:,} queries are too few of {n:,} rows for it"
        return f"from {asked:,} of {n:,} queries, corrected for thinning"
    return "too few of these rows are distinct" if estimate.value is None else None


def ranked_queries(asked: int, n: int) -> np.ndarray:
    """For which of the queries ranks are counted: all up to 5,000 rows, else 1,000."""
    return np.arange(asked) if n <= ALL_RANKS else sample(asked, RANK_QUERIES, 0)


def _rank_measures(teacher: Side, student: Side, ranked: Ranked, wider: float) -> dict[str, Measure]:
    n, k, asked = student.n, student.k, len(ranked.kept)
    measures = {}
    for key, side, away in (
        ("trustworthiness", student, ranked.in_teacher),
        ("continuity", teacher, ranked.in_student),
    ):
        if 2 * k >= n:
            undefined = f"k must be below n / 2 (k = {k}, n = {n})"
            measures[f"{key}@{k}"] = Measure(Estimate(None), asked, metric="cosine", note=undefined)
            continue
        terms = 1 - overlap.penalties(side.only(ranked.kept).cosine, *away)
        # the same dependence between queries that half-splits found in the overlap
        estimate = over_queries(float(terms.mean()), terms, UNIT).widened(wider)
        chance = overlap.trustworthiness_chance(n, k)
        note = None if asked == len(student.queries) else f"from {asked:,} of the {len(student.queries):,} queries"
        measures[f"{key}@{k}"] = Measure(estimate, asked, chance, metric="cosine", note=note)
    return measures
