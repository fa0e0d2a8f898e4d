"""The held-out steps of the account: how faithful the student is after each correction, on other rows than it saw."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manifold_probe.measures.catalogue import printed
from manifold_probe.report.diagnosis.words import HELD_OUT, overlap_keys, rung
from manifold_probe.report.figures.canvas import finish, legend_below, rows_axis, sample_line, sheet, zero_line
from manifold_probe.report.figures.labels import fitting
from manifold_probe.report.figures.look import Look, colour, marker

TALL = 1.75  # of a row of text: a rung
THICK = 0.26  # of a rung: a bar


def draw(document: dict[str, Any], look: Look) -> Figure | None:
    """A rung of bars for every repair, the student as it is on top; None where nothing was measured."""
    keys = [key for key in overlap_keys(document) if any(_value(step, key) is not None for step in document["ladder"])]
    if not keys:
        return None
    steps = document["ladder"]
    tall = len(steps) * TALL * look.row + 0.45 * look.text / 8
    figure = sheet(look, min(tall, look.tallest - 3 * look.row))
    axes = figure.add_subplot()
    rows_axis(axes, [fitting(rung(step["repair"]), 24) for step in steps])
    axes.set_ylim(len(steps) - 0.45, -0.55)
    for turn, key in enumerate(keys):
        before = _value(steps[0], key)
        if before is not None:
            axes.axvline(before, color=colour(turn), linewidth=0.7 * look.line, linestyle=(0, (1, 1.6)), zorder=1)
        for place, step in enumerate(steps):
            _bar(axes, step["measures"].get(key) or {}, place + THICK * (turn - (len(keys) - 1) / 2), turn, look)
    found = [x for step in steps for key in keys for x in _ends(step["measures"].get(key) or {})]
    least = min([0.0, *found])
    axes.set_xlim(max(least - 0.02, -1.05) if least < 0 else 0.0, max(1.02, *found))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "0.25", "0.5", "0.75", "1"])
    axes.grid(axis="x")
    if least < 0:
        zero_line(axes)
    axes.set_xlabel("on held-out rows")
    handles = [
        sample_line(
            printed(key.removeprefix(HELD_OUT)), color=colour(turn), marker=marker(turn), linewidth=1.6 * look.line
        )
        for turn, key in enumerate(keys)
    ]
    legend_below(figure, look, handles)
    return finish(figure)


def _bar(axes: Axes, measured: dict[str, Any], place: float, turn: int, look: Look) -> None:
    value, low, high = (measured.get(part) for part in ("value", "low", "high"))
    if value is None:
        return
    axes.barh([place], [value], height=THICK * 0.86, color=colour(turn), alpha=0.4, linewidth=0)
    if low is not None and high is not None:
        axes.plot([low, high], [place, place], color=colour(turn), linewidth=1.2 * look.line, zorder=2)
    axes.plot([value], [place], marker(turn), color=colour(turn), markersize=0.7 * look.mark, zorder=3)


def _value(step: dict[str, Any], key: str) -> float | None:
    return (step["measures"].get(key) or {}).get("value")


def _ends(measured: dict[str, Any]) -> list[float]:
    return [measured[part] for part in ("value", "low", "high") if measured.get(part) is not None]
