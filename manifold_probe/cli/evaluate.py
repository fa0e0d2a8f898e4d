"""`probe evaluate`: what teacher and student features are good for, task by task, and how far the two agree."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from manifold_probe.cli.arguments import MEASURES, MODEL, features_of_sides
from manifold_probe.cli.options import BatchSize, Debug, IgnoreLabels, KeepFirst, Mean, Pool, Size, Std, Unlabelled
from manifold_probe.cli.shell import complain, show_lines, write
from manifold_probe.errors import InputError
from manifold_probe.parts import Parts


def evaluate(
    teacher: Annotated[
        str, typer.Option(metavar="FILE[::KEY]", help="The teacher's test features; or a model, which needs --data.")
    ],
    student: Annotated[str, typer.Option(metavar="FILE[::KEY]", help="The student's test features, or its model.")],
    teacher_train: Annotated[
        str | None, typer.Option(metavar="FILE[::KEY]", help="The teacher's labelled training features: the bank.")
    ] = None,
    student_train: Annotated[
        str | None, typer.Option(metavar="FILE[::KEY]", help="The student's labelled training features.")
    ] = None,
    teacher_ood: Annotated[
        str | None, typer.Option(metavar="FILE[::KEY]", help="The teacher's features of unusual inputs.")
    ] = None,
    student_ood: Annotated[
        str | None, typer.Option(metavar="FILE[::KEY]", help="The student's features of the same unusual inputs.")
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            metavar="TASK,...",
            help="knn, linear, linear-sgd, retrieval, ood, logits, corruptions.  "
            "[default: those for which there is data, but linear-sgd and corruptions]",
        ),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="FILE[::KEY]", help="Labels of the test rows, in their order or with ids.")
    ] = None,
    train_labels: Annotated[
        str | None, typer.Option(metavar="FILE[::KEY]", help="Labels of the training rows.")
    ] = None,
    k: Annotated[int, typer.Option(help="Neighbours that vote.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of everything drawn at random.")] = 0,
    positional: Annotated[bool, typer.Option("--positional", help="Pair by position whatever the ids say.")] = False,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Drop rows without a partner.")] = False,
    unlabelled: Unlabelled = None,
    ignore_labels: IgnoreLabels = False,
    drop_leaked: Annotated[
        bool, typer.Option("--drop-leaked", help="Leave out of the bank what is also among the test rows.")
    ] = False,
    keep_first: KeepFirst = False,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="What models are tested on; features are kept in probe-features.")
    ] = None,
    train_data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Labelled training inputs of models: the bank.")
    ] = None,
    ood_data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Unusual inputs for models, to be told from the test inputs.")
    ] = None,
    corruptions: Annotated[
        bool, typer.Option("--corruptions", help="Also corrupt the test images, for two models with --data.")
    ] = False,
    corrupted_images: Annotated[int, typer.Option(metavar="N", help="How many test images are corrupted.")] = 500,
    size: Size = None,
    mean: Mean = None,
    std: Std = None,
    pool: Pool = None,
    batch_size: BatchSize = None,
    json: Annotated[bool, typer.Option("--json", help="Write one JSON object to stdout, not the table.")] = False,
    out: Annotated[str | None, typer.Option(metavar="FILE.json", help="Also write that object there.")] = None,
    debug: Debug = False,
) -> None:
    """Classify, retrieve and detect with both models' features: how good are they, and do they err alike?

    Without training features half of the test rows are the bank. Test and training rows of a data set that the student
    was not distilled on make it a test of transfer.

    \b
    Examples:
      probe evaluate --teacher t.pt --student s.pt
      probe evaluate --teacher t.pt --student s.pt --teacher-train t_train.pt --student-train s_train.pt
    """
    from manifold_probe.api import check_settings
    from manifold_probe.evaluation.alarms import evaluation_alarms, without_leaked
    from manifold_probe.evaluation.evaluate import evaluate as evaluated
    from manifold_probe.evaluation.evaluate import halves, possible_tasks
    from manifold_probe.files import check_file, write_whole
    from manifold_probe.report.document import to_json
    from manifold_probe.report.evaluation import evaluation_lines
    from manifold_probe.report.progress import Progress

    check_settings(k, 2, seed)
    wanted = _tasks(tasks, corruptions)
    if corrupted_images < 1:
        raise InputError(f"--corrupted-images: {corrupted_images} is no number of images; give at least 1")
    if out is not None:
        check_file(out, "--out")
    options = {"size": size, "mean": mean, "std": std, "pooling": pool, "batch_size": batch_size}
    rules: dict[str, Any] = {"positional": positional, "allow_missing": allow_missing, "keep_first": keep_first}
    rules |= {"unlabelled": unlabelled or (), "ignore_labels": ignore_labels}
    with Progress() as progress:
        corrupted = corruptions or "corruptions" in (wanted or [])
        parts = Parts(progress, {"features": MODEL, "tasks": MEASURES, "corruptions": MODEL if corrupted else 0.0})
        read = _Reader(teacher, student, options, rules, parts["features"])
        test = read.part("test", (teacher, student), data, labels)
        bank = read.part("train", (teacher_train, student_train), train_data, train_labels)
        ood = read.part("ood", (teacher_ood, student_ood), ood_data, None)
        logits = read.logits(labels) if wanted is None or "logits" in wanted else None
        assert test is not None
        wanted = wanted or possible_tasks(test, ood, logits) + ["corruptions"] * corruptions
        works = read.works(data) if "corruptions" in wanted else None
        split = bank is None
        if bank is None:
            bank, test = halves(test, seed)
        whole, bank = bank, without_leaked(bank, test) if drop_leaked else bank
        of_features = [task for task in wanted if task != "corruptions"]
        outcomes = evaluated(of_features, bank, test, ood, logits, k=k, seed=seed, progress=parts["tasks"])
        settings: dict[str, Any] = {"k": k, "temperature": 0.07, "seed": seed, "tasks": wanted}
        settings |= {"bank": "half of the test rows" if split else "train", "bank_rows": bank.n, "test_rows": test.n}
        if works is not None:
            from manifold_probe.engine.rows import sample
            from manifold_probe.evaluation.corruptions import CORRUPTIONS
            from manifold_probe.evaluation.robustness import robustness_outcomes

            some = test.only(sample(test.n, corrupted_images, seed))
            outcomes += robustness_outcomes(bank, works, some, k=k, seed=seed, progress=parts["corruptions"])
            table = {
                name: {"is": meaning, "by_severity": list(values)} for name, (meaning, values) in CORRUPTIONS.items()
            }
            settings |= {"corrupted_images": some.n, "corruptions": table}
    document = _document(read, outcomes, settings, evaluation_alarms(whole, test, k, drop_leaked))
    if out is not None:
        write_whole(out, to_json(document) + "\n")
    if json:
        write(to_json(document) + "\n")
    else:
        show_lines(lambda width: evaluation_lines(document, width))
    if out is not None:
        complain(f"wrote {out}")


class _Reader:
    """Reads the parts of an evaluation, and keeps what was read for the document."""

    def __init__(
        self, teacher: str, student: str, options: dict[str, Any], rules: dict[str, Any], progress: Any
    ) -> None:
        self.models = (teacher, student)
        self.features = Parts(progress, {"test": 1, "train": 1, "ood": 1})
        self.options = options
        self.rules = rules
        self.inputs: dict[str, Any] = {}
        self.pairing: dict[str, Any] = {}
        self.tested: tuple[str, str] = self.models

    def part(self, name: str, sides: tuple[str | None, str | None], data: str | None, labels: str | None) -> Any:
        """The rows of both sides, or None where none were given."""
        from manifold_probe.evaluation.outcome import part_of
        from manifold_probe.evaluation.read import read_pair
        from manifold_probe.models.source import has_kind
        from manifold_probe.report.document import left_out
        from manifold_probe.report.provenance import describe_input

        self.inputs[name] = self.pairing[name] = None
        chosen = self._chosen(name, sides, data)
        if chosen is None:
            if labels is not None:
                raise InputError(
                    f"--{name}-labels: there are no rows to label; give --teacher-{name}, --student-{name}"
                )
            return None
        if name == "test":
            self.tested = chosen
        pair = read_pair(*chosen, labels, **self.rules)
        named = {"teacher": pair.teacher, "student": pair.student}
        called = [text.partition(":")[2] if has_kind(text) else None for text in self.models]
        self.inputs[name] = {
            side: describe_input(space, model) for (side, space), model in zip(named.items(), called, strict=True)
        }
        pairing = {"by": pair.by, "rows": pair.teacher.n, "coverage": pair.coverage, "verified": pair.verified}
        self.pairing[name] = pairing | {"unlabelled": pair.unlabelled} | left_out(pair)
        return part_of(pair, name)

    def logits(self, labels: str | None) -> Any:
        """The logits in the test files, or None where a side has none."""
        from manifold_probe.evaluation.outcome import part_of
        from manifold_probe.evaluation.read import logits_path, read_pair

        teacher, student = (logits_path(path) for path in self.tested)
        if teacher is None or student is None:
            return None
        return part_of(read_pair(teacher, student, labels, **self.rules), "logits")

    def works(self, data: str | None) -> Any:
        """Both models, ready to run on the test images."""
        from manifold_probe.extraction.work import Request, prepared
        from manifold_probe.models.source import is_source

        for option, text in zip(("--teacher", "--student"), self.models, strict=True):
            if data is None or not is_source(text):
                raise InputError(f"{option}: {text} is no model with --data; corrupting images needs two models to run")
        assert data is not None
        return tuple(prepared(Request(text, data, **self.options)) for text in self.models)

    def _chosen(self, name: str, sides: tuple[str | None, str | None], data: str | None) -> tuple[str, str] | None:
        """A file or folder of features for both sides."""
        from manifold_probe.models.source import is_source

        if name != "test":
            if data is not None:  # a side without features of its own is the model
                sides = tuple(
                    model if given is None and is_source(model) else given
                    for given, model in zip(sides, self.models, strict=True)
                )  # type: ignore[assignment]
            if sides == (None, None) and data is None:
                return None
            for option, given in zip(("teacher", "student"), sides, strict=True):
                if given is None:
                    raise InputError(f"--{option}-{name}: missing beside the other side's; give features of both")
        options = self.options if data is not None or name == "test" else dict.fromkeys(self.options)
        both = {"teacher": str(sides[0]), "student": str(sides[1])}
        files = features_of_sides(both, data, options, self.features[name])
        return files["teacher"], files["student"]


def _tasks(text: str | None, corruptions: bool) -> list[str] | None:
    """The tasks that were named, or None for those that are possible."""
    from manifold_probe.evaluation.evaluate import TASKS

    if text is None:
        return None
    known = (*TASKS, "corruptions")
    asked = [part.strip() for part in text.split(",")] + (["corruptions"] if corruptions else [])
    for task in asked:
        if task not in known:
            raise InputError(f"--tasks: {task!r} is not known; choose from {', '.join(known)}")
    return [task for task in known if task in asked]


def _document(read: _Reader, outcomes: list[Any], settings: dict[str, Any], alarms: list[Any]) -> dict[str, Any]:
    from manifold_probe.extraction.agree import different_preprocessing, same_features
    from manifold_probe.report.document import plain
    from manifold_probe.report.evaluation import SCHEMA
    from manifold_probe.report.provenance import provenance_of

    test = read.inputs["test"]
    said = {"same_file": same_features(test), "different_preprocessing": different_preprocessing(*read.tested)}
    tasks = {
        each.key: {"teacher": each.teacher, "student": each.student, "n": each.n, "note": each.note}
        | ({"by_severity": each.details} if each.details else {})
        for each in outcomes
    }
    return plain(
        {
            "schema": SCHEMA,
            "inputs": read.inputs,
            "pairing": read.pairing,
            "settings": settings,
            "tasks": tasks,
            "fidelity": {each.key: each.fidelity for each in outcomes},
            "alarms": [
                *({"code": alarm.code, "message": alarm.message} for alarm in alarms),
                *({"code": code, "message": text} for code, texts in said.items() for text in texts),
            ],
            "provenance": provenance_of(settings["seed"]),
        }
    )
