"""`probe info`: what a file holds."""

from __future__ import annotations

from typing import Annotated

import typer

from manifold_probe.cli.options import Debug
from manifold_probe.cli.shell import write


def info(
    file: Annotated[
        str, typer.Argument(metavar="FILE[::KEY]", help="A feature file, a folder of shards, or a run folder.")
    ],
    debug: Debug = False,
) -> None:
    """Print what a file of features, or the folder of a run, holds.

    Keys, shapes, types, ids, labels, norms, the count of NaN and a hash.

    Of a run folder of probe distill also what was trained, the rows held out, and how the training went.

    \b
    Examples:
      probe info t.pt
      probe info digits.npz::images
      probe info run/
    """
    from manifold_probe.report.info import contents_blocks
    from manifold_probe.report.render.terminal import plain_text
    from manifold_probe.spaces.folder import is_run
    from manifold_probe.spaces.read import inspect

    if is_run(file):
        from manifold_probe.report.run import run_blocks  # with libraries that no other file needs

        write(plain_text(run_blocks(file)))
        return
    write(plain_text(contents_blocks(inspect(file))))
