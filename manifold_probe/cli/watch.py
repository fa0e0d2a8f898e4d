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

if TYPE_CHECKING:
    from rich.text import Text

    from manifold_probe.report.run import Run

SECONDS = 1.0  # between two looks at the log
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
    from manifold_probe.report.run import log_of, read_run

    now = read_run(run)
    if not sys.stdout.isatty() or log_ends(now, run):
        show(lambda width: screen(now, width))
        return
    from rich.console import Console, Group
    from rich.live import Live

    console = Console(highlight=False, markup=False, emoji=False)
    with Live(Group(*screen(now, console.width)), console=console, auto_refresh=False) as live:
        size = -1
        while not log_ends(now, run):
            if (grown := log_of(run).stat().st_size) != size:
                size, now = grown, read_run(run)
                live.update(Group(*screen(now, console.width)), refresh=True)
            time.sleep(SECONDS)


def log_ends(now: Run, path: str) -> bool:
    """Whether no more lines will follow: only a run of `probe distill` says so."""
    return now.finished and Path(path).is_dir() and now.counts_samples


def screen(run: Run, width: int | None) -> list[Text]:
    """The state of a run in lines of at most ``width`` cells; a measure is named, with its first and last value."""
    from rich.text import Text

    from manifold_probe.measures.catalogue import printed
    from manifold_probe.report.render.terminal import pad
    from manifold_probe.report.run import SIDES
    from manifold_probe.report.words import number, quantity, shown

    rows = [("loss", [line["loss"] for line in run.losses], quantity)]
    for key in run.keys:
        for side in SIDES[: 1 if run.headless else 2]:
            name = printed(key, short=True) + ("" if run.headless else f", {side}")
            rows.append((name, run.values(side, key), number))
    for key, name in (("rank", "rank of the student"), ("norm", "median norm")):
        rows.append((name, [line.get(key) for line in run.measured], quantity))
    table = [
        (name, words(known[0]), words(known[-1]), sparkline(values))
        for name, values, words in rows
        if (known := [value for value in values if value is not None])
    ]
    table = [("", "first", "now", ""), *table]
    sizes = [max(len(row[column]) for row in table) for column in range(3)]
    step = max(line["step"] for line in [*run.losses, *run.measured])
    lines = [Text(f"{shown(run.name)}: step {step:,}{_rows(run)}", "bold")]
    for name, first, last, course in table:
        lines.append(Text(f"{pad(name, sizes[0])}  {first:>{sizes[1]}}  {last:>{sizes[2]}}  {course}"))
    for measured in run.measured:
        warnings = measured.get("warnings") or []
        lines += [Text(f"warning, step {measured['step']:,}: {warning}", "yellow") for warning in warnings]
    for line in lines if width else []:
        line.truncate(width or 0, overflow="ellipsis")
    return lines


def _rows(run: Run) -> str:
    if not run.measured:
        return ", not yet measured"
    probe = run.measured[-1]["probe"]
    how = {True: ", held out of training", False: " that training saw"}.get(probe["held_out"], "")
    return f", measured on {probe['rows']:,} rows{how}"


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
