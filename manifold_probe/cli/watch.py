"""`probe watch`: a training followed in the terminal, from its log alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manifold_probe.cli.options import Debug
from manifold_probe.cli.shell import show
from manifold_probe.errors import InputError

if TYPE_CHECKING:
    from rich.text import Text

    from manifold_probe.report.run import Run

SECONDS = 1.0  # between two looks at the log
RECENT = 5  # warnings on a screen
CELLS = 30  # of a course
BARS = "▁▂▃▄▅▆▇█"


def watch(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A folder of probe distill, or the log of a watch.")],
    debug: Debug = False,
) -> None:
    """Follow a training: the measures of its watched rows, their course, and the warnings.

    Until the run of probe distill ends, or Ctrl-C; where the output is no terminal, once.

    \b
    Examples:
      probe watch run/
      probe watch run/log.jsonl
    """
    from manifold_probe.report.run import read_run

    now = read_run(run)
    if not sys.stdout.isatty() or log_ends(now, run):
        show(lambda width: screen(now, width))
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            try:
                now = read_run(run)
                lines = screen(now, console.width)
            except InputError as error:  # perhaps only until the training writes again
                lines = [*screen(now, console.width), Text(str(error), "red")]
            live.update(Group(*lines), refresh=True)
            if log_ends(now, run):
                return
            time.sleep(SECONDS)


def log_ends(now: Run, path: str) -> bool:
    """Whether no more lines will follow: only a run of `probe distill` says so."""
    return now.finished and Path(path).is_dir() and now.counts_samples


def screen(run: Run, width: int | None) -> list[Text]:
    """The state of a run; a measure is named, with its first and last value, in a line of at most ``width`` cells."""
    from rich.text import Text

    from manifold_probe.measures.catalogue import printed
    from manifold_probe.report.render.terminal import pad
    from manifold_probe.report.run import SIDES, measured_rows
    from manifold_probe.report.words import number, quantity, shown

    rows = [("loss", [line["loss"] for line in run.losses], quantity)]
    for key in run.keys:
        for side in SIDES[: 1 if run.headless else 2]:
            name = printed(key, short=True) + ("" if run.headless else f", {side}")
            rows.append((name, run.values(side, key), number))
    rows += [(key, run.values(SIDES[0], key), quantity) for key in run.sizes]
    table = [
        (name, words(known[0]), words(known[-1]), sparkline(values))
        for name, values, words in rows
        if (known := [value for value in values if value is not None])
    ]
    table = [("", "first", "now", ""), *table]
    sizes = [max(len(row[column]) for row in table) for column in range(3)]
    step = max(line["step"] for line in [*run.losses, *run.measured])
    rows_measured = f"measured on {measured_rows(run.measured[-1]['probe'])}" if run.measured else "not yet measured"
    lines = [Text(f"{shown(run.name)}: step {step:,}, {rows_measured}", "bold")]
    for name, first, last, course in table:
        lines.append(Text(f"{pad(name, sizes[0])}  {first:>{sizes[1]}}  {last:>{sizes[2]}}  {course}"))
    for line in lines if width else []:
        line.truncate(width or 0, overflow="ellipsis")
    warnings = [(line["step"], warning) for line in run.measured for warning in line.get("warnings") or []]
    if width and len(warnings) > RECENT:  # a screen has few lines
        lines.append(Text(f"{len(warnings) - RECENT:,} earlier warnings are in the log", "yellow"))
        warnings = warnings[-RECENT:]
    return lines + [Text(f"warning, step {step:,}: {warning}", "yellow") for step, warning in warnings]


def sparkline(values: Sequence[float | None], cells: int = CELLS) -> str:
    """The course of a value from its lowest to its highest; a gap where it is undefined.

    >>> sparkline([0.0, 0.5, None, 1.0])
    '▁▅ █'
    """
    step = max(1.0, len(values) / cells)
    kept = [values[min(round((cell + 1) * step), len(values)) - 1] for cell in range(min(cells, len(values)))]
    known = [value for value in kept if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if value is None else BARS[int((value - low) * scale + 0.5)] for value in kept)
