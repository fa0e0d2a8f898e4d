"""Redraw every figure in this folder from experiments/*/results, and from nothing else.

    python figures/draw.py [FOLDER]      FOLDER: where to, by default here

real_features/  what `probe figures` draws of EfficientNet-Lite2 and Lite0 on Fashion-MNIST, at a NeurIPS page's width
coverage/       how often nominal 95% intervals hold the true value
speed/          whole-process time and memory at 10,000 rows, beside packages that compute one of the measures
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.figure import Figure

import manifold_probe as mp
from manifold_probe.measures.catalogue import printed
from manifold_probe.report.figures.canvas import finish, legend_below, rows_axis, sample_line, sheet, zero_line
from manifold_probe.report.figures.look import GREY, INK, Look, colour, look_of, marker, settings
from manifold_probe.report.figures.save import write_figures

HERE = Path(__file__).resolve().parent
EXPERIMENTS = HERE.parent / "experiments"
NOMINAL = 95
PROCESSES = {
    "compare": "probe compare, every measure",
    "ckatorch": "ckatorch, debiased CKA",
    "rsatoolbox": "rsatoolbox, CKA",
    "sklearn": "scikit-learn, trustworthiness, twice",
    "zadu": "zadu, trustworthiness and continuity",
}


def main() -> None:
    """Draw all."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    mp.load(EXPERIMENTS / "real_features/results/comparison.json").figures(folder / "real_features", width="neurips")
    look = look_of("paper", "neurips")
    with matplotlib.style.context(["default", settings(look)]):
        drawn = {"coverage": coverage(look), "speed": speed(look)}
    for name, figure in drawn.items():
        write_figures({name: figure}, folder / name, look)


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


def speed(look: Look) -> Figure:
    """Seconds and memory of whole processes."""
    found = _read("speed/results/speed.json")
    runs = {"compare": found["compare"], **found["peers"]}
    names = [name for name in PROCESSES if name in runs]
    figure = sheet(look, (len(names) + 2) * look.row + 0.3)
    panels = figure.subplots(1, 2, sharey=True)
    rows_axis(panels[0], [PROCESSES[name] for name in names])
    for axes, key, unit, form in (
        (panels[0], "seconds", "seconds", ".1f"),
        (panels[1], "peak_mib", "peak MiB", ",.0f"),
    ):
        values = [runs[name][key] for name in names]
        axes.barh(range(len(names)), values, height=0.6, color=[colour(0), *[GREY] * (len(names) - 1)])
        for place, value in enumerate(values):
            axes.text(value, place, f" {value:{form}}", va="center_baseline", color=INK)
        axes.set_xlim(0, 1.22 * max(values))
        axes.locator_params(axis="x", nbins=4)
        axes.set_xlabel(unit)
    panels[1].tick_params(axis="y", length=0)
    panels[1].spines["left"].set_visible(False)
    return finish(figure)


def _read(path: str) -> dict[str, Any]:
    return json.loads((EXPERIMENTS / path).read_text())


if __name__ == "__main__":
    main()
