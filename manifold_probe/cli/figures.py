"""`probe figures`: saved results drawn again, without the features, and runs of the trainer as curves."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from manifold_probe.cli.arguments import named_results
from manifold_probe.cli.options import Debug, Figures, Page, Table, Width, output
from manifold_probe.cli.shell import complain, tell
from manifold_probe.errors import InputError


def figures(
    results: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]RESULT...",
            help="Saved results of one teacher, or runs: folders of probe distill, logs of a watch.",
        ),
    ],
    out: Figures = None,
    report: Page = None,
    table: Table = None,
    width: Width = None,
    style: Annotated[str, output(metavar="paper|slides", help="Sizes and fonts of figures.")] = "paper",
    debug: Debug = False,
) -> None:
    """Draw saved results, or the training curves of runs, again: figures, a table, the page.

    \b
    Examples:
      probe compare t.pt s.pt --json > s.json
      probe figures s.json --out figures --table results.tex --width column
      probe figures run/ --out curves --table curves.csv
    """
    from manifold_probe.api import of_document
    from manifold_probe.report.document import COMPARISONS, SEVERAL, read_result
    from manifold_probe.report.merge import merged
    from manifold_probe.report.outputs import Outputs
    from manifold_probe.report.run import Runs, read_runs, run_folders
    from manifold_probe.report.verdict import APART, paired

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
        tell(curves.write(Runs(read_runs(runs))))
        return
    documents = {path: read_result(path) for path in names}
    for path, document in documents.items():
        if document["schema"] not in COMPARISONS:  # of another kind of result, which stands alone
            result = of_document(document)
            if len(names) > 1:
                raise InputError(f"{path}: holds {result.called}; draw that result alone")
            drawn = replace(outputs, kind=type(result))
            drawn.check([path])
            tell(drawn.write(result))
            return
    outputs.check(list(names))
    called = {path: name for path, name in names.items() if name is not None}
    document = merged(documents, called)
    tell(outputs.write(of_document(document)))
    if document["schema"] == SEVERAL and not paired(document):
        complain(f"note: {APART}")
