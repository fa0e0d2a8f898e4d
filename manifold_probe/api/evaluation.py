"""``evaluate``: what teacher and student features are good for, task by task, and how far the two agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
from manifold_probe.api.comparison import named_students
from manifold_probe.api.provenance import describe_input, provenance_of
from manifold_probe.api.results import Evaluation, Evaluations
from manifold_probe.errors import InputError
from manifold_probe.extraction.sides import features_of_models, is_model
from manifold_probe.parts import Parts, silent
from manifold_probe.report.document import EVALUATION, EVALUATIONS
from manifold_probe.report.records import Pairing
from manifold_probe.report.typed import plain
from manifold_probe.spaces.values import is_one_space

if TYPE_CHECKING:
    from manifold_probe.evaluation.outcome import Outcome, Part
    from manifold_probe.measures.uncertainty import Estimate

Sides = tuple[Any, Any]


def evaluate(
    teacher: Any,
    student: Any,
    *,
    teacher_train: Any = None,
    student_train: Any = None,
    teacher_ood: Any = None,
    student_ood: Any = None,
    tasks: Sequence[str] | None = None,
    labels: Any = None,
    train_labels: Any = None,
    k: int = 10,
    seed: int = 0,
    positional: bool = False,
    allow_missing: bool = False,
    unlabelled: Any = (),
    ignore_labels: bool = False,
    drop_leaked: bool = False,
    keep_first: bool = False,
    rows: str | None = None,
    data: Any = None,
    train_data: Any = None,
    ood_data: Any = None,
    corruptions: bool = False,
    corrupted_images: int = 500,
    size: Number | None = None,
    mean: PerChannel | None = None,
    std: PerChannel | None = None,
    pool: str | None = None,
    batch_size: int | None = None,
    notify: Notify | None = None,
    progress: OnProgress | None = None,
) -> Evaluation | Evaluations:
    """Classify, retrieve and detect with both models' features: how good are they, and do they err alike?

    Parameters
    ----------
    teacher, student : path, (n, d) array or tensor, DataFrame or Space
        Features of the test rows, as for `compare`. Either may be a model source, with ``data``. A dict of named
        students gives paired differences on the rows that all have; their other features are dicts of the same names.
    teacher_train, student_train : the same, optional
        Features of labelled rows to learn from, the bank. By default half of the test rows.
    teacher_ood, student_ood : the same, optional
        Features of unusual inputs.
    tasks : sequence of str, optional
        Of "knn", "linear", "linear-sgd", "retrieval", "ood", "logits" and "corruptions". By default those for which
        there is data, without "linear-sgd" and "corruptions".
    labels, train_labels : sequence, path, or table with ids, optional
        Labels of the test and of the training rows, in their order or with ids. By default those of the features.
    k : int
        Neighbours that vote.
    seed : int
        Seed of everything drawn at random.
    positional, allow_missing, unlabelled, ignore_labels, keep_first, rows
        As for `compare`.
    drop_leaked : bool
        Leave out of the bank what is also among the test rows.
    data, train_data, ood_data : path, optional
        What models see in place of features: test, training and unusual inputs.
    corruptions : bool
        Also corrupt test images, for two models with ``data``.
    corrupted_images : int
        How many test images are corrupted.
    size, mean, std, pool, batch_size : optional
        With ``data``: as for `extract`.
    notify : callable, optional
        Called with one sentence about each thing worth knowing of an extraction.
    progress : callable, optional
        Called as ``progress(stage, done, total)``.

    Returns
    -------
    Evaluation, or Evaluations of a dict of students

    Raises
    ------
    InputError
        When something given cannot be used.
    """
    from manifold_probe.evaluation.alarms import evaluation_alarms, without_leaked
    from manifold_probe.evaluation.evaluate import evaluate as outcomes_of
    from manifold_probe.evaluation.evaluate import halves, possible_tasks
    from manifold_probe.evaluation.knn import TEMPERATURE

    check_settings(k, 2, seed)
    chosen = _known_tasks(tasks, corruptions)
    if corrupted_images < 1:
        raise InputError(f"corrupted images: {corrupted_images} is no number of images; give at least 1")
    corrupting = corruptions or "corruptions" in (chosen or [])
    several = isinstance(student, Mapping) and not is_one_space(student, "student")
    students = named_students(student) if several else {"student": student}
    trains = _of_each(student_train, students, several, "train")
    oods = _of_each(student_ood, students, several, "ood")
    parts = Parts(progress, {"features": MODEL, "tasks": MEASURES, "corruptions": MODEL if corrupting else 0.0})
    rules: dict[str, Any] = {"positional": positional, "allow_missing": allow_missing, "keep_first": keep_first}
    rules |= {"unlabelled": np.atleast_1d(unlabelled).tolist(), "ignore_labels": ignore_labels, "rows": rows}
    options = model_options(size, mean, std, pool, batch_size)
    shares = dict.fromkeys(students, 1.0)
    by_student = {part: Parts(parts[part], shares) for part in ("features", "tasks", "corruptions")}
    readers: dict[str, _Reader] = {}
    read: dict[str, dict[str, Part | None]] = {}
    for name, one in students.items():
        reader = _Reader((teacher, one), options, rules, notify or silent, by_student["features"][name])
        readers[name], read[name] = (
            reader,
            {
                "test": reader.part("test", (teacher, one), data, labels),
                "train": reader.part("train", (teacher_train, trains[name]), train_data, train_labels),
                "ood": reader.part("ood", (teacher_ood, oods[name]), ood_data, None),
                "logits": reader.logits(labels) if chosen is None or "logits" in chosen else None,
            },
        )
    documents, outcomes_of_all = {}, {}
    for name, own in _in_common(read).items():
        test, bank, ood, logits = (own[part] for part in ("test", "train", "ood", "logits"))
        assert test is not None
        asked = chosen or possible_tasks(test, ood, logits) + ["corruptions"] * corruptions
        works = readers[name].works(data) if corrupting else None
        split = bank is None
        if bank is None:
            bank, test = halves(test, seed)
        whole, bank = bank, without_leaked(bank, test) if drop_leaked else bank
        of_features = [task for task in asked if task != "corruptions"]
        watch = by_student["tasks"][name]
        outcomes = outcomes_of(of_features, bank, test, ood, logits, k=k, seed=seed, progress=watch)
        settings: dict[str, Any] = {"k": k, "temperature": TEMPERATURE, "seed": seed, "tasks": asked}
        settings |= {"bank": "half of the test rows" if split else "train", "bank_rows": bank.n, "test_rows": test.n}
        if works is not None:
            watch = by_student["corruptions"][name]
            robust, corrupted = _corrupted(bank, test, works, corrupted_images, k, seed, watch)
            outcomes, settings = outcomes + robust, settings | corrupted
        outcomes_of_all[name] = {outcome.key: outcome for outcome in outcomes}
        alarms = evaluation_alarms(whole, test, k, drop_leaked)
        documents[name] = _document(readers[name], outcomes, settings, alarms)
    if not several:
        return Evaluation(documents["student"])
    differences = _differences(outcomes_of_all)
    return Evaluations({"schema": EVALUATIONS, "students": documents, "differences": differences})


def _of_each(given: Any, students: Mapping[str, Any], several: bool, part: str) -> dict[str, Any]:
    """The features of a part for every student, None where none were given."""
    if given is None or not several:
        return dict.fromkeys(students, given)
    if not isinstance(given, Mapping) or set(given) != set(students):
        names = ", ".join(students)
        raise InputError(f"student {part}: features of every student are needed; give a dict with the names {names}")
    return dict(given)


def _in_common(read: dict[str, dict[str, Part | None]]) -> dict[str, dict[str, Part | None]]:
    """Every student's parts with the rows that all students have, in one order."""
    common: dict[str, dict[str, Part | None]] = {name: {} for name in read}
    for part in next(iter(read.values())):
        parts = {name: own[part] for name, own in read.items()}
        given = [one for one in parts.values() if one is not None]
        if len(given) < len(parts):
            parts = dict.fromkeys(parts)
        elif len({one.n for one in given}) > 1 or any(one.ids is not None for one in given):
            ids = [one.ids for one in given if one.ids is not None]
            if len(ids) < len(given) and len({one.n for one in given}) > 1:
                raise InputError(f"student {part}: students have other numbers of rows and no ids; give ids with all")
            if len(ids) == len(given):
                known = reduce(np.intersect1d, ids)
                if not len(known):
                    raise InputError(f"student {part}: no row is in the features of all students; check their ids")
                parts = {name: one.only(_rows_of(known, one)) for name, one in parts.items() if one is not None}
        if part != "logits":
            parts = _with_common_labels(parts)
        for name, one in parts.items():
            common[name][part] = one
    return common


def _with_common_labels(parts: dict[str, Part | None]) -> dict[str, Part | None]:
    """The same rows of every student with one column of labels, each from the first student that has it.

    Raises
    ------
    InputError
        Where two students have different labels of a row.
    """
    from manifold_probe.spaces.labels import is_labelled, marked, of_one_kind

    labelled = {name: one for name, one in parts.items() if one is not None and one.labels is not None}
    if not labelled:
        return parts
    columns = of_one_kind(*(marked(np.asarray(one.labels)) for one in labelled.values()))
    labels = columns[0].copy()
    for name, column in zip(labelled, columns, strict=True):
        if (other := is_labelled(labels) & is_labelled(column) & (labels != column)).any():
            first = next(iter(labelled))
            raise InputError(
                f"student {name}: has other labels than student {first} in {int(other.sum()):,} rows; give the right "
                "ones with --labels"
            )
        labels = np.where(is_labelled(labels), labels, column)
    return {name: None if one is None else replace(one, labels=labels) for name, one in parts.items()}


def _rows_of(ids: np.ndarray, part: Part) -> np.ndarray:
    """The rows of a part with these ids, in the part's order, which is the teacher's."""
    return np.flatnonzero(np.isin(np.asarray(part.ids), ids))


def _differences(outcomes: dict[str, dict[str, Outcome]]) -> list[dict[str, Any]]:
    """The paired differences a - b of every score of every two students."""
    from manifold_probe.evaluation.intervals import difference

    differences = []
    for a, b in combinations(outcomes, 2):
        for key in outcomes[a]:
            if key in outcomes[b]:
                gap = difference(outcomes[a][key].of_student, outcomes[b][key].of_student, outcomes[a][key].n)
                ends = {"value": gap.value, "low": gap.low, "high": gap.high}
                differences.append({"a": a, "b": b, "task": key, **ends, "n": outcomes[a][key].n})
    return plain(differences)


def _known_tasks(tasks: Sequence[str] | None, corruptions: bool) -> list[str] | None:
    """The tasks that were named, in our order, or None for those that are possible. Raises InputError."""
    from manifold_probe.evaluation.evaluate import TASKS

    if tasks is None:
        return None
    known = (*TASKS, "corruptions")
    asked = [*tasks, *["corruptions"] * corruptions]
    for task in asked:
        if task not in known:
            raise InputError(f"tasks: {task!r} is not known; choose from {', '.join(known)}")
    return [task for task in known if task in asked]


def _corrupted(
    bank: Part, test: Part, works: tuple[Any, Any], images: int, k: int, seed: int, progress: OnProgress
) -> tuple[list[Outcome], dict[str, Any]]:
    """The scores on corrupted test images, and what the settings say of them."""
    from manifold_probe.engine.rows import sample
    from manifold_probe.evaluation.corruptions import CORRUPTIONS
    from manifold_probe.evaluation.robustness import robustness_outcomes

    some = test.only(sample(test.n, images, seed))
    outcomes = robustness_outcomes(bank, works, some, k=k, seed=seed, progress=progress)
    table = {name: {"is": meaning, "by_severity": list(values)} for name, (meaning, values) in CORRUPTIONS.items()}
    return outcomes, {"corrupted_images": some.n, "corruptions": table}


class _Reader:
    """Reads the parts of an evaluation, and keeps what was read for the document."""

    def __init__(
        self, models: Sides, options: dict[str, Any], rules: dict[str, Any], notify: Notify, progress: OnProgress
    ) -> None:
        self.models, self.options, self.rules, self.notify = models, options, rules, notify
        self.features = Parts(progress, {"test": 1, "train": 1, "ood": 1})
        self.inputs: dict[str, Any] = {}
        self.pairing: dict[str, Any] = {}
        self.tested: Sides = models

    def part(self, name: str, sides: Sides, data: Any, labels: Any) -> Part | None:
        """The rows of both sides, or None where none were given."""
        from manifold_probe.evaluation.outcome import part_of
        from manifold_probe.evaluation.read import read_pair
        from manifold_probe.models.source import has_kind

        self.inputs[name] = self.pairing[name] = None
        features = self._features(name, sides, data)
        if features is None:
            if labels is not None:
                raise InputError(f"{name} labels: there are no rows to label; give features of teacher and student too")
            return None
        if name == "test":
            self.tested = features
        pair = read_pair(*features, labels, **self.rules)
        for side, space, model in zip(("teacher", "student"), (pair.teacher, pair.student), self.models, strict=True):
            called = str(model).partition(":")[2] if isinstance(model, str) and has_kind(model) else None
            self.inputs[name] = (self.inputs[name] or {}) | {side: describe_input(space, called)}
        self.pairing[name] = Pairing(
            by=pair.by,
            rows=pair.teacher.n,
            coverage=pair.coverage,
            verified=pair.verified,
            unlabelled=pair.unlabelled,
            copies_left_out=pair.copies_left_out or None,
        )
        return part_of(pair, name)

    def logits(self, labels: Any) -> Part | None:
        """The logits in the test files, or None where a side has none."""
        from manifold_probe.evaluation.outcome import part_of
        from manifold_probe.evaluation.read import logits_path, read_pair

        paths = [logits_path(str(side)) if isinstance(side, str | Path) else None for side in self.tested]
        if None in paths:
            return None
        return part_of(read_pair(paths[0], paths[1], labels, **self.rules | {"rows": None}), "logits")

    def works(self, data: Any) -> tuple[Any, Any]:
        """Both models, ready to run on the test images."""
        from manifold_probe.extraction.work import Request, prepared

        for name, model in zip(("teacher", "student"), self.models, strict=True):
            if data is None or not is_model(model):
                raise InputError(f"{name}: {model} is no model with data; corrupting images needs two models to run")
        teacher, student = (prepared(Request(str(model), str(data), **self.options)) for model in self.models)
        return teacher, student

    def _features(self, name: str, sides: Sides, data: Any) -> Sides | None:
        """The features of both sides, a model's extracted first, or None where nothing was given."""
        if name != "test":
            if data is not None:  # a side without such features is the model
                sides = tuple(
                    model if side is None and is_model(model) else side
                    for side, model in zip(sides, self.models, strict=True)
                )
            given = [side is not None for side in sides]
            if not any(given) and data is None:
                return None
            for option, known in zip(("teacher", "student"), given, strict=True):
                if not known:
                    raise InputError(f"{option} {name}: missing next to the other side's; give features of both")
        options = self.options if data is not None or name == "test" else dict.fromkeys(self.options)
        both = {"teacher": sides[0], "student": sides[1]}
        features = features_of_models(both, data, options, self.notify, self.features[name])
        return features["teacher"], features["student"]


def _document(reader: _Reader, outcomes: list[Outcome], settings: dict[str, Any], alarms: list[Any]) -> dict[str, Any]:
    """The JSON document of an evaluation."""
    from manifold_probe.extraction.agree import different_preprocessing, same_features

    paths = [str(side) if isinstance(side, str | Path) else None for side in reader.tested]
    warnings = {
        "same_file": same_features(reader.inputs["test"]),
        "different_preprocessing": different_preprocessing(*paths),
    }
    tasks = {
        outcome.key: {"teacher": outcome.teacher, "student": outcome.student, "n": outcome.n, "note": outcome.note}
        | ({"by_severity": outcome.details} if outcome.details else {})
        | _ends("teacher", outcome.of_teacher, outcome.n)
        | _ends("student", outcome.of_student, outcome.n)
        for outcome in outcomes
    }
    return plain(
        {
            "schema": EVALUATION,
            "inputs": reader.inputs,
            "pairing": reader.pairing,
            "settings": settings,
            "tasks": tasks,
            "fidelity": {outcome.key: outcome.fidelity for outcome in outcomes},
            "alarms": [
                *({"code": alarm.code, "message": alarm.message} for alarm in alarms),
                *({"code": code, "message": text} for code, texts in warnings.items() for text in texts),
            ],
            "provenance": provenance_of(settings["seed"]),
        }
    )


def _ends(side: str, estimate: Estimate, n: int) -> dict[str, float | None]:
    from manifold_probe.evaluation.intervals import ends

    low, high = ends(estimate, n)
    return {} if low is None else {f"{side}_low": low, f"{side}_high": high}
