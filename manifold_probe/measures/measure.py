"""Everything measured over pairs of spaces, once: files are read in blocks, summarised, and the summaries measured.

    profile -> grouped moments -> from_moments.py        alignment, dimensions, norms: every row
            -> neighbour lists -> from_neighbours.py     overlap, classes, geometry: query rows against every row

The teacher is read and searched once for all students.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from manifold_probe.measures import alarms, details, overlap
from manifold_probe.measures.class_measures import class_rows
from manifold_probe.measures.cloud import Cloud
from manifold_probe.measures.exact import BLOCK
from manifold_probe.measures.from_moments import measure_moments
from manifold_probe.measures.from_neighbours import measure_neighbours
from manifold_probe.measures.inputs import check_k
from manifold_probe.measures.maps import FEWEST, layout, linked_maps, map_rows
from manifold_probe.measures.moments import Moments, add_grouped, total
from manifold_probe.measures.profile import profile
from manifold_probe.measures.reference import measure_reference
from manifold_probe.measures.results import Alarm, Measure, Measurement
from manifold_probe.measures.sides import Progress, Settings, Side, Teacher, read_teacher, search_side, silent
from manifold_probe.measures.uncertainty import tail_factor, tail_index
from manifold_probe.measures.without import (
    Asked,
    asked_again,
    cka_without_rows,
    distinct_rows,
    dominating_columns,
    overlap_among,
    without_columns,
)
from manifold_probe.spaces.pairing import Pair

SMALL = 1024


def measure_students(
    pairs: dict[str, Pair],
    *,
    k: int = 10,
    queries: int = 5_000,
    seed: int = 0,
    maps: bool = False,
    progress: Progress | None = None,
) -> dict[str, Measurement]:
    """Measure every student against the teacher they share.

    Parameters
    ----------
    pairs : dict of name -> Pair
        All with the same teacher rows, as ``spaces.pairing.pair`` makes them.
    k : int
        Neighbours, 1 <= k < n.
    queries : int
        Rows sampled as queries of the neighbour searches; the database is always every row.
    seed : int
        Seed of every random choice.
    maps : bool
        Also lay out both spaces in two dimensions: seconds for each student.
    progress : callable, optional
        Called as progress(stage, done, total).

    Raises
    ------
    InputError
        Where k does not fit the rows or a value is NaN or infinite.
    """
    first = next(iter(pairs.values()))
    settings = Settings(check_k(k, first.teacher.n), queries, seed)
    report = progress or silent
    clouds = {name: _read(name, pair, report) for name, pair in pairs.items()}
    teacher = read_teacher(first, settings, report)
    start = _teacher_layout(teacher, seed, report) if maps else None
    return {name: _measure(pair, clouds[name], teacher, settings, start, report) for name, pair in pairs.items()}


def _teacher_layout(teacher: Teacher, seed: int, report: Progress) -> np.ndarray | None:
    """The teacher's map, from which every student's starts; None for too few rows to draw."""
    asked = map_rows(teacher.side, seed)
    if len(asked) < FEWEST:
        return None
    report("map of teacher", 0, 1)
    return layout(teacher.cloud, teacher.side.queries[asked], seed)


def _read(name: str, pair: Pair, report: Progress) -> Cloud:
    return Cloud(pair.student, profile(pair.student, lambda done, n: report(f"reading {name}", done, n)))


def _measure(
    pair: Pair, cloud: Cloud, teacher: Teacher, settings: Settings, start: np.ndarray | None, report: Progress
) -> Measurement:
    parts, powers = _moments(teacher, cloud, report)
    m = total(parts)
    student = search_side(cloud, teacher.side.queries, settings.k, "student", report)
    # decompositions this small gain nothing from threads, and lose tenfold where other processes want the cores
    report("shape and coordinates", 0, 1)
    with threadpool_limits(1 if max(len(m.sx), len(m.sy)) <= SMALL else None, user_api="blas"):
        wider = tail_factor(min(map(tail_index, powers)), len(parts))
        measures, by_dimension = measure_moments(m, parts, teacher, cloud, settings.seed, wider)
        report("reference", 0, 1)
        reference = measure_reference(teacher, m, cloud.space.d, settings)
    report("intervals of the neighbour measures", 0, 1)
    voters = teacher.voters.side_of(cloud, student, "labelled student", report)
    local, ranked, dependence = measure_neighbours(teacher, cloud, student, voters, settings.seed, report)
    measures = {
        key: replace(measure, reference=reference.values.get(key)) if measure.value is not None else measure
        for key, measure in (measures | local).items()
    }
    ranks = measures["rankme_teacher"].value, measures["rankme_student"].value, reference.rank
    found = _alarms(pair, teacher, cloud, student, measures["debiased_linear_cka"], powers, m, settings.seed)
    found += alarms.collapsed_rank(*ranks)
    extra = {
        "overlap_by_k": details.overlap_by_k(teacher.side, student, reference.side),
        "spectra": details.spectra(m, teacher.cloud.profile, cloud.profile),
        "per_class": details.per_class(teacher, student, voters, dependence),
        "class_rows": class_rows(teacher),
        "per_dimension": details.per_dimension(by_dimension),
        "rank_quantiles": details.rank_quantiles(ranked, teacher.side, student),
        "norms": details.norms(teacher.cloud.profile, cloud.profile),
        "worst_rows": details.worst_rows(teacher.side, student, pair, ranked),
    }
    if start is not None:
        report("map of student", 0, 1)
        drawn = teacher.side.queries[map_rows(teacher.side, settings.seed)]
        moved = layout(cloud, drawn, settings.seed, start)
        extra["maps"] = linked_maps(teacher, start, student, moved, pair, settings.seed)
    return Measurement(measures, extra, found, teacher.class_source, teacher.class_names)


def _moments(teacher: Teacher, cloud: Cloud, report: Progress) -> tuple[list[Moments], np.ndarray]:
    """Moments of every group about the spaces' means, and each row's squared distance from them, (2, n)."""
    pair = (teacher.cloud, cloud)
    n = cloud.space.n
    parts = [Moments(teacher.cloud.profile.mean, cloud.profile.mean) for _ in range(teacher.group_count)]
    powers = np.empty((2, n))
    for start in range(0, n, BLOCK):
        rows = slice(start, min(start + BLOCK, n))
        x, y = (side.space.read(start, start + BLOCK) for side in pair)
        add_grouped(parts, x, y, teacher.groups[rows])
        for power, block, side in zip(powers, (x, y), pair, strict=True):
            away = block - side.profile.mean
            power[rows] = np.einsum("ij,ij->i", away, away)
        report("moments", rows.stop, n)
    return parts, powers


def _alarms(
    pair: Pair,
    teacher: Teacher,
    cloud: Cloud,
    student: Side,
    whole: Measure,
    powers: np.ndarray,
    m: Moments,
    seed: int,
) -> list[Alarm]:
    side, own, theirs = teacher.side, teacher.cloud.profile, cloud.profile
    terms = overlap.intersections(side.cosine, student.cosine) / side.k
    expected = overlap.class_overlap(side.cosine, student.cosine, teacher.codes)
    expected = np.where(np.isnan(expected), overlap.overlap_chance(side.n, side.k), expected)
    classes = np.append(teacher.class_names.astype(str), "(no label)")[teacher.codes[side.queries]]
    # a zero vector keeps nothing wherever it stands, which is not the order's fault
    directed = (own.norms[side.queries] > 0) & (theirs.norms[side.queries] > 0)
    in_teacher, share = alarms.hubs("teacher", side.cosine, 0.0)
    in_student, _ = alarms.hubs("student", student.cosine, share)
    found = [
        *alarms.pairing(pair),
        *alarms.packed_bits(pair),
        *alarms.same_file(pair, own, theirs),
        *alarms.one_sided_normalisation(own, theirs),
        *alarms.misaligned_block(*(each[directed] for each in (side.queries, terms, expected, classes))),
        *alarms.of_space("teacher", own, pair.teacher.dtype),
        *alarms.of_space("student", theirs, pair.student.dtype),
        *alarms.common_offset(own, theirs),
        *in_teacher,
        *in_student,
        *alarms.few_rows(whole.n, max(pair.teacher.d, pair.student.d)),
    ]
    for name, power in zip(("teacher", "student"), powers, strict=True):
        rows, share = alarms.far_rows(power)
        if len(rows):
            left = cka_without_rows(teacher.cloud.space, cloud.space, rows)
            found += alarms.influential_rows(name, rows, share, whole, left)
        found += alarms.heavy_tails(name, power, teacher.group_count)
    asked = asked_again(side.queries, terms, side.k, seed)
    found += _dominating_dimension(teacher, cloud, m, whole, asked)
    return found + _copied_rows(teacher, cloud, float(terms.mean()), seed)


def _dominating_dimension(teacher: Teacher, cloud: Cloud, m: Moments, whole: Measure, asked: Asked) -> list[Alarm]:
    """One or a few dimensions that decide CKA or the overlap, on either side."""
    variances = [np.maximum(np.diag(products), 0) / m.n for products in m.covariance[::2]]
    held = [
        (("variance", variance), ("squared length", variance + mean**2))
        for variance, mean in zip(variances, m.means, strict=True)
    ]
    columns = [np.unique(np.concatenate([dominating_columns(each) for _, each in pair])) for pair in held]
    if not any(map(len, columns)):
        return []
    left = without_columns(teacher.cloud, cloud, (columns[0], columns[1]), asked)
    sides = zip(("teacher", "student"), columns, held, strict=True)
    return alarms.dominating_dimension(list(sides), whole.value, left, asked.k, m.n)


def _copied_rows(teacher: Teacher, cloud: Cloud, overlap: float, seed: int) -> list[Alarm]:
    """So many copies that neighbourhoods consist of them."""
    rows = distinct_rows(teacher.cloud.profile.hashes, cloud.profile.hashes)
    n, k = cloud.space.n, teacher.side.k
    if n - len(rows) < alarms.MANY_COPIES * n:
        return []
    enough = len(rows) > k + 1
    among = overlap_among(teacher.cloud.space, cloud.space, rows, k, seed) if enough else None
    return alarms.copied_rows(n, len(rows), k, overlap, among)
