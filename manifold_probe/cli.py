"""The command line: one thin function a verb. How a verb runs, and how it fails, is in shell.py.

Everything heavy is imported inside the verbs, so that ``probe --help`` answers at once.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from manifold_probe import __version__, shell
from manifold_probe.arguments import (
    DEFAULT_DROP,
    checked_drop,
    column_of_ids,
    features_of_sides,
    named_results,
    named_students,
)
from manifold_probe.errors import InputError
from manifold_probe.shell import complain, judge, show, show_lines, tell, write

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
Page = Annotated[str | None, typer.Option(metavar="FILE.html", help="Write the report as one page, offline.")]
Table = Annotated[
    str | None, typer.Option(metavar="FILE", help="Write a table: .csv or .parquet (tidy), .tex or .md (to print).")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def main() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    shell.main(app)


def run(arguments: list[str]) -> int:
    """Run a command line; the exit code."""
    return shell.run(app, arguments)


@app.callback(invoke_without_command=True)
def probe(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Debug = False,
) -> None:
    """How faithfully did a student model keep its teacher's embedding manifold?"""
    if version:
        write(f"manifold_probe {__version__}\n")
    elif context.invoked_subcommand is None:
        write(context.get_help() + "\n")


@app.command()
def compare(
    teacher: Annotated[
        str, typer.Option(metavar="FILE[::KEY]", help="The teacher's features; or a model source, which needs --data.")
    ],
    student: Annotated[
        list[str],
        typer.Option(metavar="[NAME=]FILE[::KEY]", help="A student's, or its model; repeat it to compare several."),
    ],
    k: Annotated[int, typer.Option(help="Neighbours of each point.")] = 10,
    queries: Annotated[int, typer.Option(help="Points whose neighbours are looked up, among all points.")] = 5000,
    seed: Annotated[int, typer.Option(help="Seed of everything drawn at random.")] = 0,
    labels: Annotated[
        str | None, typer.Option(metavar="FILE[::KEY]", help="Class labels, in the teacher's row order or with ids.")
    ] = None,
    teacher_ids: Annotated[str | None, typer.Option(metavar="FILE[::KEY]", help="Ids of the teacher's rows.")] = None,
    student_ids: Annotated[str | None, typer.Option(metavar="FILE[::KEY]", help="Ids of the students' rows.")] = None,
    positional: Annotated[bool, typer.Option("--positional", help="Pair by position whatever the ids say.")] = False,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Drop rows without a partner.")] = False,
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
    no_maps: Annotated[bool, typer.Option("--no-maps", help="Leave the maps (UMAP) out of figures and page.")] = False,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="What models see, as for probe extract; kept in probe-features.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="With --data: see probe extract, as for those that follow.")] = None,
    mean: Annotated[str | None, typer.Option(help="With --data.")] = None,
    std: Annotated[str | None, typer.Option(help="With --data.")] = None,
    pool: Annotated[str | None, typer.Option(help="With --data.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="With --data.")] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Compare every layer of both folders: the matrix of linear CKA.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Measure how faithfully each student kept the teacher's neighbourhoods, shape and classes."""
    from manifold_probe.api import check_settings
    from manifold_probe.report import gates
    from manifold_probe.report.document import read_document
    from manifold_probe.report.outputs import Outputs

    check_settings(k, queries, seed)
    students = named_students(student)
    if layers:
        compare_layers(teacher, students, positional, allow_missing, json=json, table=table, figures=figures)
        return
    outputs = Outputs(report=report, table=table, figures=figures)
    outputs.check([teacher, *students.values(), labels, teacher_ids, student_ids, baseline])
    wanted = gates.parse_gates(fail_under, k) if fail_under is not None else []
    drop = checked_drop(max_drop, baseline)
    before = read_document(baseline) if baseline is not None else None
    if before is not None and baseline is not None:
        gates.check_baseline(before, baseline, list(students), k)

    options = {"size": size, "mean": mean, "std": std, "pooling": pool, "batch_size": batch_size}
    files = features_of_sides({"--teacher": teacher, **students}, data, options)
    teacher, students = files.pop("--teacher"), files
    result = _compare(
        teacher,
        students,
        labels=labels,
        ids=(column_of_ids(teacher_ids), column_of_ids(student_ids)),
        k=k,
        queries=queries,
        seed=seed,
        positional=positional,
        allow_missing=allow_missing,
        maps=not no_maps and bool(report or figures),
    )
    if json:
        write(result.to_json() + "\n")
    else:
        show(result.to_dict())
    outcomes = gates.check_gates(result.to_dict(), wanted)
    if before is not None:
        outcomes += gates.check_drops(result.to_dict(), before, drop)
        for warning in gates.baseline_warnings(result.to_dict(), before):
            complain(f"warning: {warning}")
    if outcomes and not json:
        write("\n")
    tell(outputs.write(result))
    judge(outcomes, sys.stderr if json else sys.stdout)


@app.command()
def figures(
    results: Annotated[
        list[str], typer.Argument(metavar="[NAME=]RESULT.json...", help="Saved results of one teacher.")
    ],
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Write the figures there, as PDF, SVG and PNG.")
    ] = None,
    style: Annotated[str, typer.Option(help="paper or slides.")] = "paper",
    width: Annotated[
        str | None,
        typer.Option(
            help="neurips, icml-column, icml-page, cvpr-column, cvpr-page, or inches.  [default: the style's]"
        ),
    ] = None,
    report: Page = None,
    table: Table = None,
    debug: Debug = False,
) -> None:
    """Draw saved results: figures, and where asked the page and a table, without the features."""
    from manifold_probe.api import of_document
    from manifold_probe.report.document import SEVERAL, read_document
    from manifold_probe.report.merge import merged
    from manifold_probe.report.outputs import Outputs
    from manifold_probe.report.students import APART, paired

    if not (out or report or table):
        raise InputError("--out: nothing is asked for; give --out DIR, --report FILE.html or --table FILE")
    names = named_results(results)
    outputs = Outputs(report=report, table=table, figures=out, style=style, width=width, figures_option="--out")
    outputs.check(list(names))
    documents = {path: read_document(path) for path in names}
    called = {path: name for path, name in names.items() if name is not None}
    document = merged(documents, called)
    tell(outputs.write(of_document(document)))
    if document["schema"] == SEVERAL and not paired(document):
        complain(f"note: {APART}")


@app.command()
def extract(
    model: Annotated[
        str,
        typer.Option(
            metavar="SOURCE", help="timm:NAME, hf:NAME, st:NAME, python:package.module:callable?key=value or FILE.pt."
        ),
    ],
    data: Annotated[
        str, typer.Option(metavar="DATA", help="A folder of images, a table, .npz or idx arrays, or lines of text.")
    ],
    out: Annotated[str | None, typer.Option(metavar="DIR", help="Where the features are written.")] = None,
    weights: Annotated[str | None, typer.Option(metavar="FILE", help="A state dict to load into the model.")] = None,
    size: Annotated[str | None, typer.Option(help="Side of the input images, in pixels.")] = None,
    mean: Annotated[str | None, typer.Option(help="Taken from pixels in 0..1: one number, or one a channel.")] = None,
    std: Annotated[str | None, typer.Option(help="They are divided by it then: one number, or one a channel.")] = None,
    layers: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Submodules, by name or glob, in place of the output.")
    ] = None,
    list_layers: Annotated[bool, typer.Option("--list-layers", help="Print the submodules and leave.")] = False,
    pool: Annotated[str | None, typer.Option(help="cls, mean, tokens or flat, for outputs that need it.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Inputs at a time.  [default: by device]")] = None,
    dtype: Annotated[str, typer.Option(help="float16 or float32, as stored.")] = "float16",
    ids: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column or array that holds the ids.")] = None,
    labels: Annotated[str | None, typer.Option(metavar="COLUMN", help="The one that holds the labels.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out what cannot be read, and list it.")] = False,
    verify: Annotated[
        int | None, typer.Option(metavar="N", help="Compute N rows of a finished folder again and compare.")
    ] = None,
    views: Annotated[int, typer.Option(metavar="N", help="Augmented views of every image beside the plain one.")] = 0,
    recipe: Annotated[str, typer.Option(help="How views differ: crop-mirror-jitter or plain.")] = "crop-mirror-jitter",
    seed: Annotated[int, typer.Option(help="Seed of the views.")] = 0,
    debug: Debug = False,
) -> None:
    """Turn a model and data into features on disk: once, resumably."""
    from manifold_probe.extraction import run as extraction
    from manifold_probe.extraction import verify as checking
    from manifold_probe.report.progress import Progress

    request = extraction.Request(
        model=model,
        data=data,
        weights=weights,
        size=size,
        mean=mean,
        std=std,
        layers=tuple(layers or ()),
        pooling=pool,
        batch_size=batch_size,
        dtype=dtype,
        ids=ids,
        labels=labels,
        skip_bad=skip_bad,
        views=views,
        recipe=recipe,
        seed=seed,
    )
    if list_layers:
        write("".join(f"{line}\n" for line in checking.layer_lines(request)))
    elif out is None:
        raise InputError("--out: missing; give the folder that receives the features")
    elif verify is not None:
        write("".join(f"{line}\n" for line in checking.verified_lines(request, out, verify)))
    else:
        with Progress() as progress:
            extraction.extract(request, out, tell=complain, progress=progress)


@app.command()
def info(
    file: Annotated[str, typer.Argument(metavar="FILE[::KEY]", help="A feature file or a folder of shards.")],
    debug: Debug = False,
) -> None:
    """Print what a file holds: keys, shapes, types, ids, labels, norms, NaN count and a hash."""
    from manifold_probe.report.contents import contents_lines
    from manifold_probe.spaces.read import inspect

    write("\n".join(contents_lines(inspect(file))) + "\n")


@app.command()
def demo(
    out: Annotated[str, typer.Option(metavar="DIR", help="Where the features are written.")] = "probe-demo",
    debug: Debug = False,
) -> None:
    """Train a small teacher and two students on digits, in seconds, and compare them."""
    from manifold_probe.report.files import check_folder

    check_folder(out, "--out")
    print("probe: training a teacher and two students on scikit-learn's digits, a few seconds", file=sys.stderr)
    from manifold_probe.demo import run_demo

    paths = run_demo(out, seed=0)
    students = [str(path) for name, path in paths.items() if name != "teacher"]
    result = _compare(str(paths["teacher"]), named_students(students))
    show(result.to_dict())
    # a command of an environment that is not activated is only found by its path
    command = sys.argv[0] if Path(sys.argv[0]).name == "probe" and not shutil.which("probe") else "probe"
    again = [command, "compare", "--teacher", str(paths["teacher"])]
    again += [word for path in students for word in ("--student", path)]
    write(f"\nThe features are in {out}. To compare them again:\n  {shlex.join(again)}\n")


def compare_layers(
    teacher: str,
    students: dict[str, str],
    positional: bool,
    allow_missing: bool,
    *,
    json: bool,
    table: str | None,
    figures: str | None,
) -> None:
    """The matrix of every teacher layer against every student layer, shown and written where asked."""
    from manifold_probe.report import layers
    from manifold_probe.report.document import to_json
    from manifold_probe.report.files import check_file, check_folder, write_whole
    from manifold_probe.report.progress import Progress

    if len(students) > 1:
        raise InputError("--layers: compares one student at a time; give one --student")
    if figures is not None:
        check_folder(figures, "--figures")
    if table is not None:
        check_file(table, "--table")
        if not table.lower().endswith(".csv"):
            raise InputError(f"--table: {table}: the layers' table is written as .csv; name it so")
    with Progress() as progress:
        document = layers.compare_layers(
            teacher,
            next(iter(students.values())),
            positional=positional,
            allow_missing=allow_missing,
            progress=progress,
        )
    if json:
        write(to_json(document) + "\n")
    else:
        show_lines(lambda width: layers.layer_lines(document, width))
    if table is not None:
        write_whole(table, layers.layers_table(document))
    if figures is not None:
        from manifold_probe.report.figures.layers import draw
        from manifold_probe.report.figures.look import look_of
        from manifold_probe.report.figures.save import write_figures

        write_figures({"layers": draw(document, look_of())}, figures, look_of())
    tell([f"wrote {path}" for path in (table, figures) if path is not None])


def _compare(teacher: str, students: dict[str, str], **options: Any) -> Any:
    """One student's comparison, or the comparisons of several, with progress on stderr."""
    from manifold_probe import api
    from manifold_probe.report.progress import Progress

    with Progress() as progress:
        results = api.compare(teacher, students, progress=progress, **options)
    return results if len(students) > 1 else next(iter(results.values()))
