"""``compare``, ``diagnose`` and ``load``, and the results they return.

A result is its JSON document (see ``manifold_probe.report.document``) with a few ways to look at it, so that one loaded
from a file answers the same questions as one just measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from manifold_probe.engine.executors import check_executor, on_dask
from manifold_probe.engine.inputs import as_whole
from manifold_probe.errors import InputError
from manifold_probe.measures.request import Opened, Request, check_rows
from manifold_probe.parts import Parts, Progress
from manifold_probe.report import document as documents
from manifold_probe.report.diagnosis.result import Diagnosis
from manifold_probe.report.document import Reading
from manifold_probe.report.provenance import describe_input, provenance_of
from manifold_probe.report.result import Result
from manifold_probe.spaces.given import TABLE_SLICES, labels_with_ids
from manifold_probe.spaces.pairing import Pair
from manifold_probe.spaces.space import Space
from manifold_probe.spaces.values import is_one_space

if TYPE_CHECKING:
    from manifold_probe.diagnosis.training import Training

SAID_OF_SLICES = (  # what pairing says of labels, which these are to it
    ("labels hold", "slices hold"),
    ("but the labels have", "but the slices have"),
    ("or give labels in", "or give slices in"),
)


class Comparison(Result):
    """How faithfully one student kept its teacher's manifold.

    Examples
    --------
    >>> import numpy as np
    >>> teacher = np.random.default_rng(0).normal(size=(200, 8))
    >>> comparison = compare(teacher, teacher + 0.1, k=5)
    >>> comparison.measures["debiased_linear_cka"].value > 0.999
    True
    """

    @property
    def measures(self) -> dict[str, Reading]:
        """Measures by key, such as ``measures["overlap@10"].value``; also ``.low``, ``.high``, ``.chance``,
        ``.class_chance``, ``.reference``, ``.n``, ``.metric``, ``.note``."""
        return documents.readings(self._document)

    @property
    def details(self) -> dict[str, Any]:
        """What figures are drawn from: ``overlap_by_k``, ``spectra``, ``per_class``, ``worst_rows`` and others,
        with ``maps`` where they were asked for."""
        return self._document["details"]

    @property
    def alarms(self) -> list[dict[str, str]]:
        """What in the data would mislead a reader: ``{"code", "message"}`` each."""
        return self._document["alarms"]

    @property
    def inputs(self) -> dict[str, Any]:
        """Name, path, sha256, shape, dtype and key of ``teacher`` and ``student``."""
        return self._document["inputs"]

    @property
    def pairing(self) -> dict[str, Any]:
        """How the rows were paired: ``by``, ``rows``, ``coverage``, ``verified``."""
        return self._document["pairing"]

    @property
    def diagnosis(self) -> Diagnosis | None:
        """Where the loss went and why, with ``compare(..., diagnose=True)``; else None."""
        from manifold_probe.report.diagnosis.document import of_comparison

        found = of_comparison(self.to_dict())
        return None if found is None else Diagnosis(found)

    def __repr__(self) -> str:
        from manifold_probe.report.verdict import verdict

        return f"<Comparison: {verdict(self._document)}>"


class Comparisons(Result, Mapping[str, Comparison]):
    """Several students of one teacher: a mapping from name to `Comparison`, and the paired differences.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> teacher = rng.normal(size=(200, 8))
    >>> both = compare(teacher, {"near": teacher + 0.1, "far": rng.normal(size=(200, 8))}, k=5)
    >>> both["near"].measures["overlap@5"].value > both["far"].measures["overlap@5"].value
    True
    >>> [row["low"] > 0 for row in both.differences if row["measure"] == "overlap@5"]
    [True]
    """

    def __getitem__(self, name: str) -> Comparison:
        return Comparison(self._document["students"][name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._document["students"])

    def __len__(self) -> int:
        return len(self._document["students"])

    @property
    def differences(self) -> list[dict[str, Any]]:
        """Paired differences a - b of every measure: ``{"measure", "a", "b", "value", "low", "high"}`` each."""
        return self._document["differences"]

    def __repr__(self) -> str:
        return f"<Comparisons of {', '.join(self)}>"


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
    measures: Any = None,
    maps: bool = False,
    diagnose: bool = False,
    executor: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Any:
    """Measure how faithfully a student, or each of several, kept its teacher's embedding manifold.

    Parameters
    ----------
    teacher : path, (n, d) array, tensor, list, DataFrame, dict ``{"features": x, "ids": ids}`` or Space
        Whatever `manifold_probe.spaces.as_space` takes. A path may name the array in its file: "features.npz::layer4".
    student : the same, or a dict of named students
        The student may have another width; rows pair by id where both have ids, else by position. A dict is one student
        where it has an array under "features", "embeddings", "ids", "labels" or "logits", or where all its values are
        vectors ``{id: vector}``; else every value is a student of that name.
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
        Pair by position whatever the ids say.
    allow_missing : bool
        Go on with the rows that found a partner.
    unlabelled : label or labels, optional
        Further labels that mean "no label", such as 255 or "unknown".
    ignore_labels : bool
        Go on as if the features came without labels; ``labels`` still count.
    keep_first : bool
        Where one id stands on several identical rows, as the copies do that a distributed sampler adds, keep the first.
    measures : list of keys or `manifold_probe.Measure` declarations, optional
        What to measure, by default all of `manifold_probe.MEASURES`: ``["overlap@10", "debiased_linear_cka"]`` computes
        these only, ``[*MEASURES, mine]`` a measure of your own too.
    maps : bool
        Also lay out 2,000 rows of both spaces with UMAP, for the maps among the figures: seconds for each student.
    diagnose : bool
        Also account for the whole loss and look for its causes, as `diagnose` does, of each student: the result's
        ``diagnosis``.
    executor : str, optional
        Who reads the rows: "dask" for several processes on this machine, "dask://HOST:PORT" for the workers of a
        running cluster, which read the files under the same paths. The result is the same, bit by bit.
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
    named = _named_students(student) if several else {"student": student}
    request = Request(teacher, named, labels, ids, unlabelled, ignore_labels, positional, allow_missing, keep_first)
    sent = request.to_text() if executor else ""
    opened = request.open()
    settings = {"k": int(k), "queries": int(queries), "seed": int(seed)}
    check_rows(opened.pairs, settings)
    if diagnose:
        _check_diagnosable(opened, settings["k"], measures)
    if executor is None:
        return measured(opened, settings, several, measures=measures, maps=maps, diagnose=diagnose, progress=progress)
    from manifold_probe.measures.reading import spaces_of_text

    with on_dask(executor, sent, spaces_of_text) as execute:
        return measured(
            opened,
            settings,
            several,
            executor,
            measures=measures,
            maps=maps,
            diagnose=diagnose,
            progress=progress,
            execute=execute,
        )


def _check_diagnosable(opened: Opened, k: int, measures: Any) -> None:
    """Refuse, before any work, students that cannot be diagnosed beside their comparison. Raises InputError."""
    from manifold_probe.measures.user_defined import chosen
    from manifold_probe.report.diagnosis.make import check_count, check_measures

    check_measures([each.named(k) for each in chosen(measures, k)], k)
    for pair in opened.pairs.values():
        check_count(pair, k)


def merged(
    paths: Sequence[str | Path],
    *,
    second_round: str | Path | None = None,
    tell: Callable[[str], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Any:
    """The comparison that the partial files of several machines give together (``probe partial``).

    Parameters
    ----------
    paths : list of path
        All parts of the first round; or the merged file of the first round and all parts of the second.
    second_round : path, optional
        Where the rows must be read again, write what other machines need for that, and give None. By default they are
        read here.
    tell : callable, optional
        Told in one sentence that rows are read here.
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
    options = {"measures": merging.settings["measures"], "progress": progress}
    with threads() as each:
        execute = FromPartials(merging.passes, None if second_round else in_this_process(each), tell)
        try:
            return measured(opened, settings, merging.several, "partial files", **options, execute=execute)
        except SecondPassNeeded as needed:
            assert second_round is not None
            shared_out.save_merged(second_round, merging, needed.first)
            return None


def diagnose(
    teacher: Any,
    student: Any = None,
    *,
    labels: Any = None,
    slices: Any = None,
    ids: Any = None,
    k: int = 10,
    queries: int = 5000,
    seed: int = 0,
    positional: bool = False,
    allow_missing: bool = False,
    unlabelled: Any = (),
    ignore_labels: bool = False,
    keep_first: bool = False,
    student_head: Any = None,
    train_ids: Any = None,
    train_teacher: Any = None,
    train_student: Any = None,
    log: Any = None,
    classes_trained: Any = None,
    causes: Sequence[Any] | None = None,
    data: Any = None,
    size: Any = None,
    mean: Any = None,
    std: Any = None,
    pool: str | None = None,
    batch_size: int | None = None,
    tell: Callable[[str], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Diagnosis:
    """Say where a student lost its teacher's neighbourhoods, and why, each cause with its proof.

    Parameters
    ----------
    teacher, student : path, (n, d) array or tensor, DataFrame or Space
        As for `compare`; one student. Either may be a model source such as "timm:resnet18", with ``data``. Without a
        student ``teacher`` is the folder of a run of our trainer, finished or not, which knows all the rest.
    labels : sequence of length n, path, or table with ids, optional
        Class labels, as for `compare`.
    slices : the same, optional
        Another grouping of the rows, in a column "slice" or "slices": it is looked at as the classes are, for slices
        that failed alone.
    ids, k, queries, seed, positional, allow_missing, unlabelled, ignore_labels, keep_first
        As for `compare`.
    student_head : as ``student``, optional
        The features of the student's head, where ``student`` are those of its backbone: does it keep more?
    train_ids : sequence or path, optional
        Ids of rows that the student was trained on: are they kept better than the others?
    train_teacher, train_student : as ``teacher`` and ``student``, optional
        Instead of ids: features of rows that were trained on, which are not among those that are diagnosed.
    log : path of a .csv or .jsonl, list of (step, loss), or DataFrame, optional
        The training's log: did the loss still fall when it stopped, did it rise, was it flat?
    classes_trained : "a,b,c", path of a file with a name a line, or sequence, optional
        Classes that the student was trained on: are the others kept worse?
    causes : sequence of `manifold_probe.diagnosis.Cause`, optional
        What to look for, by default `manifold_probe.diagnosis.CAUSES`: ``[*CAUSES, mine]`` adds one of your own.
    data : path, optional
        What models see, as for ``probe extract``. Features are extracted once, into ``probe-features``; the student's
        model is then tried under changed conditions, a few hundred rows each.
    size, mean, std, pool, batch_size : optional
        With ``data``: as for ``probe extract``.
    tell : callable, optional
        Told in one sentence what an extraction comes upon.
    progress : callable, optional
        Called as ``progress(stage, done, total)``.

    Returns
    -------
    Diagnosis

    Raises
    ------
    InputError
        When something given cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> teacher = np.random.default_rng(0).normal(size=(300, 8))
    >>> diagnosis = diagnose(teacher, teacher + 40)
    >>> diagnosis.causes[0].name
    'offset'
    """
    from manifold_probe.diagnosis import given
    from manifold_probe.diagnosis.causes import CAUSES
    from manifold_probe.diagnosis.diagnose import Asked
    from manifold_probe.extraction.sides import features_of_models
    from manifold_probe.parts import Parts, silent
    from manifold_probe.report.diagnosis.make import made

    check_settings(k, queries, seed)
    found: Training | None
    training = {"train_ids": train_ids, "train_teacher": train_teacher, "train_student": train_student}
    training |= {"log": log, "classes_trained": classes_trained}
    options = {"size": size, "mean": mean, "std": std, "pooling": pool, "batch_size": batch_size}
    parts = Parts(progress, {"features": 1, "diagnosis": 3})
    if student is None:
        known = {"ids": ids, "student_head": student_head, "data": data, **training, **options}
        known |= {"positional": positional or None, "allow_missing": allow_missing or None}
        _refuse_beside_run(teacher, known | {"keep_first": keep_first or None})
        of_labels = {"labels": labels, "unlabelled": unlabelled, "ignore_labels": ignore_labels}
        opened, found = given.of_run(teacher, int(k), **of_labels, tell=tell or silent, progress=parts["features"])
    else:
        sides = {"teacher": teacher, "student": student}
        files = features_of_models(sides, data, options, tell or silent, parts["features"])
        students = {"student": files["student"]} | ({} if student_head is None else {"student_head": student_head})
        rules = (labels, ids, unlabelled, ignore_labels, positional, allow_missing, keep_first)
        opened = Request(files["teacher"], students, *rules).open()
        head = opened.pairs.get("student_head")
        told = given.training_given(opened.pairs["student"], head, **training, positional=positional)
        found = given.with_models(told, sides, data, options, opened)
    asked = Asked(
        k=int(k),
        queries=int(queries),
        seed=int(seed),
        causes=CAUSES if causes is None else causes,
        slices=None if slices is None else _slices(slices, opened.teacher, ids, opened.again),
        training=found,
    )
    inputs = {"teacher": describe_input(opened.teacher, None)}
    inputs |= {name: describe_input(each, None) for name, each in opened.students.items()}
    return made(opened.pairs["student"], asked, inputs, parts["diagnosis"])


def _refuse_beside_run(folder: Any, given: Mapping[str, Any]) -> None:
    """Refuse a run that is no path, and what a run knows itself. Raises InputError."""
    if not isinstance(folder, str | Path):
        raise InputError("student: missing; give the student's features too, or the folder of a run alone")
    for name, value in given.items():
        if value is not None:
            raise InputError(f"{name.replace('_', ' ')}: is known of the run {folder}; leave it out")


def compare_run(folder: str | Path, *, progress: Callable[[str, int, int], None] | None = None) -> Any:
    """The student of a finished training run against its teacher: at the backbone and, where there is one, at the head.

    Measured are the rows that were held out of training, or all rows where none were. ``details["training"]`` says how
    many of the rows were trained on and what training won over the untrained student; where it won nothing, there is
    the alarm ``no_better_than_untrained``.

    Returns
    -------
    Comparison, or Comparisons of "backbone" and "head"

    Raises
    ------
    InputError
        Where the folder holds no finished run, or the teacher's features are gone.
    """
    from manifold_probe.distillation.run_folder import RunFolder

    sides = RunFolder(folder).sides()
    rows = np.arange(sides.backbone.n) if sides.trained.all() else np.flatnonzero(~sides.trained)
    students = {"backbone": sides.backbone.select(rows)}
    if sides.head is not None:
        students["head"] = sides.head.select(rows)
    labels = None if sides.backbone.labels is None else sides.backbone.labels[rows]
    teacher = sides.teacher.select(rows)
    found = compare(teacher, students, labels=labels, positional=sides.positional, progress=progress)
    return found if sides.head is not None else found["backbone"]


def load(path: str | Path) -> Any:
    """A saved result (.json) as `Comparison`, `Comparisons` or `Diagnosis`, or a file of features as a `Space`.

    Raises
    ------
    InputError
        When the file is neither, or damaged.
    """
    if not isinstance(path, str | Path):
        raise InputError(f"load: a {type(path).__name__} is no path; give the path of a saved result or of features")
    if Path(path).suffix.lower() == ".json":
        from manifold_probe.report.diagnosis.document import read_diagnosis

        diagnosis = read_diagnosis(path)
        if diagnosis is not None:
            return Diagnosis(diagnosis)
        return of_document(documents.read_document(path))
    from manifold_probe.spaces.read import read

    return read(str(path))


def of_document(document: dict[str, Any]) -> Comparison | Comparisons:
    """The result that a JSON document is."""
    return Comparisons(document) if document["schema"] == documents.SEVERAL else Comparison(document)


def check_settings(k: Any, queries: Any, seed: Any) -> None:
    """Refuse what no comparison can be run with.

    Raises
    ------
    InputError
        For a k or queries too small, a seed that is negative or beyond 32 bits, and what is no whole number.
    """
    for name, value, least, most in (
        ("k", k, 1, 2**31),
        ("queries", queries, 2, 2**31),
        ("seed", seed, 0, 2**32),
    ):
        whole = as_whole(value)
        if whole is None or not least <= whole < most:
            raise InputError(f"{name} is {value!r}; give a whole number of at least {least} and below {most:,}")


def _named_students(students: Mapping[Any, Any]) -> dict[str, Any]:
    if not students:
        raise InputError("student: the dict of students is empty; give at least one name and its features")
    for name in students:
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"student: {name!r} is no name; name every student by a string")
    return dict(students)


def _slices(slices: Any, teacher: Space, ids: Any, again: Callable[..., dict[str, Pair]]) -> np.ndarray:
    """A slice for every paired row; ``again`` pairs once more, with other labels."""
    values, values_ids = labels_with_ids(slices, teacher, ids, TABLE_SLICES, "slices")
    try:
        found = next(iter(again(labels=values, labels_ids=values_ids).values())).labels
    except InputError as error:
        text = str(error)
        for there, here in SAID_OF_SLICES:
            text = text.replace(there, here)
        raise InputError(f"slices: {text.removeprefix('labels: ')}") from error
    if found is None:
        raise InputError("slices: no row has one; give slices of some rows")
    return found


def measured(
    opened: Opened,
    settings: dict[str, Any],
    several: bool,
    executor: str = "serial",
    *,
    diagnose: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
    **options: Any,
) -> Comparison | Comparisons:
    """The result of all students, or of the only one; ``options`` are those of `measure_students`."""
    from manifold_probe.extraction.agree import different_preprocessing
    from manifold_probe.measures.measure import measure_students
    from manifold_probe.report.training import run_of, training_alarms, training_of

    pairs, teacher, students = opened.pairs, opened.teacher, opened.students
    watched = Parts(progress, {"measures": 1.0, "diagnosis": 1.0 if diagnose else 0.0})
    measurements = measure_students(pairs, **settings, **options, progress=watched["measures"])
    provenance = provenance_of(settings["seed"])
    teacher_input = describe_input(teacher, None)
    made = {
        name: documents.comparison_document(
            pairs[name],
            measurement,
            {"teacher": teacher_input, "student": describe_input(students[name], name if several else None)},
            settings | {"executor": executor},
            provenance,
        )
        for name, measurement in measurements.items()
    }
    for name, document in made.items():
        for sentence in different_preprocessing(teacher.source.path, students[name].source.path):
            document["alarms"].append({"code": "different_preprocessing", "message": sentence})
        run = run_of(students[name])
        if run is not None:
            document["details"]["training"] = training_of(run, students[name], pairs[name].student.ids)
            raised = {alarm["code"] for alarm in document["alarms"]}
            document["alarms"] += training_alarms(document["details"]["training"], raised)
    if diagnose:
        _diagnose_each(made, pairs, settings["seed"], watched["diagnosis"])
    if several:
        return Comparisons(documents.comparisons_document(made, measurements))
    return Comparison(next(iter(made.values())))


def _diagnose_each(made: dict[str, dict[str, Any]], pairs: dict[str, Pair], seed: int, progress: Progress) -> None:
    """Put every student's diagnosis into its comparison, where it can be diagnosed."""
    from manifold_probe.report.diagnosis.make import within_comparison

    each = Parts(progress, dict.fromkeys(made, 1.0))
    for name, document in made.items():
        found = within_comparison(pairs[name], document, seed, each[name])
        if found is None:
            why = "overlap or CKA is undefined for this student; see the notes of its measures"
            document["alarms"].append({"code": "not_diagnosed", "message": why})
        else:
            document["diagnosis"] = found
