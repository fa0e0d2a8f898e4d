"""`probe compare`: how faithful is a student to its teacher? Of features, of models on data, of layers."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from manifold_probe.cli.arguments import (
    DEFAULT_DROP,
    FILES,
    MEASURES,
    MODEL,
    checked_drop,
    features_of_sides,
    measures_named,
    named_students,
)
from manifold_probe.cli.options import (
    AllowMissing,
    BatchSize,
    Debug,
    IgnoreLabels,
    KeepFirst,
    Labels,
    Mean,
    Measures,
    Neighbours,
    Page,
    Pool,
    Positional,
    Queries,
    Seed,
    Size,
    Std,
    StudentIds,
    Students,
    Table,
    Teacher,
    TeacherIds,
    Unlabelled,
)
from manifold_probe.cli.shell import complain, judge, show, show_lines, tell, write
from manifold_probe.errors import InputError
from manifold_probe.parts import Parts


def compare(
    teacher: Teacher,
    student: Students,
    k: Neighbours = 10,
    queries: Queries = 5000,
    seed: Seed = 0,
    measures: Measures = None,
    labels: Labels = None,
    teacher_ids: TeacherIds = None,
    student_ids: StudentIds = None,
    positional: Positional = False,
    allow_missing: AllowMissing = False,
    unlabelled: Unlabelled = None,
    ignore_labels: IgnoreLabels = False,
    keep_first: KeepFirst = False,
    executor: Annotated[
        str | None,
        typer.Option(metavar="dask[://HOST:PORT]", help="Read rows on Dask workers: made here, or running there."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object to stdout instead of the report.")
    ] = False,
    fail_under: Annotated[
        str | None, typer.Option(metavar="MEASURE=X,...", help="Exit 1 where a lower confidence bound is below X.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="OLD.json", help="Exit 1 where a measure fell against this saved result.")
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help=f"How far a measure may fall from the baseline.  [default: {DEFAULT_DROP}]")
    ] = None,
    report: Page = None,
    table: Table = None,
    figures: Annotated[
        str | None, typer.Option(metavar="DIR", help="Write the figures there, as PDF, SVG and PNG.")
    ] = None,
    no_maps: Annotated[
        bool, typer.Option("--no-maps", help="Leave the maps (UMAP), which are slow, out of figures and page.")
    ] = False,
    diagnose: Annotated[
        bool, typer.Option("--diagnose", help="Also say where each student's loss went, and why.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="What models see, as for probe extract; kept in probe-features.")
    ] = None,
    size: Size = None,
    mean: Mean = None,
    std: Std = None,
    pool: Pool = None,
    batch_size: BatchSize = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Compare every layer of both folders: the matrix of linear CKA.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Measure how faithfully each student kept the teacher's neighbourhoods, shape and classes.

    \b
    Examples:
      probe compare --teacher t.pt --student s.pt
      probe compare --teacher t.pt --student cosine=s.pt --student coss=coss.pt --report page.html
      probe compare --teacher t.pt --student s.pt --diagnose --report page.html
      probe compare --teacher t.pt --student s.pt --labels labels.csv --fail-under overlap@10=0.7
    """
    from manifold_probe.api import check_settings
    from manifold_probe.engine.executors import check_executor
    from manifold_probe.extraction.agree import version_warnings
    from manifold_probe.report import gates
    from manifold_probe.report.document import read_document
    from manifold_probe.report.outputs import Outputs
    from manifold_probe.report.progress import Progress

    check_settings(k, queries, seed)
    students = named_students(student)
    if layers:
        of_layers: dict[str, Any] = {"--data": data, "--size": size, "--mean": mean, "--std": std, "--pool": pool}
        of_layers |= {"--batch-size": batch_size, "--labels": labels, "--report": report, "--baseline": baseline}
        of_layers |= {"--teacher-ids": teacher_ids, "--student-ids": student_ids, "--fail-under": fail_under}
        of_layers |= {
            "--max-drop": max_drop,
            "--no-maps": no_maps or None,
            "--diagnose": diagnose or None,
            "--unlabelled": unlabelled,
            "--k": k if k != 10 else None,
        }
        of_layers |= {"--queries": queries if queries != 5000 else None, "--seed": seed or None}
        of_layers |= {"--ignore-labels": ignore_labels or None, "--measures": measures, "--executor": executor}
        refuse_beside_layers([teacher, *students.values()], of_layers)
        rules = {"positional": positional, "allow_missing": allow_missing, "keep_first": keep_first}
        compare_layers(teacher, students, rules, json=json, table=table, figures=figures)
        return
    check_executor(executor)
    outputs = Outputs(report=report, table=table, figures=figures)
    outputs.check([teacher, *students.values(), labels, teacher_ids, student_ids, baseline])
    chosen = measures_named(measures, k)
    wanted = gates.parse_gates(fail_under, k, chosen) if fail_under is not None else []
    drop = checked_drop(max_drop, baseline)
    before = read_document(baseline) if baseline is not None else None
    if before is not None and baseline is not None:
        gates.check_baseline(before, baseline, list(students), k)

    options = {"size": size, "mean": mean, "std": std, "pooling": pool, "batch_size": batch_size}
    to_write = FILES if report or table or figures else 0.0
    with Progress() as progress:
        to_measure = 2 * MEASURES if diagnose else MEASURES
        parts = Parts(progress, {"features": MODEL, "comparison": to_measure, "files": to_write})
        files = features_of_sides({"--teacher": teacher, **students}, data, options, parts["features"])
        teacher, students = files.pop("--teacher"), files
        result = compared(
            teacher,
            students,
            parts["comparison"],
            labels=labels,
            ids=(teacher_ids, student_ids),
            k=k,
            queries=queries,
            seed=seed,
            positional=positional,
            allow_missing=allow_missing,
            unlabelled=unlabelled or (),
            ignore_labels=ignore_labels,
            keep_first=keep_first,
            measures=chosen,
            maps=not no_maps and bool(report or figures),
            diagnose=diagnose,
            executor=executor,
        )
        for path in students.values():
            for warning in version_warnings(teacher, path):
                complain(f"warning: {warning}")
        with progress.aside():
            if json:
                write(result.to_json() + "\n")
            else:
                show(result.to_dict())
        outcomes = gates.check_gates(result.to_dict(), wanted)
        if before is not None:
            outcomes += gates.check_drops(result.to_dict(), before, drop, chosen)
            for warning in gates.baseline_warnings(result.to_dict(), before):
                complain(f"warning: {warning}")
        parts["files"]("writing the files", 0, 1)
        written = outputs.write(result)
    if outcomes and not json:
        write("\n")
    tell(written)
    judge(outcomes, sys.stderr if json else sys.stdout)


def refuse_beside_layers(sides: list[str], options: dict[str, Any]) -> None:
    """Refuse what the layer-by-layer comparison does not read: a model, or an option that only the other has."""
    from manifold_probe.models.source import is_source

    for text in sides:
        if is_source(text):
            raise InputError(f"--layers: {text} is a model; extract both with probe extract --layers first")
    for name, value in options.items():
        if value is not None:
            raise InputError(f"{name}: does not go with --layers, which gives the matrix of CKA alone; leave it out")


def compare_layers(
    teacher: str,
    students: dict[str, str],
    rules: dict[str, bool],
    *,
    json: bool,
    table: str | None,
    figures: str | None,
) -> None:
    """The matrix of every teacher layer against every student layer, shown and written where asked."""
    from manifold_probe.report import layers
    from manifold_probe.report.document import to_json
    from manifold_probe.report.layers_files import LayersOutputs
    from manifold_probe.report.progress import Progress

    if len(students) > 1:
        raise InputError("--layers: compares one student at a time; give one --student")
    outputs = LayersOutputs(table, figures)
    outputs.check()
    with Progress() as progress:
        document = layers.compare_layers(
            teacher,
            next(iter(students.values())),
            **rules,
            progress=progress,
        )
    if json:
        write(to_json(document) + "\n")
    else:
        show_lines(lambda width: layers.layer_lines(document, width))
    tell(outputs.write(document))


def compared(teacher: str, students: dict[str, str], progress: Any, **options: Any) -> Any:
    """One student's comparison, or the comparisons of several."""
    from manifold_probe import api

    results = api.compare(teacher, students, progress=progress, **options)
    return results if len(students) > 1 else next(iter(results.values()))
