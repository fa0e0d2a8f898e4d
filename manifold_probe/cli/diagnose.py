"""`probe diagnose`: why does a student diverge from its teacher? The causes by name, each with its proof."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from manifold_probe.cli.arguments import FILES, MEASURES, MODEL, advising_extract
from manifold_probe.cli.options import (
    BatchSize,
    Debug,
    IgnoreLabels,
    KeepFirst,
    Mean,
    Page,
    Pool,
    Queries,
    Size,
    Std,
    Unlabelled,
)
from manifold_probe.cli.shell import complain, show_lines, tell, write
from manifold_probe.errors import InputError
from manifold_probe.parts import Parts


def diagnose(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A folder of probe distill, which knows all the rest.")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(metavar="FILE[::KEY]", help="The teacher's features; or a model source, which needs --data."),
    ] = None,
    student: Annotated[
        str | None, typer.Option(metavar="FILE[::KEY]", help="The student's features, or its model.")
    ] = None,
    k: Annotated[int, typer.Option(help="Neighbours of each point.")] = 10,
    queries: Queries = 5000,
    seed: Annotated[int, typer.Option(help="Seed of everything drawn at random.")] = 0,
    labels: Annotated[
        str | None, typer.Option(metavar="FILE[::KEY]", help="Class labels, in the teacher's row order or with ids.")
    ] = None,
    slices: Annotated[
        str | None,
        typer.Option(metavar="TABLE[::COLUMN]", help="Slices of the data, by id: did one of them fail alone?"),
    ] = None,
    train_ids: Annotated[
        str | None, typer.Option(metavar="FILE[::KEY]", help="Ids of rows trained on: are the others kept as well?")
    ] = None,
    train_teacher: Annotated[
        str | None, typer.Option(metavar="FILE[::KEY]", help="The teacher's features of rows that were trained on.")
    ] = None,
    train_student: Annotated[
        str | None, typer.Option(metavar="FILE[::KEY]", help="The student's features of the same rows.")
    ] = None,
    log: Annotated[
        str | None, typer.Option(metavar="LOG.csv|.jsonl", help="The training's log: step (or epoch) and loss.")
    ] = None,
    classes_trained: Annotated[
        str | None, typer.Option(metavar="A,B,C|FILE", help="Classes trained on: are the others kept worse?")
    ] = None,
    student_head: Annotated[
        str | None, typer.Option(metavar="FILE[::KEY]", help="Features of the student's head, beside its backbone's.")
    ] = None,
    teacher_ids: Annotated[str | None, typer.Option(metavar="FILE[::KEY]", help="Ids of the teacher's rows.")] = None,
    student_ids: Annotated[str | None, typer.Option(metavar="FILE[::KEY]", help="Ids of the student's rows.")] = None,
    positional: Annotated[bool, typer.Option("--positional", help="Pair by position whatever the ids say.")] = False,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Drop rows without a partner.")] = False,
    unlabelled: Unlabelled = None,
    ignore_labels: IgnoreLabels = False,
    keep_first: KeepFirst = False,
    json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object to stdout instead of the report.")
    ] = False,
    report: Page = None,
    figures: Annotated[
        str | None, typer.Option(metavar="DIR", help="Write the figure of the repairs there, as PDF, SVG and PNG.")
    ] = None,
    rows: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write what each row lost, worst first: .parquet or .csv.")
    ] = None,
    save_repair: Annotated[
        str | None, typer.Option(metavar="MAP.safetensors", help="Save the affine map that proved itself.")
    ] = None,
    save_order: Annotated[
        str | None,
        typer.Option(metavar="ORDER.csv", help="Save the row order that was found, as ids for both sides."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="What models see, as for probe extract; kept in probe-features.")
    ] = None,
    size: Size = None,
    mean: Mean = None,
    std: Std = None,
    pool: Pool = None,
    batch_size: BatchSize = None,
    debug: Debug = False,
) -> None:
    """Say where a student lost its teacher's neighbourhoods, and why: what each cause explains, its proof, what to do.

    \b
    Examples:
      probe diagnose run/
      probe diagnose --teacher t.pt --student s.pt
      probe diagnose --teacher t.pt --student s.pt --slices slices.csv --report diagnosis.html
      probe diagnose --teacher t.pt --student run/ --train-ids run/train_ids.txt --log run/log.jsonl
    """
    from manifold_probe import api
    from manifold_probe.extraction.agree import different_preprocessing, same_features, version_warnings
    from manifold_probe.report.diagnosis.lines import diagnosis_lines
    from manifold_probe.report.outputs import Outputs
    from manifold_probe.report.progress import Progress

    check_sides(run, teacher, student)
    api.check_settings(k, queries, seed)
    outputs = Outputs(report=report, figures=figures)
    outputs.check([])
    inputs = [run, teacher, student, labels, slices, train_ids, train_teacher, train_student, log, student_head]
    check_files(rows, save_repair, save_order, inputs)
    to_write = FILES if rows or report or figures or save_repair else 0.0
    models = MODEL if data or run else 0.0
    with Progress() as progress:
        shares = {"diagnosis": models + 3 * MEASURES, "rows": MEASURES if rows else 0.0, "files": to_write}
        parts = Parts(progress, shares)
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
                tell=complain,
                progress=parts["diagnosis"],
            )
        if rows is not None:
            result.save_rows(rows, parts["rows"])
        described = result.to_dict()["inputs"]
        both = [described[side]["path"] or "" for side in ("teacher", "student")]
        for warning in [*same_features(described), *version_warnings(*both), *different_preprocessing(*both)]:
            complain(f"warning: {warning}")
        for line in said_of_run(run, result.to_dict()["examined"].get("training") or {}):
            complain(line)
        with progress.aside():
            if json:
                write(result.to_json() + "\n")
            else:
                show_lines(lambda width: diagnosis_lines(result.to_dict(), width))
        parts["files"]("writing the files", 0, 1)
        tell(outputs.write(result))
        if rows is not None:
            complain(f"wrote the rows {rows}")
        if save_order is not None:
            result.save_order(save_order)
            complain(f"wrote the order {save_order}: {pairing_by(save_order)}")
        if save_repair is not None:
            found = result.repair()
            found.save(save_repair)
            facts = found.facts
            gained = f"{facts['measure']} {float(facts['before']):.3f} to {float(facts['after']):.3f} on held-out rows"
            complain(f"wrote the map {save_repair} ({facts['repair'].replace('_', ' ')}: {gained})")


def said_of_run(run: str | None, facts: dict[str, Any]) -> list[str]:
    """What a reader of a run's diagnosis must know: rows that it is of, an end not reached, models not tried."""
    found = []
    if not facts.get("finished", True):
        found.append(
            f"warning: {run} is not finished (step {facts['step']:,} of {facts['steps']:,}): its last saved state is "
            "diagnosed"
        )
    if facts.get("measured") == "all rows":
        found.append(f"warning: too few rows of {run} were held out of training: all rows are diagnosed")
    found += [f"warning: the model of {run} was not tried: {why}" for why in facts.get("not_tried", [])]
    return found


def pairing_by(order: str) -> str:
    """How the file of `save_order` is used: of a .txt the student's ids alone, for the rows of the teacher in turn."""
    if order.lower().endswith(".csv"):
        return f"pair by it with --teacher-ids {order}::teacher --student-ids {order}::student"
    return f"give it as --student-ids {order}, and the teacher's row numbers from 0 on as --teacher-ids"


def check_sides(run: str | None, teacher: str | None, student: str | None) -> None:
    """Refuse a run beside two sides, and one side alone."""
    if run is not None:
        if teacher is not None or student is not None:
            raise InputError(f"{run}: the folder of a run goes without --teacher and --student; leave these out")
        return
    for option, side in (("--teacher", teacher), ("--student", student)):
        if side is None:
            raise InputError(f"{option}: missing; give --teacher and --student, or the folder of a run")


def check_files(rows: str | None, save_repair: str | None, save_order: str | None, inputs: list[str | None]) -> None:
    """Refuse what cannot be written, and what would overwrite an input, before any work."""
    import os

    from manifold_probe.files import check_file
    from manifold_probe.report.diagnosis.rows import check_order, check_rows

    if rows is not None:
        check_rows(rows)
    if save_order is not None:
        check_order(save_order)
    if save_repair is not None and not save_repair.lower().endswith(".safetensors"):
        raise InputError(f"--save-repair: {save_repair}: maps are written as .safetensors; choose such a name")
    for option, path in (("--rows", rows), ("--save-repair", save_repair), ("--save-order", save_order)):
        if path is None:
            continue
        check_file(path, option)
        for each in inputs:
            file = "" if each is None else each if os.path.exists(each) else each.rpartition("::")[0]
            if file and os.path.exists(file) and os.path.realpath(file) == os.path.realpath(path):
                raise InputError(f"{option}: {path} is an input of this command; choose another file")
