"""`probe info`: what a file holds."""

from __future__ import annotations

from typing import Annotated

import typer

from manifold_probe.cli.options import Debug
from manifold_probe.cli.shell import write


def info(
    file: Annotated[str, typer.Argument(metavar="FILE[::KEY]", help="A feature file or a folder of shards.")],
    debug: Debug = False,
) -> None:
    """Print what a file holds: keys, shapes, types, ids, labels, norms, NaN count and a hash.

    \b
    Examples:
      probe info t.pt
      probe info digits.npz::images
      probe info run/
    """
    from manifold_probe.report.contents import contents_lines
    from manifold_probe.spaces.read import inspect

    write("\n".join(contents_lines(inspect(file))) + "\n")
