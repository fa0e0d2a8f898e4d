"""The verbs of the command line, in the order in which ``probe --help`` lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from manifold_probe import __version__
from manifold_probe.cli import shell
from manifold_probe.cli.compare import compare
from manifold_probe.cli.demo import demo
from manifold_probe.cli.diagnose import diagnose
from manifold_probe.cli.distill import distill
from manifold_probe.cli.evaluate import evaluate
from manifold_probe.cli.extract import extract
from manifold_probe.cli.figures import figures
from manifold_probe.cli.info import info
from manifold_probe.cli.merge import merge
from manifold_probe.cli.migrate import migrate
from manifold_probe.cli.options import Debug
from manifold_probe.cli.partial import partial
from manifold_probe.cli.watch import watch

app = typer.Typer(
    cls=shell.Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def probe(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Debug = False,
) -> None:
    """How faithfully did a student model keep its teacher's embedding manifold?

    \b
    Examples:
      probe demo
      probe compare t.pt s.pt
    """
    if version:
        shell.write(f"manifold_probe {__version__}\n")
    elif context.invoked_subcommand is None:
        shell.write(context.get_help() + "\n")


for verb in (compare, diagnose, figures, extract, distill, watch, evaluate, migrate, partial, merge, info, demo):
    app.command(cls=shell.Verb)(verb)
