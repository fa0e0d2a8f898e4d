"""Students by measures: the paired difference of each from the first, filled where its interval excludes zero.

Paired on the same rows, a difference is known far better than the two values are: overlapping intervals of two students
do not mean that they are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manifold_probe.report.document import SEVERAL
from manifold_probe.report.figures.canvas import finish, legend_below, rows_axis, sample_line, sheet, zero_line
from manifold_probe.report.figures.labels import student_labels
from manifold_probe.report.figures.look import INK, Look, colour, marker
from manifold_probe.report.readings import faithful, grouped, headline, title


def draw(document: dict[str, Any], look: Look) -> Figure | None:
    """A panel a group of measures, each with its own scale, since differences of one group dwarf those of another."""
    if document["schema"] != SEVERAL:
        return None
    names = list(document["students"])
    first = names[0]
    gaps = {name: from_first(document, first, name) for name in names[1:]}
    groups = _groups(document, gaps, faithful(document))
    if not groups:
        return None
    tall = max(1.0, 0.4 + 0.28 * (len(names) - 1))
    if (sum(_heights(groups, tall)) + 1) * look.row > look.tallest:  # the main ones, closer together
        groups = _groups(document, gaps, headline(document)) or groups
    heights = _heights(groups, tall)
    least = sum(_heights(groups, 1.3)) + 1  # below, the labels would touch
    figure = sheet(look, max(least * look.row, min((sum(heights) + 1) * look.row, look.tallest)))
    panels = figure.subplots(len(groups), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (heading, keys) in zip(panels, groups, strict=True):
        rows_axis(axes, [title(key, document) for key in keys])
        axes.set_title(heading, loc="left")
        for turn, name in enumerate(names[1:]):
            for place, key in enumerate(keys):
                middle = place + 0.62 * ((turn + 0.5) / (len(names) - 1) - 0.5)
                _mark(axes, gaps[name].get(key), middle, turn + 1, look)
        axes.grid(axis="both")
        axes.margins(x=0.06)
        axes.locator_params(axis="x", nbins=5)
        zero_line(axes)
    labels = student_labels(document)
    panels[-1].set_xlabel(f"minus {labels[first]} (paired, 95% interval)", loc="right")
    handles = [
        sample_line(labels[name], color=colour(turn), marker=marker(turn), linewidth=1.4 * look.line)
        for turn, name in enumerate(names)
        if turn
    ]
    empty = {"color": INK, "marker": "o", "markerfacecolor": "none", "linestyle": "none"}
    legend_below(figure, look, [*handles, sample_line("interval holds zero", **empty)])
    return finish(figure)


def _groups(document: dict[str, Any], gaps: dict[str, Any], wanted: Sequence[str]) -> list[tuple[str, list[str]]]:
    """(heading, measures) of which a difference is known."""
    found = []
    for heading, keys in grouped(document).items():
        known = [key for key in keys if key in wanted and any(key in rows for rows in gaps.values())]
        if known:
            found.append((heading, known))
    return found


def _heights(groups: list[tuple[str, list[str]]], tall: float) -> list[float]:
    """Of every group's panel, in rows of text."""
    return [len(keys) * tall + 2.2 for _, keys in groups]


def from_first(document: dict[str, Any], first: str, name: str) -> dict[str, dict[str, float | None]]:
    """Measure -> {"value", "low", "high"} of ``name`` minus ``first``."""
    found = {}
    for row in document["differences"]:
        if row["value"] is None:
            continue
        if (row["a"], row["b"]) == (name, first):
            found[row["measure"]] = {part: row[part] for part in ("value", "low", "high")}
        elif (row["a"], row["b"]) == (first, name):
            low, high = (None if row[part] is None else -row[part] for part in ("high", "low"))
            found[row["measure"]] = {"value": -row["value"], "low": low, "high": high}
    return found


def _mark(axes: Axes, gap: dict[str, float | None] | None, place: float, turn: int, look: Look) -> None:
    if gap is None or gap["value"] is None:
        return
    low, high = gap["low"], gap["high"]
    sure = low is not None and high is not None and (low > 0 or high < 0)
    if low is not None and high is not None:
        axes.plot([low, high], [place, place], color=colour(turn), linewidth=1.4 * look.line, alpha=0.55)
    fill = colour(turn) if sure else "white"
    axes.plot([gap["value"]], [place], marker(turn), color=colour(turn), markerfacecolor=fill, zorder=3)
