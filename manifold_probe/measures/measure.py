"""Everything measured over pairs of spaces: two passes over the files, and what their summaries tell of each student.

passes (reading.py) -> grouped moments  -> from_moments.py      alignment, dimensions, norms: every row
                    -> neighbours, ranks -> from_neighbours.py  overlap, classes, geometry: queries against every row
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from manifold_probe.engine.inputs import check_k
from manifold_probe.engine.passes import Executor, Pass, in_this_process, read
from manifold_probe.engine.threads import Each, threads, threads_for
from manifold_probe.measures import alarms, alarms_of_pairing, details, overlap, without
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, RANKME_STUDENT, RANKME_TEACHER, Measure
from manifold_probe.measures.class_measures import class_rows
from manifold_probe.measures.from_moments import measure_moments
from manifold_probe.measures.from_neighbours import Lists, measure_neighbours
from manifold_probe.measures.maps import FEWEST, layout, linked_maps, map_rows
from manifold_probe.measures.reading import Reading, Student
from manifold_probe.measures.reference import Reference
from manifold_probe.measures.results import Alarm, Measured, Measurement
from manifold_probe.measures.sides import Settings, Side, Teacher
from manifold_probe.measures.uncertainty import tail_factor, tail_index
from manifold_probe.measures.user_defined import chosen, measure_user_defined
from manifold_probe.measures.work import Work
from manifold_probe.parts import Progress, silent
from manifold_probe.spaces.pairing import Pair


def measure_students(
    pairs: dict[str, Pair],
    *,
    k: int = 10,
    queries: int = 5_000,
    seed: int = 0,
    measures: Iterable[str | Measure] | None = None,
    maps: bool = False,
    progress: Progress | None = None,
    execute: Executor | None = None,
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
        Called as progress(stage, done, total), of the whole work.
    execute : Executor, optional
        Who reads the spans of rows, by default this process.

    Raises
    ------
    InputError
        Where k does not fit the rows, a value is NaN or infinite, or a measure is not known or fails.
    """
    k = check_k(k, next(iter(pairs.values())).teacher.n)
    settings = Settings(k, queries, seed, tuple(chosen(measures, k)))
    with threads() as each:
        work = Work(pairs, settings, maps, silent if progress is None else progress)
        reading = Reading(pairs, settings, each)
        run = execute or in_this_process(each)
        reading.take_first(_read(reading.first(), run, work, "reading and searching"))
        reading.take_second(_read(reading.second(), run, work, "ranking neighbours"))
        drawn = _teacher_layout(reading.teacher, seed, work) if maps and reading.teacher.side is not None else None
        work.begin("measures and intervals")
        with threads_for(max(reading.cloud.space.d, *(s.cloud.space.d for s in reading.students.values()))):
            told = _results_of_pass(reading, each, work)
        return {name: _measured(name, reading, told[name], drawn, work) for name in reading.students}


def _read(asked: Pass, run: Executor, work: Work, stage: str) -> dict[str, Any]:
    """What one pass returns."""
    work.begin(stage)
    return read(asked, run, lambda rows: work.advance(rows / asked.n))


def _teacher_layout(teacher: Teacher, seed: int, work: Work) -> np.ndarray | None:
    """The teacher's map, from which every student's starts; None for too few rows to draw."""
    work.begin("maps")
    asked = map_rows(teacher.queries, seed)
    return layout(teacher.cloud, teacher.queries[asked], seed) if len(asked) >= FEWEST else None


@dataclass(frozen=True)
class _OfMoments:
    """What moments tell; ``wider`` is what heavy tails widen their errors by."""

    measures: dict[str, Measured] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    wider: float = 1.0


@dataclass(frozen=True)
class _OfNeighbours:
    """What neighbour lists tell."""

    measures: dict[str, Measured] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    alarms: list[Alarm] = field(default_factory=list)


def _results_of_pass(
    reading: Reading, each: Each, work: Work
) -> dict[str, tuple[Reference, _OfMoments, _OfNeighbours]]:
    """Of every student its reference, and what moments and neighbours tell: each made by a thread of its own."""
    widths = {name: student.cloud.space.d for name, student in reading.students.items()}
    asked: list[Callable[[], Any]] = [partial(reading.reference, width) for width in sorted(set(widths.values()))]
    asked += [partial(tell, name, reading) for name in widths for tell in (_of_moments, _of_neighbours)]

    def made(make: Callable[[], Any]) -> Any:
        found = make()
        work.advance(1 / len(asked))
        return found

    told = each(made, asked)
    references = dict(zip(sorted(set(widths.values())), told, strict=False))
    rest = iter(told[len(references) :])
    return {name: (references[width], next(rest), next(rest)) for name, width in widths.items()}


def _measured(
    name: str,
    reading: Reading,
    told: tuple[Reference, _OfMoments, _OfNeighbours],
    drawn: np.ndarray | None,
    work: Work,
) -> Measurement:
    """Everything of one student; ``drawn`` is the teacher's map."""
    reference, of_moments, of_neighbours = told
    student, teacher, settings = reading.students[name], reading.teacher, reading.settings
    pair, profiles = student.pair, (teacher.cloud.profile, student.cloud.profile)
    measures = of_moments.measures | of_neighbours.measures
    found = {"class_rows": class_rows(teacher), "norms": details.norms(*profiles)}
    found |= of_moments.details | of_neighbours.details
    if drawn is not None and teacher.side is not None and student.side is not None:
        work.begin("maps")
        rows = teacher.queries[map_rows(teacher.queries, settings.seed)]
        moved = layout(student.cloud, rows, settings.seed, drawn)
        found["maps"] = linked_maps(
            teacher, teacher.side, drawn, student.side, student.cloud, moved, pair, settings.seed
        )
    raised = [*_alarms_of_rows(pair, student, teacher), *of_neighbours.alarms]
    if student.moments is not None:
        raised += _alarms_of_moments(student, measures, of_moments.wider, reference.rank)
        raised += _dominating_dimension(student, measures, settings.k)
    kept = {
        key: replace(measure, reference=reference.values.get(key)) if measure.value is not None else measure
        for key, measure in measures.items()
        if key in settings.keys
    }
    own = [one for one in settings.measures if one.function is not None]
    kept |= measure_user_defined(own, pair.teacher, pair.student, teacher.groups, teacher.group_count, settings.seed)
    return Measurement(kept, found, raised, teacher.class_source, teacher.class_names)


def _of_moments(name: str, reading: Reading) -> _OfMoments:
    """What moments tell of one student."""
    student, teacher = reading.students[name], reading.teacher
    m, parts = student.moments, student.parts
    if m is None or parts is None:
        return _OfMoments()
    wider = tail_factor(min(map(tail_index, student.powers)), len(parts))
    measures, by_dimension = measure_moments(m, parts, teacher, student.cloud, reading.settings, wider)
    found = {
        "spectra": details.spectra(m, teacher, student.cloud.profile),
        "per_dimension": details.per_dimension(by_dimension),
    }
    return _OfMoments(measures, found, wider)


def _of_neighbours(name: str, reading: Reading) -> _OfNeighbours:
    """What neighbour lists tell of one student."""
    student, teacher = reading.students[name], reading.teacher
    side, own = teacher.side, student.side
    if side is None or own is None:
        return _OfNeighbours()
    measures, dependence = measure_neighbours(teacher, side, own, student.voters, reading.settings, student.ranked)
    found = {
        "overlap_by_k": details.overlap_by_k(
            Lists(side, own, seed=reading.settings.seed),
            reading.reference_side(student.cloud.space.d),
            measures.get(OVERLAP.named(side.k)),
        ),
        "per_class": details.per_class(teacher, side, own, student.voters, dependence),
        "rank_quantiles": details.rank_quantiles(student.ranked, side, own),
        "worst_rows": details.worst_rows(side, own, student.pair, student.ranked),
    }
    return _OfNeighbours(measures, found, _alarms_of_neighbours(student, teacher, side, own))


def _alarms_of_rows(pair: Pair, student: Student, teacher: Teacher) -> list[Alarm]:
    profiles = teacher.cloud.profile, student.cloud.profile
    return [
        *alarms_of_pairing.pairing(pair),
        *alarms.packed_bits(pair),
        *alarms_of_pairing.same_file(pair, *profiles),
        *alarms.one_sided_normalisation(*profiles),
        *alarms.of_space("teacher", profiles[0], pair.teacher.dtype),
        *alarms.of_space("student", profiles[1], pair.student.dtype),
        *alarms.common_offset(*profiles),
        *alarms.few_rows(pair.teacher.n, max(pair.teacher.d, pair.student.d)),
    ]


def _alarms_of_neighbours(student: Student, teacher: Teacher, side: Side, own: Side) -> list[Alarm]:
    """A block in another order, hubs, copies."""
    terms = student.overlaps
    assert terms is not None
    expected = overlap.class_overlap(side.cosine, own.cosine, teacher.codes)
    expected = np.where(np.isnan(expected), overlap.overlap_chance(side.n, side.k), expected)
    classes = np.append(teacher.class_names.astype(str), "(no label)")[teacher.codes[side.queries]]
    # a zero vector keeps nothing wherever it stands, which is not the order's fault
    norms = teacher.cloud.profile.norms, student.cloud.profile.norms
    directed = (norms[0][side.queries] > 0) & (norms[1][side.queries] > 0)
    in_teacher, share = alarms.hubs("teacher", side.cosine, 0.0)
    in_student, _ = alarms.hubs("student", own.cosine, share)
    found = [
        *alarms_of_pairing.misaligned_block(*(part[directed] for part in (side.queries, terms, expected, classes))),
        *in_teacher,
        *in_student,
    ]
    if student.copies is not None:
        distinct, among = student.copies
        found += alarms.copied_rows(side.n, distinct, side.k, float(terms.mean()), among)
    return found


def _alarms_of_moments(
    student: Student, measures: dict[str, Measured], wider: float, rank: float | None
) -> list[Alarm]:
    """Rows that decide CKA, and a collapsed rank; ``rank`` is the reference's."""
    found = []
    for name, power in zip(("teacher", "student"), student.powers, strict=True):
        if name in student.far:
            rows, share, left = student.far[name]
            found += alarms.influential_rows(name, rows, share, measures[DEBIASED_CKA.key], left)
        found += alarms.heavy_tails(name, power, wider)
    if not {RANKME_TEACHER.key, RANKME_STUDENT.key} <= measures.keys():
        return found
    return found + alarms.collapsed_rank(measures[RANKME_TEACHER.key].value, measures[RANKME_STUDENT.key].value, rank)


def _dominating_dimension(student: Student, measures: dict[str, Measured], k: int) -> list[Alarm]:
    """One or a few dimensions that decide CKA or the overlap, on either side."""
    m, left, columns = student.moments, student.without_columns, student.columns
    if m is None or left is None or columns is None:
        return []
    sides = list(zip(("teacher", "student"), columns, without.held(m), strict=True))
    return alarms.dominating_dimension(sides, measures[DEBIASED_CKA.key].value, left, k, m.n)
