"""`probe figures`: saved results drawn again, without the features, and runs of the trainer as curves."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from manifold_probe.cli.arguments import named_results
from manifold_probe.cli.options import Debug, Page, Table
from manifold_probe.cli.shell import complain, tell
from manifold_probe.errors import InputError


def figures(
    results: Annotated[
        list[str],
        typer.Argument(metavar="[NAME=]RESULT...", help="Saved results of one teacher, or folders of probe distill."),
    ],
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Write the figures there, as PDF, SVG and PNG.")
    ] = None,
    style: Annotated[str, typer.Option(help="Sizes and fonts for paper or slides.")] = "paper",
    width: Annotated[
        str | None,
        typer.Option(
            help="Of figures and a .tex table: column, page, neurips, icml-column, icml-page, cvpr-column, cvpr-page, "
            "inches, or points as in 240pt.  [default: the style's]"
        ),
    ] = None,
    report: Page = None,
    table: Table = None,
    debug: Debug = False,
) -> None:
    """Draw saved results, or the training curves of runs: figures, and where asked a table and the results' page.

    \b
    Examples:
      probe compare --teacher t.pt --student s.pt --json > s.json
      probe figures s.json --report again.html --table results.md
      probe figures run/ --out curves --table curves.csv
    """
    from manifold_probe.api import of_document
    from manifold_probe.report.curves import Runs, read_runs, run_folders
    from manifold_probe.report.diagnosis.document import read_diagnosis
    from manifold_probe.report.diagnosis.result import Diagnosis
    from manifold_probe.report.document import SEVERAL, read_document
    from manifold_probe.report.layers import Layers, read_layers
    from manifold_probe.report.merge import merged
    from manifold_probe.report.outputs import Outputs
    from manifold_probe.report.students import APART, paired

    if not (out or report or table):
        raise InputError("--out: nothing is asked for; give --out DIR, --report FILE.html or --table FILE")
    outputs = Outputs(report=report, table=table, figures=out, style=style, width=width, figures_option="--out")
    names = named_results(results)
    runs = run_folders(names)
    if runs is not None:
        if report:
            result = f"{next(iter(runs))}/result.json"
            raise InputError(f"--report: has no page for runs; draw them with --out and --table, or give {result}")
        curves = replace(outputs, kind=Runs)
        curves.check()
        tell(curves.write(read_runs(runs)))
        return
    layers = {path: found for path in names if (found := read_layers(path)) is not None}
    if layers:
        if len(names) > 1 or report:
            only = "--report: has no page for layers" if report else f"{next(iter(layers))}: holds layers"
            raise InputError(f"{only}; draw that result alone, with --out and --table")
        drawn = replace(outputs, kind=Layers)
        drawn.check()
        tell(drawn.write(next(iter(layers.values()))))
        return
    diagnoses = {path: found for path in names if (found := read_diagnosis(path)) is not None}
    if diagnoses:
        draw_diagnosis(diagnoses, len(names), replace(outputs, kind=Diagnosis))
        return
    outputs.check(list(names))
    documents = {path: read_document(path) for path in names}
    called = {path: name for path, name in names.items() if name is not None}
    document = merged(documents, called)
    tell(outputs.write(of_document(document)))
    if document["schema"] == SEVERAL and not paired(document):
        complain(f"note: {APART}")


def draw_diagnosis(diagnoses: dict[str, dict[str, Any]], given: int, outputs: Any) -> None:
    """A saved diagnosis: its figures, and where asked its page and its numbers as a table."""
    path, document = next(iter(diagnoses.items()))
    if given > 1:
        raise InputError(f"{path}: holds a diagnosis; draw that result alone")
    outputs.check([path])
    tell(outputs.write(document))
