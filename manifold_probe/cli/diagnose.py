"""`probe diagnose`: why does a student diverge from its teacher? The causes by name, each with its proof."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from manifold_probe.cli.arguments import FILES, MEASURES, MODEL, features_of_sides
from manifold_probe.cli.options import (
    BatchSize,
    Debug,
    IgnoreLabels,
    KeepFirst,
    Mean,
    Page,
    Pool,
    Size,
    Std,
    Unlabelled,
)
from manifold_probe.cli.shell import complain, show_lines, tell, write
from manifold_probe.errors import InputError
from manifold_probe.parts import Parts


def diagnose(
    teacher: Annotated[
        str, typer.Option(metavar="FILE[::KEY]", help="The teacher's features; or a model source, which needs --data.")
    ],
    student: Annotated[str, typer.Option(metavar="FILE[::KEY]", help="The student's features, or its model.")],
    k: Annotated[int, typer.Option(help="Neighbours of each point.")] = 10,
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
    """Name why a student diverges from its teacher: how sure, how much it explains, which rows, what to do.

    \b
    Examples:
      probe diagnose --teacher t.pt --student s.pt
      probe diagnose --teacher t.pt --student s.pt --slices slices.csv --report diagnosis.html
      probe diagnose --teacher t.pt --student run/ --train-ids run/train_ids.txt
    """
    from manifold_probe import api
    from manifold_probe.extraction.agree import different_preprocessing, same_features, version_warnings
    from manifold_probe.report.diagnosis.lines import diagnosis_lines
    from manifold_probe.report.outputs import Outputs
    from manifold_probe.report.progress import Progress

    api.check_settings(k, 2, seed)
    outputs = Outputs(report=report, figures=figures)
    outputs.check([])
    check_files(rows, save_repair, save_order, [teacher, student, labels, slices, train_ids, student_head])
    sides = {"--teacher": teacher, "--student": student}
    options = {"size": size, "mean": mean, "std": std, "pooling": pool, "batch_size": batch_size}
    to_write = FILES if rows or report or figures or save_repair else 0.0
    with Progress() as progress:
        shares = {"features": MODEL, "diagnosis": 3 * MEASURES, "rows": MEASURES if rows else 0.0}
        shares |= {"conditions": 3 * MEASURES if data else 0.0, "files": to_write}
        parts = Parts(progress, shares)
        files = features_of_sides(sides, data, options, parts["features"])
        result = api.diagnose(
            files["--teacher"],
            files["--student"],
            labels=labels,
            slices=slices,
            ids=(teacher_ids, student_ids),
            k=k,
            seed=seed,
            positional=positional,
            allow_missing=allow_missing,
            unlabelled=unlabelled or (),
            ignore_labels=ignore_labels,
            keep_first=keep_first,
            train_ids=train_ids,
            student_head=student_head,
            progress=parts["diagnosis"],
        )
        if rows is not None:
            result.save_rows(rows, parts["rows"])
        both = (files["--teacher"], files["--student"])
        same = same_features(result.to_dict()["inputs"])
        for warning in [*same, *version_warnings(*both), *different_preprocessing(*both)]:
            complain(f"warning: {warning}")
        if data is not None:
            parts["conditions"]("trying the student under changed conditions", 0, 1)
            result = with_interventions(result, student, files["--teacher"], data, options, seed, k)
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


def pairing_by(order: str) -> str:
    """How the file of `save_order` is used: of a .txt the student's ids alone, for the rows of the teacher in turn."""
    if order.lower().endswith(".csv"):
        return f"pair by it with --teacher-ids {order}::teacher --student-ids {order}::student"
    return f"give it as --student-ids {order}, and the teacher's row numbers from 0 on as --teacher-ids"


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


def with_interventions(
    result: Any, student: str, teacher: str, data: str, options: dict[str, Any], seed: int, k: int
) -> Any:
    """The diagnosis, and what extracting a few hundred rows again under changed conditions says of a student model."""
    from manifold_probe.diagnosis.intervene import cause_of, intervened, recorded
    from manifold_probe.extraction.work import Request, prepared
    from manifold_probe.models.source import is_source
    from manifold_probe.spaces.read import read

    if not is_source(student):
        return result
    complain("trying the student under changed conditions, a few hundred rows each")
    work = prepared(Request(student, data, **options))
    trials = intervened(work, read(teacher), seed, k, recipe_of(teacher))
    cause = cause_of(trials, k)
    return result.extended(["preprocessing"], [] if cause is None else [cause], interventions=recorded(trials))


def recipe_of(folder: str) -> Any:
    """How the images of a folder of features were prepared; None where the folder does not say, or for texts."""
    import json
    from pathlib import Path

    from manifold_probe.models.preprocessing import ImagePreprocessing

    try:
        record = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf-8"))["plan"]["preprocessing"]
        return ImagePreprocessing.from_record(record)
    except (OSError, ValueError, KeyError, TypeError, InputError):
        return None
