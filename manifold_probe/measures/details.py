"""Details for figures: curves, spectra, classes and rows as plain lists, ready for JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.engine.moments import Moments
from manifold_probe.engine.profile import Profile
from manifold_probe.engine.rows import has_company
from manifold_probe.measures import overlap
from manifold_probe.measures.catalogue import KNN_AGREEMENT, detailed
from manifold_probe.measures.dimensions import spectrum
from manifold_probe.measures.from_moments import LEVELS, quantiles
from manifold_probe.measures.from_neighbours import Lists, Ranked
from manifold_probe.measures.halving import Deep, deepest_in_half, differences_by_k
from manifold_probe.measures.results import Measured
from manifold_probe.measures.sides import DEEPEST, Side, Teacher
from manifold_probe.measures.uncertainty import Estimate, half_splits, over_queries, wilson
from manifold_probe.spaces.labels import plain_labels
from manifold_probe.spaces.pairing import Pair

KS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200)
WORST_ROWS = 50


def overlap_by_k(lists: Lists, reference: Side | None, measured: Measured | None) -> dict[str, Any]:
    """Overlap at k = 1 to 200 with the interval of the cosine's, as deep as the lists of neighbours go.

    Euclidean lists are less deep, and intervals of random halves end where a half of the rows holds too few neighbours
    (`halving.deepest_in_half`). The reference is read on its queries. ``measured`` is the overlap at the settings' k.
    """
    n, k = lists.n, lists.k
    ks = sorted({*(j for j in KS if j < n), *([k] if k <= DEEPEST else [])})
    at_k = ks.index(k) if k in ks else None
    table: dict[str, Any] = {"k": ks, "n": n, "queries": len(lists.queries)}
    deep = Deep(lists, DEEPEST)
    terms = {metric: _terms_by_k(deep, metric, ks) for metric in ("cosine", "euclidean")}
    for metric, each in terms.items():
        table[metric] = _means(each, ks)
        if at_k is not None:  # exact there, ties shared
            table[metric][at_k] = float(lists.common(metric).mean() / k)
    estimates = _estimates_by_k(deep, terms["cosine"], ks)
    for end in ("low", "high"):
        table[end] = [getattr(each, end) for each in estimates] + [None] * (len(ks) - len(estimates))
        if at_k is not None and measured is not None:
            table[end][at_k] = getattr(measured, end)
    table["chance"] = [overlap.overlap_chance(n, j) for j in ks]
    table["reference"] = None
    if reference is not None:
        rows = np.searchsorted(lists.queries, reference.queries)
        of_reference = Deep(Lists(lists.teacher.only(rows), reference), DEEPEST)
        table["reference"] = _means(_terms_by_k(of_reference, "cosine", ks), ks)
    return table


def _terms_by_k(deep: Deep, metric: str, ks: list[int]) -> np.ndarray:
    """Overlap (q, number of ks) of each query at the first ks, as deep as the lists go; ties by the lists' order."""
    widths = [deep.rows(side, metric).shape[1] for side in ("teacher", "student")]
    query, here, there = deep.shared(metric)
    ranks = np.maximum(here % widths[0], there % widths[1]) + 1
    return overlap.overlap_by_k(query, ranks, len(deep.lists.queries), [k for k in ks if k <= min(widths)])


def _means(terms: np.ndarray, ks: list[int]) -> list[float | None]:
    """One value a k, None beyond those that are known."""
    return [*terms.mean(0).tolist(), *[None] * (len(ks) - terms.shape[1])]


def _estimates_by_k(deep: Deep, terms: np.ndarray, ks: list[int]) -> list[Estimate]:
    """The overlap at the first ks with intervals, of queries or of random halves as `from_neighbours` chooses."""
    if deep.lists.sparse:
        return [over_queries(float(each.mean()), each, (0.0, 1.0)) for each in terms.T]
    deepest = min(deepest_in_half(deep.rows("teacher", "cosine").shape[1]), deep.lists.n // 2 - 2)
    ks = [k for k in ks if k <= deepest]
    if not ks:
        return []
    terms = terms[:, : len(ks)]
    differences = differences_by_k(deep, terms, ks)
    return [half_splits(float(terms[:, i].mean()), differences[:, i], (0.0, 1.0)) for i in range(len(ks))]


def spectra(m: Moments, teacher: Teacher, student: Profile) -> dict[str, list[float]]:
    """Singular values of both centred spaces as they are stored, descending; ``m`` are the moments at unit scale."""
    if "spectrum" not in teacher.made:
        teacher.made["spectrum"] = np.ldexp(spectrum(m), teacher.cloud.exponent).tolist()
    return {
        "teacher": teacher.made["spectrum"],
        "student": np.ldexp(spectrum(m.swapped()), student.exponent).tolist(),
    }


def per_class(teacher: Teacher, side: Side, student: Side, voters: Side | None, wider: float) -> list[dict[str, Any]]:
    """Overlap (with its interval), agreement and accuracies within each class that has queries.

    ``side`` and ``student`` are the neighbours in both spaces. Agreement and accuracies are those among the rows with a
    class alone: ``voters`` are the student's neighbours there.
    """
    voting = teacher.voters
    query_codes, k = teacher.codes[side.queries], side.k
    terms = overlap.intersections(side.cosine, student.cosine) / k
    votes: dict[str, np.ndarray | None] = dict.fromkeys(detailed("classes"))
    if voting.side is not None and voters is not None and has_company(voting.codes).any():
        lists = Lists(voting.side, voters, voting.codes)
        votes = {name: measure.made(lists) for name, measure in detailed("classes").items()}
        voter_codes = lists.query_codes
    rows = []
    for code, name in enumerate(teacher.class_names):
        in_class = query_codes == code
        count = int(in_class.sum())
        if not count:
            continue
        value = Estimate(float(terms[in_class].mean()))
        if count > 1:
            value = over_queries(float(terms[in_class].mean()), terms[in_class], (0.0, 1.0)).widened(wider)
        rows.append(
            {
                "class": name.item() if hasattr(name, "item") else name,
                "n": count,
                "overlap": value.value,
                "low": value.low,
                "high": value.high,
                **{
                    key: None if terms is None else float(terms[voter_codes == code].mean())
                    for key, terms in votes.items()
                },
            }
        )
        if rows[-1].get(KNN_AGREEMENT.detail) is not None:
            low, high = wilson(rows[-1][KNN_AGREEMENT.detail], int((voter_codes == code).sum()))
            rows[-1] |= {"agreement_low": low, "agreement_high": high}
    return rows


def per_dimension(by_dimension: dict[str, np.ndarray]) -> dict[str, list[float | None] | None]:
    """Correlations of every dimension, raw and after each map, and space similarities; None where undefined."""

    def plain(values: np.ndarray | None) -> list[float | None] | None:
        return None if values is None else [None if np.isnan(v) else float(v) for v in values]

    return {name: plain(by_dimension.get(measure.key)) for name, measure in detailed("moments").items()}


def rank_quantiles(ranked: Ranked | None, teacher: Side, student: Side) -> dict[str, Any] | None:
    """Quantiles over queries of the ranks, in the other space, of one space's k nearest, nearest first."""
    if ranked is None:
        return None

    def table(places: tuple[np.ndarray, np.ndarray], members: np.ndarray, k: int) -> list[list[float]]:
        ranks = np.where(members >= 0, places[0] + (places[1] + 1) / 2, np.nan)[:, :k]
        return [np.nanquantile(column, LEVELS).tolist() for column in ranks.T if np.isfinite(column).any()]

    return {
        "k": teacher.k,
        "n": teacher.n,
        "quantiles": list(LEVELS),
        "teacher_neighbours_in_student": table(ranked.in_student, teacher.cosine.members[ranked.kept], teacher.k),
        "student_neighbours_in_teacher": table(ranked.in_teacher, student.cosine.members[ranked.kept], student.k),
    }


def norms(teacher: Profile, student: Profile) -> dict[str, dict[str, float | None]]:
    """Quantiles of the raw row norms, with the extremes, and the length of the mean over the spread."""
    by_side: dict[str, dict[str, float | None]] = {}
    for side, profile in (("teacher", teacher), ("student", student)):
        lengths = profile.raw_norms
        extremes = {"min": float(lengths.min()), "max": float(lengths.max())}
        offset = profile.offset if np.isfinite(profile.offset) else None
        by_side[side] = {**(quantiles(lengths) or {}), **extremes, "offset": offset}
    return by_side


def worst_rows(teacher: Side, student: Side, pair: Pair, ranked: Ranked | None) -> list[dict[str, Any]]:
    """The 50 queries that keep fewest neighbours, with their neighbours in both spaces.

    Ties are broken by the mean rank, in the student, of the teacher's neighbours, where it is known: the largest first.
    """
    terms = overlap.intersections(teacher.cosine, student.cosine) / teacher.k
    away = np.zeros(len(terms))
    if ranked is not None:
        nearer, tied = ranked.in_student
        away[ranked.kept] = (teacher.cosine.weights[ranked.kept] * (nearer + (tied + 1) / 2)).sum(1) / teacher.k

    def names(rows: np.ndarray) -> list[Any]:
        kept = rows[rows >= 0][: teacher.k]
        return (kept if pair.ids is None else pair.ids[kept]).tolist()

    def item(values: np.ndarray | None, row: int) -> Any:
        return None if values is None else values[row].item()

    labels = None if pair.labels is None else plain_labels(pair.labels[teacher.queries])

    return [
        {
            "row": int(teacher.queries[i]),
            "id": item(pair.ids, teacher.queries[i]),
            "label": None if labels is None else labels[i],
            "overlap": float(terms[i]),
            "teacher_neighbours": names(teacher.cosine.members[i]),
            "student_neighbours": names(student.cosine.members[i]),
        }
        for i in np.lexsort((-away, terms))[:WORST_ROWS]
    ]
