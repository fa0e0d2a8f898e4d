"""`probe evaluate`: what teacher and student features are good for, task by task, and how far the two agree."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from manifold_probe.cli.arguments import advising_extract, named_students, two_sides
from manifold_probe.cli.options import (
    AllowMissing,
    BatchSize,
    Debug,
    IgnoreLabels,
    Json,
    KeepFirst,
    Labels,
    Mean,
    Page,
    Pool,
    Positional,
    Rows,
    Seed,
    Sides,
    Size,
    Std,
    Students,
    Teacher,
    Unlabelled,
    features,
    labelling,
    models,
    output,
    pairing,
)
from manifold_probe.cli.shell import complain, show, write
from manifold_probe.errors import InputError

tasks_group = partial(typer.Option, rich_help_panel="Tasks")


def evaluate(
    sides: Sides = None,
    teacher: Teacher = None,
    student: Students = None,
    rows: Rows = None,
    teacher_train: Annotated[
        str | None, features(metavar="FILE[::KEY]", help="The teacher's labelled training features: the bank.")
    ] = None,
    student_train: Annotated[
        list[str] | None,
        features(metavar="FILE[::KEY]", help="The student's labelled training features; of several in their order."),
    ] = None,
    teacher_ood: Annotated[
        str | None, features(metavar="FILE[::KEY]", help="The teacher's features of unusual inputs.")
    ] = None,
    student_ood: Annotated[
        list[str] | None,
        features(metavar="FILE[::KEY]", help="The student's features of these inputs; of several in their order."),
    ] = None,
    tasks: Annotated[
        str | None,
        tasks_group(
            metavar="TASK,...",
            help="knn, linear, linear-sgd, retrieval, ood, logits, corruptions.  "
            "[default: those for which there is data, but linear-sgd and corruptions]",
        ),
    ] = None,
    k: Annotated[int, tasks_group(help="Neighbours that vote.")] = 10,
    seed: Seed = 0,
    corruptions: Annotated[
        bool, tasks_group("--corruptions", help="Also corrupt the test images, for two models with --data.")
    ] = False,
    corrupted_images: Annotated[int, tasks_group(metavar="N", help="How many test images are corrupted.")] = 500,
    labels: Labels = None,
    train_labels: Annotated[str | None, labelling(metavar="FILE[::KEY]", help="Labels of the training rows.")] = None,
    unlabelled: Unlabelled = None,
    ignore_labels: IgnoreLabels = False,
    positional: Positional = False,
    allow_missing: AllowMissing = False,
    keep_first: KeepFirst = False,
    drop_leaked: Annotated[
        bool, pairing("--drop-leaked", help="Leave out of the bank what is also among the test rows.")
    ] = False,
    json: Json = False,
    report: Page = None,
    table: Annotated[
        str | None, output(metavar="FILE", help="Write a table: .csv or .parquet (tidy), .md (to print).")
    ] = None,
    out: Annotated[str | None, output(metavar="FILE.json", help="Also write that object there.")] = None,
    data: Annotated[
        str | None, models(metavar="DATA", help="What models are tested on; features are kept in probe-features.")
    ] = None,
    train_data: Annotated[
        str | None, models(metavar="DATA", help="Labelled training inputs of models: the bank.")
    ] = None,
    ood_data: Annotated[
        str | None, models(metavar="DATA", help="Unusual inputs for models, to be distinguished from the test inputs.")
    ] = None,
    size: Size = None,
    mean: Mean = None,
    std: Std = None,
    pool: Pool = None,
    batch_size: BatchSize = None,
    debug: Debug = False,
) -> None:
    """Classify, retrieve and detect with both models' features.

    How good are both, and do they err on the same rows? Without training features half of the test rows are the bank.
    Test and training rows of a data set that the student was not distilled on make it a test of transfer.

    \b
    Examples:
      probe evaluate t.pt s.pt
      probe evaluate --teacher t.pt --student s.pt --teacher-train t_train.pt --student-train s_train.pt
      probe evaluate t.pt cosine=s.pt coss=coss.pt --report tasks.html
    """
    from manifold_probe import api
    from manifold_probe.files import check_file
    from manifold_probe.report.outputs import Outputs
    from manifold_probe.report.progress import Progress

    teacher, texts = two_sides(sides, teacher, student)
    students = named_students(texts)
    outputs = Outputs(report, table, kind=api.Evaluation)
    outputs.check([teacher, *students.values()])
    if out is not None:
        check_file(out, "--out")
    with Progress() as progress, advising_extract():
        result = api.evaluate(
            teacher,
            students if len(students) > 1 else next(iter(students.values())),
            teacher_train=teacher_train,
            student_train=of_students(student_train, students, "--student-train"),
            teacher_ood=teacher_ood,
            student_ood=of_students(student_ood, students, "--student-ood"),
            rows=rows,
            tasks=None if tasks is None else [task.strip() for task in tasks.split(",")],
            labels=labels,
            train_labels=train_labels,
            k=k,
            seed=seed,
            positional=positional,
            allow_missing=allow_missing,
            unlabelled=unlabelled or (),
            ignore_labels=ignore_labels,
            drop_leaked=drop_leaked,
            keep_first=keep_first,
            data=data,
            train_data=train_data,
            ood_data=ood_data,
            corruptions=corruptions,
            corrupted_images=corrupted_images,
            size=size,
            mean=mean,
            std=std,
            pool=pool,
            batch_size=batch_size,
            notify=complain,
            progress=progress,
        )
    if out is not None:
        result.save(out)
    if json:
        write(result.to_json() + "\n")
    else:
        show(result.lines)
    if out is not None:
        complain(f"wrote {out}")
    for line in outputs.write(result):
        complain(line)


def of_students(given: list[str] | None, students: dict[str, str], option: str) -> Any:
    """The further features of the only student, or of all by name; they come in the order of the students.

    >>> of_students(["a_train.pt", "b_train.pt"], {"a": "a.pt", "b": "b.pt"}, "--student-train")
    {'a': 'a_train.pt', 'b': 'b_train.pt'}
    """
    if given is None:
        return None
    if len(given) != len(students):
        raise InputError(
            f"{option}: is given {len(given)} times for {len(students)} students; give it once for each student, in "
            "their order"
        )
    return given[0] if len(students) == 1 else dict(zip(students, given, strict=True))
