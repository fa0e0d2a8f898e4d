"""The inputs of a diagnosis in addition to the two sides, made into `Training`: ids, features, classes and a log of
the training, models in place of features, or the folder of a run, which contains all of these.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from manifold_probe.diagnosis.course import read_course, read_log
from manifold_probe.diagnosis.training import Training
from manifold_probe.errors import InputError
from manifold_probe.extraction.sides import is_model
from manifold_probe.measures.catalogue import OVERLAP
from manifold_probe.measures.request import Opened, Request
from manifold_probe.models.source import is_source
from manifold_probe.parts import Progress, silent
from manifold_probe.spaces.columns import clean_column
from manifold_probe.spaces.folder import is_run
from manifold_probe.spaces.given import TABLE_IDS
from manifold_probe.spaces.lines import read_lines
from manifold_probe.spaces.pairing import Pair, locate
from manifold_probe.spaces.read import as_space, read_column

Report = Callable[[str], None]
CODE_SOURCE = "python:"


def training_given(
    pair: Pair,
    head: Pair | None,
    *,
    train_ids: Any = None,
    train_teacher: Any = None,
    train_student: Any = None,
    log: Any = None,
    classes_trained: Any = None,
    positional: bool = False,
) -> Training | None:
    """The caller's information on the training; None where nothing is given.

    Raises
    ------
    InputError
        For input that cannot be used.
    """
    if (train_teacher is None) != (train_student is None):
        given, missing = ("teacher", "student") if train_student is None else ("student", "teacher")
        raise InputError(
            f"train {missing}: missing, although train {given} is given; give the features of both, of the same rows"
        )
    if train_ids is not None and train_teacher is not None:
        raise InputError(
            "train ids: cannot be combined with features of rows trained on; give either the ids or the features"
        )
    if all(value is None for value in (head, train_ids, train_teacher, log, classes_trained)):
        return None
    return Training(
        trained=None if train_ids is None else trained_rows(train_ids, pair),
        seen=None if train_teacher is None else seen_rows(train_teacher, train_student, pair, positional),
        log=None if log is None else read_log(log),
        classes=None if classes_trained is None else frozenset(class_names(classes_trained)),
        head=head,
    )


def trained_rows(train_ids: Any, pair: Pair) -> np.ndarray:
    """(n,) of bool: which paired rows were trained on."""
    if isinstance(train_ids, str | Path):
        train_ids = read_column(str(train_ids), TABLE_IDS, "ids")[0]
    trained_ids = np.unique(clean_column(np.asarray(train_ids), "ids", "train ids"))
    if pair.ids is None:
        raise InputError("train ids: the rows have no ids to match; add ids to both files")
    rows = np.asarray(pair.ids)
    if rows.dtype.kind != trained_ids.dtype.kind:  # 7 matches "7"
        rows, trained_ids = rows.astype(str), np.unique(trained_ids.astype(str))
    seen = locate(rows, trained_ids) >= 0
    if not seen.any() or seen.all():
        which = "none" if not seen.any() else "all"
        raise InputError(f"train ids: {which} of the {len(seen):,} rows are among them; give rows of both kinds")
    return seen


def seen_rows(teacher: Any, student: Any, pair: Pair, positional: bool) -> Pair:
    """The pair of rows that were trained on, from separate features."""
    sides = as_space(teacher, "train teacher"), as_space(student, "train student")
    for side, space, measured in (("teacher", sides[0], pair.teacher), ("student", sides[1], pair.student)):
        if space.d != measured.d:
            raise InputError(
                f"train {side}: has {space.d:,} dimensions, the {side} {measured.d:,}; give features of the same model"
            )
    seen = Request(sides[0], {"student": sides[1]}, positional=positional).open().pairs["student"]
    if pair.ids is not None and seen.ids is not None:
        common = np.intersect1d(np.asarray(pair.ids).astype(str), np.asarray(seen.ids).astype(str))
        if len(common):
            raise InputError(
                f"train teacher: {len(common):,} of its rows are also diagnosed ({common[0]}); give other rows, or "
                "their ids as train ids"
            )
    return seen


def class_names(given: Any) -> list[str]:
    """The names of classes: "cat,dog", a file with one a line, or a sequence.

    >>> class_names("cat, dog"), class_names([3, 7])
    (['cat', 'dog'], ['3', '7'])
    """
    if isinstance(given, str | Path):
        if os.path.isfile(given):
            return [str(name).strip() for name in read_lines(str(given), "labels").tolist() if str(name).strip()]
        if isinstance(given, Path) or os.sep in given:
            raise InputError(f"classes trained: {given}: no such file; give a,b,c or a file of names, one a line")
        given = given.split(",")
    if not isinstance(given, Sequence) and not hasattr(given, "tolist"):
        raise InputError(f"classes trained: is a {type(given).__name__}; give a list of names, a,b,c or a file of them")
    values = given.tolist() if hasattr(given, "tolist") else given
    return [str(name).strip() for name in values if str(name).strip()]


# ---- models in place of features


def with_models(
    training: Training | None, sides: Mapping[str, Any], data: Any, options: Mapping[str, Any], opened: Opened
) -> Training | None:
    """The training with the models given in place of features, where the student is a model."""
    if not is_model(sides["student"]):
        return training
    from manifold_probe.diagnosis.interventions import Models, places_in
    from manifold_probe.extraction.work import Request as Extraction
    from manifold_probe.extraction.work import prepared

    pair = opened.pairs["student"]
    student = prepared(Extraction(str(sides["student"]), str(data), **options))
    teacher = None
    if is_model(sides["teacher"]):
        teacher = prepared(Extraction(str(sides["teacher"]), str(data), **options))
    recipe = recipe_of(opened.teacher.source.path)
    models = Models(student, places_in(student, pair.ids, pair.teacher.n), teacher, recipe)
    return replace(training or Training(), models=models)


def recipe_of(folder: str | None) -> Any:
    """How the images of a folder of features were prepared; None where that is unknown, or for texts."""
    from manifold_probe.models.preprocessing import ImagePreprocessing

    try:
        record = json.loads((Path(folder or "") / "manifest.json").read_text(encoding="utf-8"))["plan"]["preprocessing"]
        return ImagePreprocessing.from_record(record)
    except (OSError, ValueError, KeyError, TypeError, InputError):
        return None


# ---- the folder of a run


def of_run(
    folder: str | Path,
    k: int,
    *,
    labels: Any = None,
    unlabelled: Any = (),
    ignore_labels: bool = False,
    tell: Report = silent,
    progress: Progress = silent,
) -> tuple[Opened, Training]:
    """A run of our trainer as the sides of a diagnosis and the information on its training.

    The rows are those that were held out, or all rows where too few were. An unfinished run is read at its last saved
    state.

    Raises
    ------
    InputError
        Where the folder holds no run, nothing was saved yet, or the inputs of the run are missing.
    """
    from manifold_probe.distillation import run_folder

    if not is_run(str(folder)):
        raise InputError(
            f"{folder}: is not the folder of a run; give one that probe distill wrote, or --teacher and --student"
        )
    run = run_folder.RunFolder(folder)
    lines = run_folder.read_log(folder)
    key = OVERLAP.named(10)
    try:
        losses = [(float(line["step"]), float(line["loss"])) for line in lines if "loss" in line]
        backbone = [(line["step"], line["measures"]["backbone"].get(key)) for line in lines if "measures" in line]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder}: its log is damaged ({error!r}); train again into another --out") from error
    watched = [(float(step), float(value)) for step, value in backbone if value is not None]
    facts: dict[str, Any] = {"finished": run.finished}
    if run.finished:
        sides = run.sides()
    else:
        try:
            sides, facts["step"], facts["steps"] = run.last_sides(tell, progress)
        except InputError as problem:
            course = read_course(losses or [(step, 1 - value) for step, value in watched])
            log_note = "" if course is None else f" (its log shows that the loss was {course.kind} when it stopped)"
            message = f"{folder}: is not finished, and its last state cannot be used: {problem}{log_note}"
            raise InputError(message) from problem
    n, trained = sides.backbone.n, sides.trained
    held = np.flatnonzero(~trained)
    enough = len(held) >= max(60, 4 * (k + 1))
    rows = held if enough else np.arange(n)
    facts |= {"trained_rows": int(trained.sum()), "measured": "rows held out of training" if enough else "all rows"}
    students = {"student": sides.backbone} | ({} if sides.head is None else {"student_head": sides.head})
    run_labels = sides.backbone.labels if labels is None else labels

    def opened(subset: np.ndarray) -> Opened:
        chosen = (
            None
            if run_labels is None
            else run_labels
            if isinstance(run_labels, str | Path)
            else np.asarray(run_labels)[subset]
        )
        return Request(
            sides.teacher.select(subset),
            {name: side.select(subset) for name, side in students.items()},
            chosen,
            unlabelled=unlabelled,
            ignore_labels=ignore_labels,
            positional=sides.positional,
        ).open()

    opened_rows = opened(rows)
    training = Training(
        trained=None if enough or len(held) > 0 else np.ones(n, bool),
        seen=opened(np.flatnonzero(trained)).pairs["student"] if enough else None,
        log=losses,
        watched=watched,
        head=opened_rows.pairs.get("student_head"),
        finished=run.finished,
        facts=facts,
    )
    if not run.finished:
        facts["not_tried"] = ["the run is not finished, so there is no model to extract features with"]
        return opened_rows, training
    ids = np.asarray(sides.backbone.ids)[rows]
    return opened_rows, replace(training, models=models_of_run(run.path, ids, facts))


def models_of_run(folder: Path, ids: np.ndarray, facts: dict[str, Any]) -> Any:
    """The models of a finished run, where its data and student can be opened; else ``facts`` hold the reason."""
    from manifold_probe.diagnosis.interventions import Models, places_in
    from manifold_probe.distillation.config import read_toml, resolved
    from manifold_probe.distillation.run_folder import CONFIG, STUDENT
    from manifold_probe.extraction.work import Request as Extraction
    from manifold_probe.extraction.work import prepared
    from manifold_probe.models.load import load_model

    try:
        config = resolved(read_toml(str(folder / CONFIG)))
        request = Extraction(
            str(folder / STUDENT), config.data, pooling=config.pool, ids=config.ids, labels=config.labels
        )
        student = prepared(request)
        rows = places_in(student, ids, len(ids))
    except InputError as problem:
        facts["not_tried"] = [str(problem)]
        return None
    teacher = None
    if is_source(config.teacher):
        try:
            if config.teacher.startswith(CODE_SOURCE):
                raise InputError(f"{config.teacher}: is code, which is never run because a folder names it")
            request = replace(request, model=config.teacher, pooling=config.teacher_pool)
            has_preprocessing = load_model(config.teacher).preprocessing is not None
            image_options = (
                {} if has_preprocessing else {name: getattr(config, name) for name in ("size", "mean", "std")}
            )
            teacher = prepared(replace(request, **image_options))
        except InputError as problem:
            facts["not_tried"] = [str(problem)]
    return Models(student, rows, teacher)
