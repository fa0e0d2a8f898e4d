"""Everything measured over pairs of spaces, once: files are read in blocks, summarised, and the summaries measured.

    profile -> grouped moments -> from_moments.py        alignment, dimensions, norms: every row
            -> neighbour lists -> from_neighbours.py     overlap, classes, geometry: query rows against every row

The teacher is read and searched once for all students.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.exact import BLOCK
from manifold_probe.engine.inputs import check_k
from manifold_probe.engine.moments import Moments, add_grouped, total
from manifold_probe.engine.profile import Profile, profile
from manifold_probe.measures import alarms, alarms_of_pairing, details, overlap
from manifold_probe.measures.catalogue import Measure as Declared
from manifold_probe.measures.class_measures import class_rows
from manifold_probe.measures.from_moments import measure_moments
from manifold_probe.measures.from_neighbours import measure_neighbours
from manifold_probe.measures.maps import FEWEST, layout, linked_maps, map_rows
from manifold_probe.measures.reference import Reference, measure_reference
from manifold_probe.measures.results import Alarm, Measurement
from manifold_probe.measures.results import Measured as Measure
from manifold_probe.measures.sides import Progress, Settings, Side, Teacher, read_teacher, search_side, silent
from manifold_probe.measures.uncertainty import tail_factor, tail_index
from manifold_probe.measures.user_defined import chosen, measure_user_defined
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
    measures: Iterable[str | Declared] | None = None,
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
    measures : keys or declarations, optional
        What to measure, by default `catalogue.MEASURES`. What they do not need is not computed.
    maps : bool
        Also lay out both spaces in two dimensions: seconds for each student.
    progress : callable, optional
        Called as progress(stage, done, total).

    Raises
    ------
    InputError
        Where k does not fit the rows, a value is NaN or infinite, or a measure is not known or fails.
    """
    first = next(iter(pairs.values()))
    k = check_k(k, first.teacher.n)
    settings = Settings(k, queries, seed, tuple(chosen(measures, k)))
    report = progress or silent
    clouds = {name: _read(name, pair, report) for name, pair in pairs.items()}
    teacher = read_teacher(first, settings, report)
    start = _teacher_layout(teacher, seed, report) if maps and teacher.side is not None else None
    return {name: _measure(pair, clouds[name], teacher, settings, start, report) for name, pair in pairs.items()}


def _teacher_layout(teacher: Teacher, seed: int, report: Progress) -> np.ndarray | None:
    """The teacher's map, from which every student's starts; None for too few rows to draw."""
    asked = map_rows(teacher.queries, seed)
    if len(asked) < FEWEST:
        return None
    report("map of teacher", 0, 1)
    return layout(teacher.cloud, teacher.queries[asked], seed)


def _read(name: str, pair: Pair, report: Progress) -> Cloud:
    return Cloud(pair.student, profile(pair.student, lambda done, n: report(f"reading {name}", done, n)))


@dataclass
class _Found:
    """What is known of one pair so far: measures by key, parts of the details, alarms.

    ``overlaps`` (q,) are each query's; ``wider`` is what heavy tails widen the errors of moments by.
    """

    measures: dict[str, Measure] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    alarms: list[Alarm] = field(default_factory=list)
    overlaps: np.ndarray | None = None
    wider: float = 1.0


def _measure(
    pair: Pair, cloud: Cloud, teacher: Teacher, settings: Settings, start: np.ndarray | None, report: Progress
) -> Measurement:
    found = _Found()
    profiles = teacher.cloud.profile, cloud.profile
    found.details |= {"class_rows": class_rows(teacher), "norms": details.norms(*profiles)}
    found.alarms += _alarms_of_rows(pair, *profiles)
    narrower = teacher.side is not None and cloud.space.d < teacher.cloud.space.d  # its reference needs directions
    reference, m, powers = Reference({}, None, None), None, np.empty((2, 0))
    if settings.asks("moments") or narrower:
        parts, powers = _moments(teacher, cloud, report)
        m = total(parts)
        # decompositions this small gain nothing from threads, and lose tenfold where other processes want the cores
        with threadpool_limits(1 if max(len(m.sx), len(m.sy)) <= SMALL else None, user_api="blas"):
            _add_moments(found, m, parts, powers, teacher, cloud, settings, report)
            report("reference", 0, 1)
            reference = measure_reference(teacher, m, cloud.space.d, settings)
    elif teacher.side is not None:
        reference = measure_reference(teacher, None, cloud.space.d, settings)
    if teacher.side is not None:
        _add_neighbours(found, pair, teacher, teacher.side, cloud, reference, settings, start, report)
    if m is not None:
        found.alarms += _alarms_of_moments(teacher, cloud, found.measures, powers, found.wider, reference.rank)
        if found.overlaps is not None:
            asked = asked_again(teacher.queries, found.overlaps, settings.k, settings.seed)
            found.alarms += _dominating_dimension(teacher, cloud, m, found.measures["debiased_linear_cka"], asked)
    measures = {
        key: replace(measure, reference=reference.values.get(key)) if measure.value is not None else measure
        for key, measure in found.measures.items()
        if key in settings.keys
    }
    own = [each for each in settings.measures if each.function is not None]
    measures |= measure_user_defined(
        own, pair.teacher, pair.student, teacher.groups, teacher.group_count, settings.seed
    )
    return Measurement(measures, found.details, found.alarms, teacher.class_source, teacher.class_names)


def _add_moments(
    found: _Found,
    m: Moments,
    parts: list[Moments],
    powers: np.ndarray,
    teacher: Teacher,
    cloud: Cloud,
    settings: Settings,
    report: Progress,
) -> None:
    """What moments tell."""
    report("shape and coordinates", 0, 1)
    found.wider = tail_factor(min(map(tail_index, powers)), len(parts))
    measures, by_dimension = measure_moments(m, parts, teacher, cloud, settings, found.wider)
    found.measures |= measures
    found.details |= {
        "spectra": details.spectra(m, teacher.cloud.profile, cloud.profile),
        "per_dimension": details.per_dimension(by_dimension),
    }


def _add_neighbours(
    found: _Found,
    pair: Pair,
    teacher: Teacher,
    side: Side,
    cloud: Cloud,
    reference: Reference,
    settings: Settings,
    start: np.ndarray | None,
    report: Progress,
) -> None:
    """What neighbour lists tell; ``side`` are the teacher's, ``start`` its map."""
    student = search_side(cloud, teacher.queries, settings.k, "student", report)
    report("intervals of the neighbour measures", 0, 1)
    voters = teacher.voters.side_of(cloud, student, "labelled student", report) if settings.asks("classes") else None
    local, ranked, dependence = measure_neighbours(teacher, side, cloud, student, voters, settings, report)
    found.measures |= local
    found.overlaps = overlap.intersections(side.cosine, student.cosine) / side.k
    found.alarms += _alarms_of_neighbours(teacher, side, cloud, student, found.overlaps, settings.seed)
    found.details |= {
        "overlap_by_k": details.overlap_by_k(side, student, reference.side),
        "per_class": details.per_class(teacher, side, student, voters, dependence),
        "rank_quantiles": details.rank_quantiles(ranked, side, student),
        "worst_rows": details.worst_rows(side, student, pair, ranked),
    }
    if start is not None:
        report("map of student", 0, 1)
        drawn = teacher.queries[map_rows(teacher.queries, settings.seed)]
        moved = layout(cloud, drawn, settings.seed, start)
        found.details["maps"] = linked_maps(teacher, side, start, student, moved, pair, settings.seed)


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


def _alarms_of_rows(pair: Pair, teacher: Profile, student: Profile) -> list[Alarm]:
    return [
        *alarms_of_pairing.pairing(pair),
        *alarms.packed_bits(pair),
        *alarms_of_pairing.same_file(pair, teacher, student),
        *alarms.one_sided_normalisation(teacher, student),
        *alarms.of_space("teacher", teacher, pair.teacher.dtype),
        *alarms.of_space("student", student, pair.student.dtype),
        *alarms.common_offset(teacher, student),
        *alarms.few_rows(pair.teacher.n, max(pair.teacher.d, pair.student.d)),
    ]


def _alarms_of_neighbours(
    teacher: Teacher, side: Side, cloud: Cloud, student: Side, terms: np.ndarray, seed: int
) -> list[Alarm]:
    """A block in another order, hubs, copies; ``terms`` (q,) are each query's overlap."""
    expected = overlap.class_overlap(side.cosine, student.cosine, teacher.codes)
    expected = np.where(np.isnan(expected), overlap.overlap_chance(side.n, side.k), expected)
    classes = np.append(teacher.class_names.astype(str), "(no label)")[teacher.codes[side.queries]]
    # a zero vector keeps nothing wherever it stands, which is not the order's fault
    directed = (teacher.cloud.profile.norms[side.queries] > 0) & (cloud.profile.norms[side.queries] > 0)
    in_teacher, share = alarms.hubs("teacher", side.cosine, 0.0)
    in_student, _ = alarms.hubs("student", student.cosine, share)
    return [
        *alarms_of_pairing.misaligned_block(*(each[directed] for each in (side.queries, terms, expected, classes))),
        *in_teacher,
        *in_student,
        *_copied_rows(teacher, cloud, side.k, float(terms.mean()), seed),
    ]


def _alarms_of_moments(
    teacher: Teacher,
    cloud: Cloud,
    measures: dict[str, Measure],
    powers: np.ndarray,
    wider: float,
    rank: float | None,
) -> list[Alarm]:
    """Rows that decide CKA, and a collapsed rank; ``rank`` is the reference's."""
    found = []
    for name, power in zip(("teacher", "student"), powers, strict=True):
        rows, share = alarms.far_rows(power)
        if len(rows):
            left = cka_without_rows(teacher.cloud.space, cloud.space, rows)
            found += alarms.influential_rows(name, rows, share, measures["debiased_linear_cka"], left)
        found += alarms.heavy_tails(name, power, wider)
    if not {"rankme_teacher", "rankme_student"} <= measures.keys():
        return found
    return found + alarms.collapsed_rank(measures["rankme_teacher"].value, measures["rankme_student"].value, rank)


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


def _copied_rows(teacher: Teacher, cloud: Cloud, k: int, overlap: float, seed: int) -> list[Alarm]:
    """So many copies that neighbourhoods consist of them."""
    rows = distinct_rows(teacher.cloud.profile.hashes, cloud.profile.hashes)
    n = cloud.space.n
    if n - len(rows) < alarms.MANY_COPIES * n:
        return []
    enough = len(rows) > k + 1
    among = overlap_among(teacher.cloud.space, cloud.space, rows, k, seed) if enough else None
    return alarms.copied_rows(n, len(rows), k, overlap, among)
