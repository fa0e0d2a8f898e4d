"""Neighbour ranks: where each of one space's nearest neighbours stands in the other space.

A rank far beyond k is a neighbour torn away; overlap only counts it as lost, the rank says how far it went.
"""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manifold_probe.report.document import students_of
from manifold_probe.report.figures.canvas import count_axis, finish, legend_below, round_ticks, sample_line, sheet
from manifold_probe.report.figures.labels import student_labels
from manifold_probe.report.figures.look import GREY, INK, Look, colour, line, marker

PANELS = {
    "teacher_neighbours_in_student": ("teacher's neighbours", "teacher's j-th nearest"),
    "student_neighbours_in_teacher": ("student's neighbours", "student's j-th nearest"),
}
MANY = 5
LOW, LOWER, MIDDLE, UPPER, HIGH = range(5)  # of the quantiles .05, .25, .5, .75, .95


def draw(document: dict[str, Any], look: Look) -> Figure | None:
    """Median rank with bands of the middle half and of nine tenths; for several students the median and quartiles."""
    students = students_of(document)
    found = {name: each["details"].get("rank_quantiles") for name, each in students.items()}
    known = {name: each for name, each in found.items() if each and all(each[key] for key in PANELS)}
    if not known:
        return None
    first = next(iter(known.values()))
    figure = sheet(look, min(look.width * (0.6 if look.narrow else 0.45), 2.7 * look.text / 8))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (key, (text, below)) in zip(panels, PANELS.items(), strict=True):
        for turn, name in enumerate(students):
            if name in known:
                _curves(axes, known[name][key], turn, len(students), look)
        count = len(first[key])
        axes.axhline(first["n"] / 2, color=GREY, linestyle=(0, (1, 1.5)))
        ordered = [0.8, 1.2] if count == 1 else list(range(1, count + 1))
        axes.plot(
            ordered,
            [max(1, place) for place in ordered] if count > 1 else [1, 1],
            color=INK,
            linewidth=0.6,
            linestyle=(0, (6, 2)),
        )
        count_axis(axes, round_ticks(1, first["n"]), "y")
        axes.set_ylim(0.8, first["n"] * 1.2)
        axes.set_xlim(0.5, count + 0.5)
        axes.set_xticks(_ticks(count))
        axes.grid(axis="y")
        axes.set_xlabel(below)
        axes.set_title(text, loc="left")
    panels[0].set_ylabel("rank in the other space")
    legend_below(figure, look, _legend(document, known, look))
    return finish(figure)


def _curves(axes: Axes, table: list[list[float]], turn: int, students: int, look: Look) -> None:
    places: list[float] = list(range(1, len(table) + 1))
    if students == 1 and len(table) == 1:  # a band needs two ends
        places, table = [0.8, 1.2], table * 2
    columns = list(zip(*table, strict=True))
    if students == 1:
        axes.fill_between(places, columns[LOW], columns[HIGH], color=colour(0), alpha=0.15, linewidth=0)
        axes.fill_between(places, columns[LOWER], columns[UPPER], color=colour(0), alpha=0.3, linewidth=0)
        axes.plot(places, columns[MIDDLE], color=colour(0), marker=marker(0))
        return
    shift = 0.5 * ((turn + 0.5) / students - 0.5)
    moved = [place + shift for place in places]
    below = [middle - low for middle, low in zip(columns[MIDDLE], columns[LOWER], strict=True)]
    above = [high - middle for middle, high in zip(columns[MIDDLE], columns[UPPER], strict=True)]
    style = {"color": colour(turn), "marker": marker(turn), "linestyle": line(turn)}
    if students > MANY:  # bars would cover each other
        axes.plot(places, columns[MIDDLE], **style)
    else:
        axes.errorbar(moved, columns[MIDDLE], yerr=[below, above], elinewidth=0.5 * look.line, **style)


def _ticks(count: int) -> list[int]:
    if count <= 10:
        return list(range(1, count + 1)) if count <= 5 else [1, *range(2, count + 1, 2)]
    step = -(-count // 5)
    return [1, *range(step, count + 1, step)]


def _legend(document: dict[str, Any], known: dict[str, Any], look: Look) -> list[Any]:
    labels = student_labels(document)
    if len(labels) == 1:
        from matplotlib.patches import Patch

        handles: list[Any] = [
            sample_line("median", color=colour(0), marker=marker(0)),
            Patch(color=colour(0), alpha=0.45, linewidth=0, label="central 50%"),
            Patch(color=colour(0), alpha=0.15, linewidth=0, label="central 90%"),
        ]
    else:
        handles = [
            sample_line(f"{labels[name]}", color=colour(turn), marker=marker(turn), linestyle=line(turn))
            for turn, name in enumerate(labels)
            if name in known
        ]
    return [
        *handles,
        sample_line("kept in order", color=INK, linewidth=0.6, linestyle=(0, (6, 2))),
        sample_line("median by chance", color=GREY, linestyle=(0, (1, 1.5))),
    ]
