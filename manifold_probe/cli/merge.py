"""`probe merge`: the comparison that the shares of several machines give together."""

from __future__ import annotations

from typing import Annotated

import typer

from manifold_probe.cli.options import Debug, Figures, Json, Page, Table, Width, output
from manifold_probe.cli.shell import complain, show, tell, write
from manifold_probe.errors import InputError


def merge(
    files: Annotated[list[str], typer.Argument(metavar="PART...", help="What probe partial wrote on every machine.")],
    second_round: Annotated[
        str | None,
        output(metavar="FILE", help="Where rows must be read again, write what other machines need for it."),
    ] = None,
    json: Json = False,
    report: Page = None,
    table: Table = None,
    figures: Figures = None,
    width: Width = None,
    debug: Debug = False,
) -> None:
    """Merge what probe partial wrote into the comparison.

    The result is the same, bit by bit, as that of one machine. Ranks and alarms need the rows a second time. They are
    read here, unless --second-round shares that out too.

    \b
    Examples:
      probe merge part_0 part_1 --json
      probe merge part_0 part_1 --second-round second
      probe partial --second-round second --shard 0/2 -o second_0
      probe partial --second-round second --shard 1/2 -o second_1
      probe merge second second_0 second_1
    """
    from manifold_probe.api import merged
    from manifold_probe.files import check_file
    from manifold_probe.report.outputs import Outputs
    from manifold_probe.report.progress import Progress

    outputs = Outputs(report=report, table=table, figures=figures, width=width)
    outputs.check(files)
    if second_round is not None:
        check_file(second_round, "--second-round")
        if second_round in files:
            raise InputError(f"--second-round: {second_round} is one of the parts; name a new file")
    with Progress() as progress:
        result = merged(files, second_round=second_round, notify=complain, progress=progress)
    if result is None:
        tell(
            [
                f"wrote {second_round}: a second round is needed, for ranks or alarms. On each of N machines run "
                f"probe partial --second-round {second_round} --shard I/N -o second_I, "
                f"then probe merge {second_round} second_*"
            ]
        )
        if json:
            from json import dumps

            write(dumps({"schema": "manifold-probe/second-round/1", "file": second_round}) + "\n")
        return
    if json:
        write(result.to_json() + "\n")
    else:
        show(result.lines)
    tell(outputs.write(result))
