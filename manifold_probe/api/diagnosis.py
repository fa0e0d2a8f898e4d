"""``diagnose``: where a student lost its teacher's neighbourhoods, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from manifold_probe.api.arguments import (
    MODEL,
    Notify,
    Number,
    OnProgress,
    PerChannel,
    check_settings,
    model_options,
)
from manifold_probe.api.documents import diagnosis_document
from manifold_probe.api.provenance import describe_input
from manifold_probe.api.results import Diagnosis
from manifold_probe.errors import InputError
from manifold_probe.extraction.sides import features_of_models
from manifold_probe.measures.request import Opened, Request
from manifold_probe.parts import Parts, silent
from manifold_probe.spaces.given import TABLE_SLICES, labels_with_ids
from manifold_probe.spaces.pairing import Pair
from manifold_probe.spaces.space import Space

if TYPE_CHECKING:
    from manifold_probe.diagnosis.training import Training

SAID_OF_SLICES = (  # what pairing says of labels, and what that means of slices
    ("labels hold", "slices hold"),
    ("but the labels have", "but the slices have"),
    ("or give labels in", "or give slices in"),
)


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
    size: Number | None = None,
    mean: PerChannel | None = None,
    std: PerChannel | None = None,
    pool: str | None = None,
    batch_size: int | None = None,
    notify: Notify | None = None,
    progress: OnProgress | None = None,
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
        Another grouping of the rows, in a column "slice" or "slices": as with classes, did one of them fail alone?
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
        Which causes to try, by default `manifold_probe.diagnosis.CAUSES`: ``[*CAUSES, mine]`` adds one that you wrote.
    data : path, optional
        What models see, as for `extract`. Features are extracted once, into ``probe-features``; the student's
        model is then tried under changed conditions, a few hundred rows each.
    size, mean, std, pool, batch_size : optional
        With ``data``: as for `extract`.
    notify : callable, optional
        Called with one sentence about each thing worth knowing of an extraction.
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
    from manifold_probe.diagnosis.of_pair import check, parts_of

    check_settings(k, queries, seed)
    training = {"train_ids": train_ids, "train_teacher": train_teacher, "train_student": train_student}
    training |= {"log": log, "classes_trained": classes_trained}
    options = model_options(size, mean, std, pool, batch_size)
    of_labels: dict[str, Any] = {"labels": labels, "unlabelled": unlabelled, "ignore_labels": ignore_labels}
    pairing = {"positional": positional, "allow_missing": allow_missing, "keep_first": keep_first}
    parts = Parts(progress, {"features": MODEL if data is not None or student is None else 1.0, "diagnosis": 3.0})
    reporting: dict[str, Any] = {"tell": notify or silent, "progress": parts["features"]}
    known_training: Training | None
    if student is None:
        known = {"ids": ids, "student_head": student_head, "data": data, **training, **options}
        _refuse_with_run(teacher, known | {name: asked or None for name, asked in pairing.items()})
        opened, known_training = given.of_run(teacher, int(k), **of_labels, **reporting)
    else:
        request = {"student_head": student_head, "ids": ids, **of_labels, **pairing}
        opened, known_training = _of_sides(teacher, student, request, training, data, options, **reporting)
    asked = Asked(
        k=int(k),
        queries=int(queries),
        seed=int(seed),
        causes=CAUSES if causes is None else causes,
        slices=None if slices is None else _slices(slices, opened.teacher, ids, opened.again),
        training=known_training,
    )
    inputs = {"teacher": describe_input(opened.teacher, None)}
    inputs |= {name: describe_input(space, None) for name, space in opened.students.items()}
    pair = opened.pairs["student"]
    check(pair, asked)
    found, unaligned = parts_of(pair, asked, None, parts["diagnosis"])
    settings = {"k": asked.k, "seed": asked.seed, "classes": "labels" if pair.labels is not None else "k-means"}
    document = diagnosis_document(found, pair, inputs, settings)
    return Diagnosis(document, pair, np.array(found["aside"], dtype=np.int64), unaligned)


def _of_sides(
    teacher: Any,
    student: Any,
    request: dict[str, Any],
    training: dict[str, Any],
    data: Any,
    options: dict[str, Any],
    tell: Notify,
    progress: OnProgress,
) -> tuple[Opened, Training | None]:
    """The pairs of two sides, models' features extracted first, and what is known of the training."""
    from manifold_probe.diagnosis import given

    sides = {"teacher": teacher, "student": student}
    features = features_of_models(sides, data, options, tell, progress)
    head = request.pop("student_head")
    students = {"student": features["student"]} | ({} if head is None else {"student_head": head})
    opened = Request(features["teacher"], students, **request).open()
    pairs, positional = opened.pairs, request["positional"]
    known = given.training_given(pairs["student"], pairs.get("student_head"), **training, positional=positional)
    return opened, given.with_models(known, sides, data, options, opened)


def _refuse_with_run(folder: Any, arguments: Mapping[str, Any]) -> None:
    """Refuse a run that is no path, and what a run knows itself. Raises InputError."""
    if not isinstance(folder, str | Path):
        raise InputError("student: missing; give the student's features too, or the folder of a run alone")
    for name, value in arguments.items():
        if value is not None:
            raise InputError(f"{name.replace('_', ' ')}: is known of the run {folder}; leave it out")


def _slices(slices: Any, teacher: Space, ids: Any, again: Callable[..., dict[str, Pair]]) -> np.ndarray:
    """A slice for every paired row; ``again`` pairs once more, with other labels."""
    values, values_ids = labels_with_ids(slices, teacher, ids, TABLE_SLICES, "slices")
    try:
        of_rows = next(iter(again(labels=values, labels_ids=values_ids).values())).labels
    except InputError as error:
        text = str(error)
        for of_labels, of_slices in SAID_OF_SLICES:
            text = text.replace(of_labels, of_slices)
        raise InputError(f"slices: {text.removeprefix('labels: ')}") from error
    if of_rows is None:
        raise InputError("slices: no row has one; give slices of some rows")
    return of_rows
