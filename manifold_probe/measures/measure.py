"""All measurements of pairs of spaces: two passes over the files, and the results of their summaries for each student.

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
from manifold_probe.engine.threads import Mapper, threads, threads_for
from manifold_probe.measures import alarms, alarms_of_pairing, details, overlap, without
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, RANKME_STUDENT, RANKME_TEACHER, Measure
from manifold_probe.measures.class_measures import class_rows
from manifold_probe.measures.from_moments import measure_moments
from manifold_probe.measures.from_neighbours import Lists, measure_neighbours
from manifold_probe.measures.maps import MIN_MAP_ROWS, layout, linked_maps, map_rows
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
        What to measure, by default `catalogue.MEASURES`. Summaries that no measure needs are not computed.
    maps : bool
        Also lay out both spaces in two dimensions: seconds for each student.
    progress : callable, optional
        Called as progress(stage, done, total) for the whole work.
    execute : Executor, optional
        Reads the spans of rows, by default in this process.

    Raises
    ------
    InputError
        Where k does not fit the rows, a value is NaN or infinite, or a measure is unknown or fails.
    """
    k = check_k(k, next(iter(pairs.values())).teacher.n)
    settings = Settings(k, queries, seed, tuple(chosen(measures, k)))
    with threads() as parallel:
        work = Work(pairs, settings, maps, silent if progress is None else progress)
        reading = Reading(pairs, settings, parallel)
        run = execute or in_this_process(parallel)
        reading.take_first(_read(reading.first(), run, work, "reading and searching"))
        reading.take_second(_read(reading.second(), run, work, "ranking neighbours"))
        teacher_map = (
            _teacher_layout(reading.teacher, seed, work) if maps and reading.teacher.side is not None else None
        )
        work.begin("measures and intervals")
        with threads_for(max(reading.cloud.space.d, *(s.cloud.space.d for s in reading.students.values()))):
            results = _results_of_pass(reading, parallel, work)
        return {name: _measured(name, reading, results[name], teacher_map, work) for name in reading.students}


def _read(work_pass: Pass, run: Executor, work: Work, stage: str) -> dict[str, Any]:
    """The results of one pass."""
    work.begin(stage)
    return read(work_pass, run, lambda rows: work.advance(rows / work_pass.n))


def _teacher_layout(teacher: Teacher, seed: int, work: Work) -> np.ndarray | None:
    """The teacher's map, from which every student's map starts; None for too few rows to draw."""
    work.begin("maps")
    positions = map_rows(teacher.queries, seed)
    return layout(teacher.cloud, teacher.queries[positions], seed) if len(positions) >= MIN_MAP_ROWS else None


@dataclass(frozen=True)
class _MomentResults:
    """Results from moments; ``wider`` is the factor by which heavy tails widen their errors."""

    measures: dict[str, Measured] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    wider: float = 1.0


@dataclass(frozen=True)
class _NeighbourResults:
    """Results from neighbour lists."""

    measures: dict[str, Measured] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    alarms: list[Alarm] = field(default_factory=list)


def _results_of_pass(
    reading: Reading, parallel: Mapper, work: Work
) -> dict[str, tuple[Reference, _MomentResults, _NeighbourResults]]:
    """The reference of every student, and its results from moments and neighbours, each on a separate thread."""
    widths = {name: student.cloud.space.d for name, student in reading.students.items()}
    tasks: list[Callable[[], Any]] = [partial(reading.reference, width) for width in sorted(set(widths.values()))]
    tasks += [
        partial(results_of, name, reading) for name in widths for results_of in (_moment_results, _neighbour_results)
    ]

    def made(make: Callable[[], Any]) -> Any:
        result = make()
        work.advance(1 / len(tasks))
        return result

    results = parallel(made, tasks)
    references = dict(zip(sorted(set(widths.values())), results, strict=False))
    pairs_of_results = iter(results[len(references) :])
    return {name: (references[width], next(pairs_of_results), next(pairs_of_results)) for name, width in widths.items()}


def _measured(
    name: str,
    reading: Reading,
    results: tuple[Reference, _MomentResults, _NeighbourResults],
    teacher_map: np.ndarray | None,
    work: Work,
) -> Measurement:
    """The measurement of one student."""
    reference, moment_results, neighbour_results = results
    student, teacher, settings = reading.students[name], reading.teacher, reading.settings
    pair, profiles = student.pair, (teacher.cloud.profile, student.cloud.profile)
    measures = moment_results.measures | neighbour_results.measures
    student_details = {"class_rows": class_rows(teacher), "norms": details.norms(*profiles)}
    student_details |= moment_results.details | neighbour_results.details
    if teacher_map is not None and teacher.side is not None and student.side is not None:
        work.begin("maps")
        rows = teacher.queries[map_rows(teacher.queries, settings.seed)]
        student_map = layout(student.cloud, rows, settings.seed, teacher_map)
        student_details["maps"] = linked_maps(
            teacher, teacher.side, teacher_map, student.side, student.cloud, student_map, pair, settings.seed
        )
    raised_alarms = [*_alarms_of_rows(pair, student, teacher), *neighbour_results.alarms]
    if student.moments is not None:
        raised_alarms += _alarms_of_moments(student, measures, moment_results.wider, reference.rank)
        raised_alarms += _dominating_dimension(student, measures, settings.k)
    kept = {
        key: replace(measure, reference=reference.values.get(key)) if measure.value is not None else measure
        for key, measure in measures.items()
        if key in settings.keys
    }
    user_measures = [measure for measure in settings.measures if measure.function is not None]
    kept |= measure_user_defined(
        user_measures, pair.teacher, pair.student, teacher.groups, teacher.group_count, settings.seed
    )
    return Measurement(kept, student_details, raised_alarms, teacher.class_source, teacher.class_names)


def _moment_results(name: str, reading: Reading) -> _MomentResults:
    """Results of one student from moments."""
    student, teacher = reading.students[name], reading.teacher
    m, parts = student.moments, student.parts
    if m is None or parts is None:
        return _MomentResults()
    wider = tail_factor(min(map(tail_index, student.powers)), len(parts))
    measures, by_dimension = measure_moments(m, parts, teacher, student.cloud, reading.settings, wider)
    moment_details = {
        "spectra": details.spectra(m, teacher, student.cloud.profile),
        "per_dimension": details.per_dimension(by_dimension),
    }
    return _MomentResults(measures, moment_details, wider)


def _neighbour_results(name: str, reading: Reading) -> _NeighbourResults:
    """Results of one student from neighbour lists."""
    student, teacher = reading.students[name], reading.teacher
    teacher_side, student_side = teacher.side, student.side
    if teacher_side is None or student_side is None:
        return _NeighbourResults()
    measures, dependence = measure_neighbours(
        teacher, teacher_side, student_side, student.voters, reading.settings, student.ranked
    )
    neighbour_details = {
        "overlap_by_k": details.overlap_by_k(
            Lists(teacher_side, student_side, seed=reading.settings.seed),
            reading.reference_side(student.cloud.space.d),
            measures.get(OVERLAP.named(teacher_side.k)),
        ),
        "per_class": details.per_class(teacher, teacher_side, student_side, student.voters, dependence),
        "rank_quantiles": details.rank_quantiles(student.ranked, teacher_side, student_side),
        "worst_rows": details.worst_rows(teacher_side, student_side, student.pair, student.ranked),
    }
    return _NeighbourResults(
        measures, neighbour_details, _alarms_of_neighbours(student, teacher, teacher_side, student_side)
    )


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


def _alarms_of_neighbours(student: Student, teacher: Teacher, teacher_side: Side, student_side: Side) -> list[Alarm]:
    """Alarms of a block in another order, of hubs and of copies."""
    terms = student.overlaps
    assert terms is not None
    expected = overlap.class_overlap(teacher_side.cosine, student_side.cosine, teacher.codes)
    expected = np.where(np.isnan(expected), overlap.overlap_chance(teacher_side.n, teacher_side.k), expected)
    classes = np.append(teacher.class_names.astype(str), "(no label)")[teacher.codes[teacher_side.queries]]
    # a zero vector keeps no neighbours in any order
    norms = teacher.cloud.profile.norms, student.cloud.profile.norms
    directed = (norms[0][teacher_side.queries] > 0) & (norms[1][teacher_side.queries] > 0)
    in_teacher, share = alarms.hubs("teacher", teacher_side.cosine, 0.0)
    in_student, _ = alarms.hubs("student", student_side.cosine, share)
    raised = [
        *alarms_of_pairing.misaligned_block(
            *(part[directed] for part in (teacher_side.queries, terms, expected, classes))
        ),
        *in_teacher,
        *in_student,
    ]
    if student.copies is not None:
        distinct, among = student.copies
        raised += alarms.copied_rows(teacher_side.n, distinct, teacher_side.k, float(terms.mean()), among)
    return raised


def _alarms_of_moments(
    student: Student, measures: dict[str, Measured], wider: float, rank: float | None
) -> list[Alarm]:
    """Alarms of rows that decide CKA, heavy tails and a collapsed rank; ``rank`` is the reference's."""
    raised = []
    for name, power in zip(("teacher", "student"), student.powers, strict=True):
        if name in student.far:
            rows, share, cka_without = student.far[name]
            raised += alarms.influential_rows(name, rows, share, measures[DEBIASED_CKA.key], cka_without)
        raised += alarms.heavy_tails(name, power, wider)
    if not {RANKME_TEACHER.key, RANKME_STUDENT.key} <= measures.keys():
        return raised
    return raised + alarms.collapsed_rank(measures[RANKME_TEACHER.key].value, measures[RANKME_STUDENT.key].value, rank)


def _dominating_dimension(student: Student, measures: dict[str, Measured], k: int) -> list[Alarm]:
    """Alarm of one or a few dimensions that decide CKA or the overlap, on either side."""
    m, remeasured, columns = student.moments, student.without_columns, student.columns
    if m is None or remeasured is None or columns is None:
        return []
    sides = list(zip(("teacher", "student"), columns, without.held(m), strict=True))
    return alarms.dominating_dimension(sides, measures[DEBIASED_CKA.key].value, remeasured, k, m.n)
