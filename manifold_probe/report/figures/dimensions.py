"""Per-dimension correlation, sorted, as it is and after each map fitted on the other half of the rows.

Where a curve rises far above the raw one, that map is what separates the student's coordinates from the teacher's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manifold_probe.report.document import students_of
from manifold_probe.report.figures.canvas import finish, legend_below, sample_line, sheet
from manifold_probe.report.figures.labels import student_labels
from manifold_probe.report.figures.look import INK, LINES, Look, colour, student_line

KINDS = {
    "raw": "raw",
    "permutation": "after permutation",
    "orthogonal": "after rotation",
    "ridge": "after linear map",
}
POINTS = 400  # of a sorted curve; more cannot be seen


def draw(document: dict[str, Any], look: Look) -> Figure | None:
    """One student: a curve a map; several: a panel a map."""
    students = students_of(document)
    found = {name: each["details"].get("per_dimension") or {} for name, each in students.items()}
    kinds = [kind for kind in KINDS if any(_sorted(each.get(kind)) for each in found.values())]
    if not kinds:
        return None
    labels = student_labels(document)
    if len(students) == 1:
        figure = sheet(look, min(look.width * 0.64, 3 * look.text / 8))
        axes = figure.add_subplot()
        only = next(iter(found.values()))
        styles = {
            kind: {"color": (INK, *map(colour, (1, 2, 0)))[turn], "linestyle": LINES[turn]}
            for turn, kind in enumerate(KINDS)
        }
        for kind in kinds:
            _curve(axes, only.get(kind), **styles[kind])
        _finish_axes(axes)
        axes.set_ylabel("correlation")
        axes.set_xlabel("dimensions of the teacher, best first (%)")
        legend_below(figure, look, [sample_line(KINDS[kind], **styles[kind]) for kind in kinds])
        return finish(figure)
    columns = min(len(kinds), 2)
    rows = -(-len(kinds) // columns)
    figure = sheet(look, rows * min(look.width / columns * 0.95, 2.2 * look.text / 8) + 0.2)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in panels[len(kinds) :]:
        axes.remove()
    for axes, kind in zip(panels, kinds, strict=False):
        for turn, name in enumerate(students):
            _curve(axes, found[name].get(kind), **student_line(turn))
        axes.set_title(KINDS[kind], loc="left")
        _finish_axes(axes)
        axes.label_outer()
    for axes in panels[: len(kinds)][::columns]:
        axes.set_ylabel("correlation")
    for axes in panels[: len(kinds)][-columns:]:
        axes.set_xlabel("dimensions (%)")
        axes.tick_params(labelbottom=True)
    handles = [sample_line(labels[name], **student_line(turn)) for turn, name in enumerate(students)]
    legend_below(figure, look, handles)
    return finish(figure)


def _sorted(values: list[float | None] | None) -> list[float]:
    return sorted((value for value in values or [] if value is not None), reverse=True)


def _curve(axes: Axes, values: list[float | None] | None, **style: Any) -> None:
    ordered = _sorted(values)
    if not ordered or values is None:
        return
    step = max(1, len(ordered) // POINTS)
    kept = [*range(0, len(ordered) - 1, step), len(ordered) - 1]
    # of all dimensions: a curve that ends early says how many had a partner
    shares = [100 * (place + 0.5) / len(values) for place in kept]
    axes.plot(shares, [ordered[place] for place in kept], **style)


def _finish_axes(axes: Axes) -> None:
    axes.set_xlim(0, 100)
    low = min([0.0, *(float(np.min(np.asarray(drawn.get_ydata()))) for drawn in axes.lines)])
    axes.set_ylim(min(low - 0.03, axes.get_ylim()[0] if axes.get_ylim()[0] < 0 else 0), 1.02)
    axes.grid(axis="y")
    axes.set_yticks([tick for tick in (-1, -0.5, 0, 0.5, 1) if tick >= low - 0.03])
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.axhline(0, color=INK, linewidth=0.6, zorder=0.5)
