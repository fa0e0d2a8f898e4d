"""Redraw every figure in this folder from experiments/*/results, and from nothing else.

    python figures/draw.py [FOLDER]      FOLDER: where to, by default here

real_features/  what `probe figures` draws of EfficientNet-Lite2 and Lite0 on Fashion-MNIST, at a NeurIPS page's width
coverage/       how often nominal 95% intervals hold the true value
study/          which measure predicts what students do, and the papers' claims: study_figures.py
speed/          whole-process time and memory from 10,000 to 1,000,000 rows, beside packages that compute one measure
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import study_figures
from matplotlib.figure import Figure

import manifold_probe as mp
from manifold_probe.measures.catalogue import printed
from manifold_probe.report.figures.canvas import (
    count_axis,
    finish,
    legend_below,
    round_ticks,
    rows_axis,
    sample_line,
    sheet,
    zero_line,
)
from manifold_probe.report.figures.look import GREY, Look, colour, line, look_of, marker, styled
from manifold_probe.report.figures.save import write_figures

HERE = Path(__file__).resolve().parent
EXPERIMENTS = HERE.parent / "experiments"
NOMINAL = 95


def main() -> None:
    """Draw all."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    mp.load(EXPERIMENTS / "real_features/results/comparison.json").figures(folder / "real_features", width="neurips")
    look = look_of("paper", "neurips")
    with styled(look):
        drawn = {"coverage/coverage": coverage(look), "speed/scaling": scaling(look)}
        drawn |= {f"study/{name}": figure for name, figure in study_figures.drawn(look).items()}
    for place, figure in drawn.items():
        write_figures({Path(place).name: figure}, (folder / place).parent, look)


def coverage(look: Look) -> Figure:
    """A row a measure, a mark a setting; the grey band is what 150 repetitions of a true 95% would mostly show."""
    cases = _read("coverage/results/coverage.json")["cases"]
    keys = list(next(iter(cases.values()))["measures"])
    figure = sheet(look, len(keys) * look.row + 0.4)
    axes = figure.add_subplot()
    rows_axis(axes, [printed(key) for key in keys])
    error = 100 * math.sqrt(0.95 * 0.05 / 150)
    axes.axvspan(NOMINAL - 2 * error, min(100, NOMINAL + 2 * error), color="#ececec", zorder=0)
    zero_line(axes, NOMINAL)
    handles, lowest = [], 100.0
    for turn, (name, case) in enumerate(cases.items()):
        style: dict[str, Any] = {"color": colour(turn), "marker": marker(turn), "linestyle": "none"}
        shift = 0.6 * ((turn + 0.5) / len(cases) - 0.5)
        found = [100 * case["measures"][key]["coverage"] for key in keys]
        lowest = min(lowest, *found)
        axes.plot(found, [place + shift for place in range(len(keys))], **style)
        handles.append(sample_line(f"{_said(name)}, {case['repetitions']} runs", **style))
    axes.set_xlim(lowest - 0.6, 100.6)
    axes.grid(axis="both")
    axes.set_xlabel("coverage of nominal 95% intervals (%)")
    legend_below(figure, look, handles)
    return finish(figure)


def _said(case: str) -> str:
    """ "n=1000 heavy sorted" in words."""
    size, tails, order = case.split()
    words = {"gaussian": "Gaussian", "heavy": "t(5)", "t3": "t(3)", "offset": "offset of 5 deviations"}
    rows = f"n = {int(size.removeprefix('n=')):,}"
    return ", ".join([rows, words[tails], *(["sorted by class"] if order == "sorted" else [])])


def scaling(look: Look) -> Figure:
    """Seconds and memory of whole processes against the rows; a cross where one was ended at a limit or failed."""
    found = _read("speed/results/scaling.json")
    figure = sheet(look, 0.42 * look.width)
    panels = figure.subplots(1, 2)
    handles = []
    for turn, (name, tool) in enumerate(found["tools"].items()):
        style: dict[str, Any] = {"color": colour(turn), "marker": marker(turn), "linestyle": line(turn)}
        handles.append(sample_line(f"{name}, {tool['does']}", **style))
        done = {int(rows): run for rows, run in tool["runs"].items() if "failed" not in run}
        for axes, key in zip(panels, ("seconds", "anonymous_mb"), strict=True):
            axes.plot(list(done), [run[key] for run in done.values()], **style)
    for axes, unit, limit in zip(panels, ("seconds", "anonymous memory, MB"), found["limits"].values(), strict=True):
        count_axis(axes, found["sizes"])
        axes.xaxis.set_major_formatter(lambda rows, _: f"{rows / 1e6:g}M" if rows >= 1e6 else f"{rows / 1e3:g}k")
        axes.set_yscale("log")
        count_axis(axes, round_ticks(axes.get_ylim()[0], limit), "y")
        axes.axhline(limit, color=GREY, linewidth=0.6, linestyle=":", zorder=0.5)
        axes.set_xlabel("rows")
        axes.set_ylabel(unit)
    limits = list(found["limits"].values())
    crosses: dict[tuple[str, int], int] = {}  # side by side where several failed at one size
    for turn, tool in enumerate(found["tools"].values()):
        for rows, run in tool["runs"].items():
            if "failed" in run:
                panel = int(run["failed"] == "memory")
                beside = crosses[rows, panel] = crosses.get((rows, panel), -1) + 1
                style = {"color": colour(turn), "marker": "x", "markersize": 1.4 * look.mark}
                panels[panel].plot(int(rows) * 1.25**beside, limits[panel], **style)
    handles.append(sample_line("failed, or ended at the dotted limit", color=GREY, marker="x", linestyle=":"))
    legend_below(figure, look, handles)
    return finish(figure)


def _read(path: str) -> dict[str, Any]:
    return json.loads((EXPERIMENTS / path).read_text())


if __name__ == "__main__":
    main()
