"""``evaluate``: what teacher and student features are good for, task by task, and how far the two agree."""

from __future__ import annotations

from collections.abc import Sequence
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
from manifold_probe.api.provenance import describe_input, provenance_of
from manifold_probe.api.results import Evaluation
from manifold_probe.errors import InputError
from manifold_probe.extraction.sides import features_of_models, is_model
from manifold_probe.parts import Parts, silent
from manifold_probe.report.document import EVALUATION
from manifold_probe.report.records import Pairing
from manifold_probe.report.typed import plain

if TYPE_CHECKING:
    from manifold_probe.evaluation.outcome import Outcome, Part

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
) -> Evaluation:
    """Classify, retrieve and detect with both models' features: how good are they, and do they err alike?

    Parameters
    ----------
    teacher, student : path, (n, d) array or tensor, DataFrame or Space
        Features of the test rows, as for `compare`. Either may be a model source, with ``data``.
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
    positional, allow_missing, unlabelled, ignore_labels, keep_first
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
    Evaluation

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
    parts = Parts(progress, {"features": MODEL, "tasks": MEASURES, "corruptions": MODEL if corrupting else 0.0})
    rules: dict[str, Any] = {"positional": positional, "allow_missing": allow_missing, "keep_first": keep_first}
    rules |= {"unlabelled": np.atleast_1d(unlabelled).tolist(), "ignore_labels": ignore_labels}
    options = model_options(size, mean, std, pool, batch_size)
    reader = _Reader((teacher, student), options, rules, notify or silent, parts["features"])
    test = reader.part("test", (teacher, student), data, labels)
    bank = reader.part("train", (teacher_train, student_train), train_data, train_labels)
    ood = reader.part("ood", (teacher_ood, student_ood), ood_data, None)
    logits = reader.logits(labels) if chosen is None or "logits" in chosen else None
    assert test is not None
    chosen = chosen or possible_tasks(test, ood, logits) + ["corruptions"] * corruptions
    works = reader.works(data) if corrupting else None
    split = bank is None
    if bank is None:
        bank, test = halves(test, seed)
    whole, bank = bank, without_leaked(bank, test) if drop_leaked else bank
    of_features = [task for task in chosen if task != "corruptions"]
    outcomes = outcomes_of(of_features, bank, test, ood, logits, k=k, seed=seed, progress=parts["tasks"])
    settings: dict[str, Any] = {"k": k, "temperature": TEMPERATURE, "seed": seed, "tasks": chosen}
    settings |= {"bank": "half of the test rows" if split else "train", "bank_rows": bank.n, "test_rows": test.n}
    if works is not None:
        robust, corrupted = _corrupted(bank, test, works, corrupted_images, k, seed, parts["corruptions"])
        outcomes, settings = outcomes + robust, settings | corrupted
    return Evaluation(_document(reader, outcomes, settings, evaluation_alarms(whole, test, k, drop_leaked)))


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
        return part_of(read_pair(paths[0], paths[1], labels, **self.rules), "logits")

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
