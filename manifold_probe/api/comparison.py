"""``compare``: how faithfully a student kept its teacher's manifold; of arrays, files, runs and partial files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack, overload

from manifold_probe.api.arguments import (
    MEASURES,
    MODEL,
    Notify,
    Number,
    OnProgress,
    PerChannel,
    check_settings,
    model_options,
)
from manifold_probe.api.documents import (
    changed_by_index,
    comparison_document,
    comparisons_document,
    findings,
    run_of,
    training_alarms,
    training_of,
)
from manifold_probe.api.provenance import describe_input, provenance_of
from manifold_probe.api.results import Comparison, Comparisons
from manifold_probe.engine.executors import check_executor, on_dask
from manifold_probe.errors import InputError
from manifold_probe.extraction.sides import features_of_models
from manifold_probe.measures.request import Opened, Request, check_rows
from manifold_probe.parts import Parts, Progress, silent
from manifold_probe.spaces.pairing import Pair
from manifold_probe.spaces.values import is_one_space


class CompareOptions(TypedDict, total=False):
    """The keyword arguments of `compare`, for type checkers."""

    labels: Any
    ids: Any
    k: int
    queries: int
    seed: int
    positional: bool
    allow_missing: bool
    unlabelled: Any
    ignore_labels: bool
    keep_first: bool
    rows: str | None
    measures: Sequence[Any] | None
    maps: bool
    diagnose: bool
    executor: str | None
    data: Any
    size: Number | None
    mean: PerChannel | None
    std: PerChannel | None
    pool: str | None
    batch_size: int | None
    notify: Notify | None
    progress: OnProgress | None


class FeatureDict(TypedDict, total=False):
    """A dict that is one space, for type checkers; every other dict with names as keys is a dict of students."""

    features: Any
    embeddings: Any
    ids: Any
    labels: Any
    logits: Any


@overload
def compare(teacher: Any, student: FeatureDict, **options: Unpack[CompareOptions]) -> Comparison: ...
@overload
def compare(teacher: Any, student: Mapping[str, Any], **options: Unpack[CompareOptions]) -> Comparisons: ...
@overload
def compare(teacher: Any, student: Any, **options: Unpack[CompareOptions]) -> Comparison: ...
def compare(
    teacher: Any,
    student: Any,
    *,
    labels: Any = None,
    ids: Any = None,
    k: int = 10,
    queries: int = 5000,
    seed: int = 0,
    positional: bool = False,
    allow_missing: bool = False,
    unlabelled: Any = (),
    ignore_labels: bool = False,
    keep_first: bool = False,
    rows: str | None = None,
    measures: Sequence[Any] | None = None,
    maps: bool = False,
    diagnose: bool = False,
    executor: str | None = None,
    data: Any = None,
    size: Number | None = None,
    mean: PerChannel | None = None,
    std: PerChannel | None = None,
    pool: str | None = None,
    batch_size: int | None = None,
    notify: Notify | None = None,
    progress: OnProgress | None = None,
) -> Comparison | Comparisons:
    """Measure how faithfully a student, or each of several, kept its teacher's embedding manifold.

    Parameters
    ----------
    teacher : path, (n, d) array, tensor, list, DataFrame, dict ``{"features": x, "ids": ids}`` or Space
        All that `manifold_probe.spaces.as_space` takes. A path may name the array in its file: "features.npz::layer4".
        Or a model source such as "timm:resnet18", with ``data``.
    student : the same, or a dict of named students
        The student may have another width; rows pair by id where both have ids, else by position. A dict is one student
        where it has an array under "features", "embeddings", "ids", "labels" or "logits", or where all its values are
        vectors ``{id: vector}``; else every value is a student of that name. Type checkers see names and no values: to
        them ``{id: vector}`` is a dict of students, unless it is given as ``manifold_probe.spaces.as_space(vectors)``.
    labels : sequence of length n, path, or table with ids, optional
        Class labels (integers or strings) in the teacher's row order, or joined by id. By default the teacher's file's.
        Rows without one (None, NaN, "", -1 where no other integer is negative, ids that the table lacks) are left out
        of the class measures and counted.
    ids : sequence of length n or path, or a pair of these, optional
        Row ids for both, or (teacher's, student's); they replace those in the files.
    k : int
        Neighbours of each point.
    queries : int
        Rows whose neighbours are looked up, among all rows, where there are more rows than that.
    seed : int
        Seed of everything drawn at random.
    positional : bool
        Pair by position and ignore the ids.
    allow_missing : bool
        Go on with the rows that found a partner.
    unlabelled : label or labels, optional
        Further labels that mean "no label", such as 255 or "unknown".
    ignore_labels : bool
        Go on as if the features came without labels; ``labels`` still count.
    keep_first : bool
        Where one id stands on several identical rows, as the copies do that a distributed sampler adds, keep the first.
    rows : str, optional
        How sets of vectors (n, N, d) become rows: "tokens" (each token a row; ids and labels are those of its set),
        "cls" (the first token of each) or "mean".
    measures : list of keys or `manifold_probe.Measure` declarations, optional
        What to measure, by default all of `manifold_probe.MEASURES`: ``["overlap@10", "debiased_linear_cka"]`` computes
        these only, ``[*MEASURES, mine]`` also a measure that you wrote.
    maps : bool
        Also lay out 2,000 rows of both spaces with UMAP, for the maps of page and figures: seconds for each student.
    diagnose : bool
        Also account for the whole loss of each student and search for its causes, as `diagnose` does: the result's
        ``diagnosis``.
    executor : str, optional
        Who reads the rows: "dask" for several processes on this machine, "dask://HOST:PORT" for the workers of a
        running cluster, which read the files under the same paths. The result is the same, bit by bit.
    data : path, optional
        What models see, as for `extract`. Features are extracted once, into ``probe-features``.
    size, mean, std, pool, batch_size : optional
        With ``data``: as for `extract`.
    notify : callable, optional
        Called with one sentence about each thing worth knowing of an extraction.
    progress : callable, optional
        Called as ``progress(stage, done, total)``, ``done`` of ``total`` parts of the whole work.

    Returns
    -------
    Comparison, or Comparisons for a dict of students

    Raises
    ------
    InputError
        When something given cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> teacher = np.random.default_rng(0).normal(size=(200, 8))
    >>> compare(teacher, teacher[:, :4], k=5).measures["overlap@5"].chance < 0.03
    True
    """
    check_settings(k, queries, seed)
    check_executor(executor)
    several = isinstance(student, Mapping) and not is_one_space(student, "student")
    named = named_students(student) if several else {"student": student}
    parts = Parts(progress, {"features": MODEL, "comparison": 2 * MEASURES if diagnose else MEASURES})
    options = model_options(size, mean, std, pool, batch_size)
    # "" is the teacher: no student has that name
    sides = features_of_models({"": teacher, **named}, data, options, notify or silent, parts["features"])
    teacher = sides.pop("")
    rules = (unlabelled, ignore_labels, positional, allow_missing, keep_first, rows)
    request = Request(teacher, sides, labels, ids, *rules)
    settings = {"k": int(k), "queries": int(queries), "seed": int(seed)}
    plan = _Plan(settings, several, measures=measures, maps=maps, diagnose=diagnose, progress=parts["comparison"])
    sent = request.to_text() if executor else ""
    opened = request.open()
    plan.check(opened)
    if executor is None:
        return plan.result(opened)
    from manifold_probe.measures.reading import spaces_of_text

    with on_dask(executor, sent, spaces_of_text) as execute:
        return plan.result(opened, executor, execute)


@dataclass(frozen=True)
class _Plan:
    """What is to be measured of pairs, and the result made of it."""

    settings: dict[str, int]  # k, queries, seed
    several: bool  # a dict of students was given
    measures: Sequence[Any] | None = None
    maps: bool = False
    diagnose: bool = False
    progress: Progress | None = None

    def check(self, opened: Opened) -> None:
        """Refuse pairs that do not fit the settings, and those that cannot be diagnosed. Raises InputError."""
        check_rows(opened.pairs, self.settings)
        if not self.diagnose:
            return
        from manifold_probe.diagnosis.of_pair import check_count, check_measures
        from manifold_probe.measures.user_defined import chosen

        k = self.settings["k"]
        check_measures([measure.named(k) for measure in chosen(self.measures, k)], k)
        for pair in opened.pairs.values():
            check_count(pair, k)

    def result(self, opened: Opened, executor: str = "serial", execute: Any = None) -> Comparison | Comparisons:
        """Measure the students; the result of all, or of the only one. ``execute`` reads the rows."""
        from manifold_probe.measures.measure import measure_students

        parts = Parts(self.progress, {"measures": 1.0, "diagnosis": 1.0 if self.diagnose else 0.0})
        how: dict[str, Any] = {
            "measures": self.measures,
            "maps": self.maps,
            "progress": parts["measures"],
            "execute": execute,
        }
        measurements = measure_students(opened.pairs, **self.settings | how)
        provenance = provenance_of(self.settings["seed"])
        teacher = describe_input(opened.teacher, None)
        made = {}
        for name, measurement in measurements.items():
            student = describe_input(opened.students[name], name if self.several else None)
            settings = self.settings | {"executor": executor}
            inputs = {"teacher": teacher, "student": student}
            made[name] = comparison_document(opened.pairs[name], measurement, inputs, settings, provenance)
            _add_origins(made[name], opened, name)
        if self.diagnose:
            _add_diagnoses(made, opened.pairs, self.settings["seed"], parts["diagnosis"])
        if self.several:
            return Comparisons(comparisons_document(made, measurements))
        return Comparison(next(iter(made.values())))


def _add_origins(document: dict[str, Any], opened: Opened, name: str) -> None:
    """Put into a student's document what its folder says: other preprocessing than the teacher's, and its training."""
    from manifold_probe.extraction.agree import different_preprocessing

    student = opened.students[name]
    for sentence in different_preprocessing(opened.teacher.source.path, student.source.path):
        document["alarms"].append({"code": "different_preprocessing", "message": sentence})
    document["alarms"] += changed_by_index(opened.teacher, student)
    run = run_of(student)
    if run is not None:
        training = training_of(run, student, opened.pairs[name].student.ids)
        document["details"]["training"] = training
        document["alarms"] += training_alarms(training, {alarm["code"] for alarm in document["alarms"]})


def _add_diagnoses(made: dict[str, dict[str, Any]], pairs: dict[str, Pair], seed: int, progress: Progress) -> None:
    """Put every student's diagnosis into its document, where it can be diagnosed."""
    from manifold_probe.diagnosis.diagnose import Asked
    from manifold_probe.diagnosis.of_pair import NEEDED, parts_of

    parts = Parts(progress, dict.fromkeys(made, 1.0))
    for name, document in made.items():
        k, measures = document["settings"]["k"], document["measures"]
        needed = {measure.named(k): measures[measure.named(k)] for measure in NEEDED}
        if any(measure["value"] is None for measure in needed.values()):  # as of a student that holds one vector
            why = "overlap or CKA is undefined for this student; see the notes of its measures"
            document["alarms"].append({"code": "not_diagnosed", "message": why})
            continue
        found, _ = parts_of(pairs[name], Asked(k=k, seed=seed), needed, parts[name])
        document["diagnosis"] = findings(found, measures, k, document["inputs"]["student"]["shape"][1])


def named_students(students: Mapping[Any, Any]) -> dict[str, Any]:
    """A dict of students, checked. Raises InputError for none, and for a name that is no text."""
    if not students:
        raise InputError("student: the dict of students is empty; give at least one name and its features")
    for name in students:
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"student: {name!r} is no name; name every student by a string")
    return dict(students)


def merged(
    paths: Sequence[str | Path],
    *,
    second_round: str | Path | None = None,
    notify: Notify | None = None,
    progress: OnProgress | None = None,
) -> Comparison | Comparisons | None:
    """The comparison that the partial files of several machines give together (``probe partial``).

    Parameters
    ----------
    paths : list of path
        All parts of the first round; or the merged file of the first round and all parts of the second.
    second_round : path, optional
        Where the rows must be read again, write what other machines need for that, and give None. By default they are
        read here.
    notify : callable, optional
        Called with one sentence where rows are read here.
    progress : callable, optional
        Called as ``progress(stage, done, total)``.

    Returns
    -------
    Comparison, Comparisons where several students were given, or None

    Raises
    ------
    InputError
        Where a part is missing, is there twice or belongs to another comparison, naming it; where the files here are
        not those that the parts were made from.
    """
    from manifold_probe.engine.partial import FromPartials, SecondPassNeeded
    from manifold_probe.engine.passes import in_this_process
    from manifold_probe.engine.threads import threads
    from manifold_probe.measures import shared_out

    merging = shared_out.merged(paths)
    opened = merging.request.open()
    shared_out.check_unchanged(merging, opened.pairs)
    settings = {name: merging.settings[name] for name in ("k", "queries", "seed")}
    plan = _Plan(settings, merging.several, merging.settings["measures"], progress=progress)
    with threads() as pool:
        execute = FromPartials(merging.passes, None if second_round else in_this_process(pool), notify)
        try:
            return plan.result(opened, "partial files", execute)
        except SecondPassNeeded as needed:
            assert second_round is not None
            shared_out.save_merged(second_round, merging, needed.first)
            return None
