"""`probe diagnose`: why does a student diverge from its teacher? The causes by name, each with its proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifold_probe.cli.arguments import FILES, advising_extract, two_sides_of_one
from manifold_probe.cli.options import (
    AllowMissing,
    BatchSize,
    Data,
    Debug,
    Figures,
    IgnoreLabels,
    Json,
    KeepFirst,
    Labels,
    Mean,
    Neighbours,
    Page,
    Pool,
    Positional,
    Queries,
    Seed,
    Size,
    Std,
    Student,
    StudentIds,
    Teacher,
    TeacherIds,
    Unlabelled,
    features,
    labelling,
    output,
    training,
)
from manifold_probe.cli.shell import complain, show, tell, write
from manifold_probe.errors import InputError
from manifold_probe.parts import Parts

if TYPE_CHECKING:
    from manifold_probe.api import Diagnosis


def diagnose(
    sides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN | TEACHER STUDENT",
            help="A folder of probe distill, which knows all the rest; or teacher and student.",
        ),
    ] = None,
    teacher: Teacher = None,
    student: Student = None,
    student_head: Annotated[
        str | None,
        features(metavar="FILE[::KEY]", help="Features of the student's head, in addition to its backbone's."),
    ] = None,
    labels: Labels = None,
    slices: Annotated[
        str | None,
        labelling(metavar="TABLE[::COLUMN]", help="Slices of the data, by id: did one of them fail alone?"),
    ] = None,
    unlabelled: Unlabelled = None,
    ignore_labels: IgnoreLabels = False,
    teacher_ids: TeacherIds = None,
    student_ids: StudentIds = None,
    positional: Positional = False,
    allow_missing: AllowMissing = False,
    keep_first: KeepFirst = False,
    train_ids: Annotated[
        str | None, training(metavar="FILE[::KEY]", help="Ids of rows trained on: are the others kept as well?")
    ] = None,
    train_teacher: Annotated[
        str | None, training(metavar="FILE[::KEY]", help="The teacher's features of rows that were trained on.")
    ] = None,
    train_student: Annotated[
        str | None, training(metavar="FILE[::KEY]", help="The student's features of the same rows.")
    ] = None,
    log: Annotated[
        str | None, training(metavar="LOG.csv|.jsonl", help="The training's log: step (or epoch) and loss.")
    ] = None,
    classes_trained: Annotated[
        str | None, training(metavar="A,B,C|FILE", help="Classes trained on: are the others kept worse?")
    ] = None,
    k: Neighbours = 10,
    queries: Queries = 5000,
    seed: Seed = 0,
    json: Json = False,
    report: Page = None,
    figures: Figures = None,
    rows: Annotated[
        str | None, output(metavar="FILE", help="Write what each row lost, worst first: .parquet or .csv.")
    ] = None,
    save_repair: Annotated[
        str | None, output(metavar="MAP.safetensors", help="Save the affine map that was proved to help.")
    ] = None,
    save_order: Annotated[
        str | None, output(metavar="ORDER.csv", help="Save the row order that was found, as ids for both sides.")
    ] = None,
    data: Data = None,
    size: Size = None,
    mean: Mean = None,
    std: Std = None,
    pool: Pool = None,
    batch_size: BatchSize = None,
    debug: Debug = False,
) -> None:
    """Show where a student lost its teacher's neighbours, and why.

    An account of the whole loss; then the causes, with what each explains, its proof and what to do.

    \b
    Examples:
      probe diagnose run/
      probe diagnose t.pt s.pt
      probe diagnose --teacher t.pt --student s.pt --slices slices.csv --report diagnosis.html
      probe diagnose --teacher t.pt --student run/ --train-ids run/train_ids.txt --log run/log.jsonl
    """
    from manifold_probe import api
    from manifold_probe.report.outputs import Outputs
    from manifold_probe.report.progress import Progress

    run, teacher, student = run_or_sides(sides, teacher, student)
    api.check_settings(k, queries, seed)
    outputs = Outputs(report=report, figures=figures)
    outputs.check([])
    inputs = [run, teacher, student, labels, slices, train_ids, train_teacher, train_student, log, student_head]
    check_files(rows, save_repair, save_order, inputs)
    to_write = FILES if rows or report or figures or save_repair else 0.0
    with Progress() as progress:
        parts = Parts(progress, {"diagnosis": 1.0, "rows": 0.3 if rows else 0.0, "files": to_write})
        with advising_extract():
            result = api.diagnose(
                run or teacher,
                student,
                labels=labels,
                slices=slices,
                ids=(teacher_ids, student_ids) if teacher_ids or student_ids else None,
                k=k,
                queries=queries,
                seed=seed,
                positional=positional,
                allow_missing=allow_missing,
                unlabelled=unlabelled or (),
                ignore_labels=ignore_labels,
                keep_first=keep_first,
                student_head=student_head,
                train_ids=train_ids,
                train_teacher=train_teacher,
                train_student=train_student,
                log=log,
                classes_trained=classes_trained,
                data=data,
                size=size,
                mean=mean,
                std=std,
                pool=pool,
                batch_size=batch_size,
                notify=complain,
                progress=parts["diagnosis"],
            )
        if rows is not None:
            result.save_rows(rows, parts["rows"])
        tell([f"warning: {warning}" for warning in warnings_of(run, result.to_dict())])
        with progress.aside():
            if json:
                write(result.to_json() + "\n")
            else:
                show(result.lines)
        parts["files"]("writing the files", 0, 1)
        tell(outputs.write(result))
        if rows is not None:
            complain(f"wrote the rows {rows}")
        save_what_was_found(result, save_repair, save_order)


def save_what_was_found(result: Diagnosis, save_repair: str | None, save_order: str | None) -> None:
    """Write the order of the rows and the repair, where asked, and say how they are used."""
    if save_order is not None:
        result.save_order(save_order)
        complain(f"wrote the order {save_order}: {pairing_by(save_order)}")
    if save_repair is not None:
        repair = result.repair()
        repair.save(save_repair)
        facts = repair.facts
        gained = f"{facts['measure']} {float(facts['before']):.3f} to {float(facts['after']):.3f} on held-out rows"
        complain(f"wrote the map {save_repair} ({facts['repair'].replace('_', ' ')}: {gained})")


def warnings_of(run: str | None, document: dict[str, Any]) -> list[str]:
    """What a reader must know of the two sides: one file, other libraries or preprocessing; and of a run."""
    from manifold_probe.extraction.agree import different_preprocessing, same_features, version_warnings

    inputs = document["inputs"]
    both = [inputs[side]["path"] or "" for side in ("teacher", "student")]
    of_sides = [*same_features(inputs), *version_warnings(*both), *different_preprocessing(*both)]
    return of_sides + warnings_of_run(run, document["examined"].get("training") or {})


def warnings_of_run(run: str | None, facts: dict[str, Any]) -> list[str]:
    """What a reader of a run's diagnosis must know: which rows it is of, that it is not finished, models not tried."""
    warnings = []
    if not facts.get("finished", True):
        reached = f"step {facts['step']:,} of {facts['steps']:,}"
        warnings.append(f"{run} is not finished ({reached}): its last saved state is diagnosed")
    if facts.get("measured") == "all rows":
        warnings.append(f"too few rows of {run} were held out of training: all rows are diagnosed")
    return warnings + [f"the model of {run} was not tried: {why}" for why in facts.get("not_tried", [])]


def pairing_by(order: str) -> str:
    """How the file of `save_order` is used: of a .txt the student's ids alone, for the rows of the teacher in turn."""
    if order.lower().endswith(".csv"):
        return f"pair by it with --teacher-ids {order}::teacher --student-ids {order}::student"
    return f"give it as --student-ids {order}, and the teacher's row numbers from 0 on as --teacher-ids"


def run_or_sides(
    arguments: list[str] | None, teacher: str | None, student: str | None
) -> tuple[str | None, str | None, str | None]:
    """The run, or teacher and student. Raises InputError for a run together with two sides, and for one side alone.

    >>> run_or_sides(["run/"], None, None), run_or_sides(["t.pt", "s.pt"], None, None)
    (('run/', None, None), (None, 't.pt', 's.pt'))
    """
    if arguments is None or len(arguments) != 1:
        if not arguments and None in (teacher, student):
            option = "--teacher" if teacher is None else "--student"
            raise InputError(f"{option}: missing; give teacher and student, or the folder of a run")
        return None, *two_sides_of_one(arguments, teacher, student)
    if teacher is not None or student is not None:
        raise InputError(f"{arguments[0]}: the folder of a run goes without --teacher and --student; leave these out")
    return arguments[0], None, None


def check_files(rows: str | None, save_repair: str | None, save_order: str | None, inputs: list[str | None]) -> None:
    """Refuse what cannot be written, and what would overwrite an input, before any work."""
    from manifold_probe.api.results import check_order, check_rows
    from manifold_probe.files import check_file, check_map, check_no_input

    if rows is not None:
        check_rows(rows)
    if save_order is not None:
        check_order(save_order)
    if save_repair is not None:
        check_map(save_repair, "--save-repair", inputs)
    for option, path in (("--rows", rows), ("--save-order", save_order)):
        if path is not None:
            check_file(path, option)
            check_no_input(path, option, inputs)
