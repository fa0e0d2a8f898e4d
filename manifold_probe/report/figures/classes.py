"""Overlap and agreement within each class: where the student lost what it lost."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manifold_probe.measures.catalogue import KNN_AGREEMENT, OVERLAP, printed
from manifold_probe.report.document import students_of
from manifold_probe.report.figures.canvas import finish, legend_below, remark, rows_axis, sample_line, sheet
from manifold_probe.report.figures.labels import distinct, student_labels
from manifold_probe.report.figures.look import Look, colour, marker

MOST, FEWEST = 25, 5


def draw(document: dict[str, Any], look: Look) -> Figure | None:
    """A row a class, the lowest overlap (over the students) on top; at most 25 of them."""
    students = students_of(document)
    found = [{row["class"]: row for row in each["details"].get("per_class") or []} for each in students.values()]
    every = list(dict.fromkeys(name for rows in found for name in rows))
    every = [name for name in every if any(rows.get(name, {}).get("overlap") is not None for rows in found)]
    if len(every) < 2:
        return None
    tall = max(1.0, 0.4 + 0.28 * len(students))
    most = min(MOST, max(FEWEST, int(look.tallest / (tall * look.row)) - 3))
    worst = sorted(every, key=lambda name: _mean([rows[name]["overlap"] for rows in found if name in rows]))[:most]
    clusters = next(iter(students.values()))["settings"].get("classes") == "k-means"
    names = [f"cluster {name}" for name in worst] if clusters else distinct(worst, 14 if look.narrow else 22)
    figure = sheet(look, min((len(worst) + 1) * tall * look.row + 0.4 * look.text / 8, look.tallest))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.35, 1])
    rows_axis(left, names)
    right.tick_params(axis="y", length=0)
    right.spines["left"].set_visible(False)
    for turn, rows in enumerate(found):
        for place, name in enumerate(worst):
            row = rows.get(name)
            if row is not None:
                middle = place + 0.62 * ((turn + 0.5) / len(found) - 0.5)
                _interval(left, row, middle, turn, look)
                _dot(right, row.get(KNN_AGREEMENT.detail), middle, turn)
    k = next(iter(students.values()))["settings"]["k"]
    for axes, text in ((left, printed(OVERLAP.named(k))), (right, printed(KNN_AGREEMENT.named(k)))):
        axes.set_xlabel(text)
        axes.grid(axis="both")
    _shares(left, 0.0)
    _shares(right, min(_known(found, KNN_AGREEMENT.detail), default=0.0))
    if len(every) > most:
        remark(right, f"the {most} lowest of {len(every):,} {'clusters' if clusters else 'classes'}")
    labels = student_labels(document).values()
    handles = [
        sample_line(label, color=colour(turn), marker=marker(turn), linestyle="none")
        for turn, label in enumerate(labels)
    ]
    legend_below(figure, look, handles)
    return finish(figure)


def _interval(axes: Axes, row: dict[str, Any], place: float, turn: int, look: Look) -> None:
    if row.get("low") is not None and row.get("high") is not None:
        axes.plot([row["low"], row["high"]], [place] * 2, color=colour(turn), linewidth=1.4 * look.line, alpha=0.55)
    _dot(axes, row.get("overlap"), place, turn)


def _dot(axes: Axes, value: float | None, place: float, turn: int) -> None:
    if value is not None:
        axes.plot([value], [place], marker(turn), color=colour(turn), zorder=3)


def _known(found: list[dict[Any, dict[str, Any]]], key: str) -> list[float]:
    return [row[key] for rows in found for row in rows.values() if row.get(key) is not None]


def _shares(axes: Axes, low: float) -> None:
    """From 0, or from one half where everything lies above it, so that differences can be seen."""
    start = 0.5 if low > 0.55 else 0.0
    high = max([start + 0.1, *(float(np.max(np.asarray(drawn.get_xdata()))) for drawn in axes.lines)])
    axes.set_xlim(start - 0.01, min(1.02, high * 1.06) if start == 0 else 1.02)
    axes.locator_params(axis="x", nbins=4)


def _mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else 1.0
