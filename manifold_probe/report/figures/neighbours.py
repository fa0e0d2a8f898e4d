"""Neighbours: overlap against k, and the ranks that one space's nearest neighbours have in the other.

A rank far beyond k is a neighbour torn away; overlap only counts it as lost, the rank says how far it went.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manifold_probe.measures.catalogue import OVERLAP, OVERLAP_EUCLIDEAN
from manifold_probe.report.document import Reading, readings, students_of
from manifold_probe.report.figures.canvas import (
    count_axis,
    dodged,
    finish,
    interval,
    interval_sample,
    legend_below,
    round_ticks,
    sample_line,
    sheet,
    value_axis,
)
from manifold_probe.report.figures.labels import student_labels
from manifold_probe.report.figures.look import GREY, INK, LINES, Look, colour, line, marker

TICKS = (1, 2, 5, 10, 20, 50, 100, 200)
CHANCE: dict[str, Any] = {"color": GREY, "linestyle": (0, (1, 1.5))}
CLASS_CHANCE: dict[str, Any] = {"color": GREY, "marker": "x", "linestyle": "none", "zorder": 2}


def draw_overlap(document: dict[str, Any], look: Look) -> Figure | None:
    """Cosine overlap of every student with its intervals, for one student also the Euclidean; at the result's k class
    chance; the reference of every width."""
    students = students_of(document)
    curves = {name: each["details"].get("overlap_by_k") for name, each in students.items()}
    known = {name: curve for name, curve in curves.items() if curve and curve.get("k")}
    if not known:
        return None
    figure = sheet(look, min(look.width * 0.64, 3.1 * look.text / 8))
    axes = figure.add_subplot()
    labels, alone, k = student_labels(document), len(students) == 1, next(iter(students.values()))["settings"]["k"]
    handles, intervals_at = [], set[int]()
    for turn, name in enumerate(students):
        metrics = (("cosine", OVERLAP, ""), ("euclidean", OVERLAP_EUCLIDEAN, ", Euclidean"))
        for metric, measure, suffix in metrics[: 2 if alone else 1]:
            place = turn + (metric == "euclidean")
            style = {"color": colour(place), "marker": marker(place), "linestyle": line(place)}
            if name in known and _curve(axes, known[name]["k"], known[name].get(metric), **style, zorder=3):
                deepest = max(k for k, value in zip(known[name]["k"], known[name][metric], strict=True) if value)
                ends = "" if deepest == max(known[name]["k"]) else f" (to k = {deepest})"
                handles.append(sample_line(labels[name] + suffix + ends, **style))
                at_k = readings(students[name]).get(measure.named(k))
                for place, low, high in _intervals(known[name], metric, at_k, k):
                    interval(axes, low, high, place, look, upright=True)
                    intervals_at.add(place)
    if intervals_at:
        handles.append(interval_sample(look, "95% interval" if len(intervals_at) > 1 else f"95% interval (k = {k})"))
    handles += _references(axes, students, known)
    first = next(iter(known.values()))
    if _curve(axes, first["k"], first["chance"], **CHANCE):
        handles.append(sample_line("chance", **CHANCE))
    measured = [readings(each).get(OVERLAP.named(k)) for each in students.values()]
    levels = [each.class_chance for each in measured if each is not None and each.class_chance is not None]
    if levels:
        axes.plot([k] * len(levels), levels, **CLASS_CHANCE)
        handles.append(sample_line(f"class chance (k = {k})", **CLASS_CHANCE))
    deepest = max(max(curve["k"]) for curve in known.values())
    count_axis(axes, [tick for tick in TICKS if tick <= deepest])
    axes.set_xlim(0.9, max(deepest, 2) * 1.12)
    value_axis(axes, "y", 0.0, max(float(np.nanmax(line.get_ydata(), initial=0.01)) for line in axes.lines), ticks=6)
    axes.set_xlabel("k (neighbours of each point)")
    axes.set_ylabel("overlap@k")
    legend_below(figure, look, handles)
    return finish(figure)


def _curve(axes: Axes, ks: list[int], values: list[float | None] | None, **style: Any) -> bool:
    """Whether there was a value to draw."""
    if not values or all(value is None for value in values):
        return False
    axes.plot(ks, [float("nan") if value is None else value for value in values], **style)
    return True


def _intervals(curve: dict[str, Any], metric: str, at_k: Reading | None, k: int) -> list[tuple[int, float, float]]:
    """Every k with its interval: the cosine's from the curve, where the document holds them, or that of the measure."""
    known = {} if at_k is None else {k: (at_k.low, at_k.high)}
    if metric == "cosine" and curve.get("low") and curve.get("high"):
        known |= dict(zip(curve["k"], zip(curve["low"], curve["high"], strict=True), strict=True))
    return [(k, low, high) for k, (low, high) in known.items() if low is not None and high is not None]


def _references(axes: Axes, students: dict[str, Any], known: dict[str, Any]) -> list[Any]:
    """A curve for every width of a student: the teacher's principal components keep more the more they are."""
    widths = {students[name]["inputs"]["student"]["shape"][1]: curve for name, curve in known.items()}
    handles: list[Any] = []
    for width, curve in sorted(widths.items()):
        style = {"color": INK, "linestyle": LINES[(len(handles) + 1) % len(LINES)], "linewidth": 0.8}
        if _curve(axes, curve["k"], curve.get("reference"), **style, zorder=2):
            handles.append(sample_line(f"reference, {width:,} dims", **style))
    return handles


PANELS = {
    "teacher_neighbours_in_student": ("teacher's neighbours", "teacher's j-th nearest"),
    "student_neighbours_in_teacher": ("student's neighbours", "student's j-th nearest"),
}
MOST_MARKS = 24  # in a panel; beyond, only some of the neighbours are drawn
MOST_DODGED = 8  # students; beyond, only lines of medians are drawn
LOW, LOWER, MIDDLE, UPPER, HIGH = range(5)  # of the quantiles .05, .25, .5, .75, .95


def draw_ranks(document: dict[str, Any], look: Look) -> Figure | None:
    """The median rank of the nearest neighbours, with bars of the middle half and of nine tenths of the points."""
    students = students_of(document)
    tables = {name: each["details"].get("rank_quantiles") for name, each in students.items()}
    known = {name: each for name, each in tables.items() if each and all(each[key] for key in PANELS)}
    if not known:
        return None
    first = next(iter(known.values()))
    figure = sheet(look, min(look.width * (0.6 if look.narrow else 0.45), 2.7 * look.text / 8))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (key, (text, below)) in zip(panels, PANELS.items(), strict=True):
        neighbours = _neighbours(len(first[key]), len(known), look)
        for turn, name in enumerate(students):
            if name in known:
                rows = [known[name][key][j - 1] for j in neighbours if j <= len(known[name][key])]
                _marks(axes, rows, turn, len(students), look)
        for place, j in enumerate(neighbours):
            axes.plot([place - 0.42, place + 0.42], [j, j], color=INK, linewidth=0.8, zorder=1)
        axes.axhline(first["n"] / 2, **CHANCE)
        count_axis(axes, round_ticks(1, first["n"] / 2), "y")
        axes.set_ylim(0.75, first["n"] / 2 * 1.4)
        axes.set_xlim(-0.6, len(neighbours) - 0.4)
        axes.set_xticks(range(len(neighbours)), labels=[str(j) for j in neighbours])
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="y")
        axes.set_xlabel(below)
        axes.set_title(text)
    panels[0].set_ylabel("rank in the other space")
    legend_below(figure, look, _rank_legend(document, known, look))
    return finish(figure)


def _neighbours(count: int, students: int, look: Look) -> list[int]:
    """All of the first ``count``, or of many 1, 2, 5, 10, ... and the last."""
    if count * min(students, MOST_DODGED) <= MOST_MARKS // (2 if look.narrow else 1):
        return list(range(1, count + 1))
    return sorted({*(int(j) for j in round_ticks(1, min(count, 300)) if j <= count / 1.5), count})


def _marks(axes: Axes, rows: list[list[float]], turn: int, students: int, look: Look) -> None:
    """A mark at each median over a bar of the middle half, thick, and of nine tenths, thin."""
    medians = [row[MIDDLE] for row in rows]
    if students > MOST_DODGED:
        axes.plot(range(len(rows)), medians, color=colour(turn), linestyle=line(turn))
        return
    places = [dodged(place, students, 0.75)[turn] for place in range(len(rows))]
    for low, high, thick in ((LOW, HIGH, 0.6), (LOWER, UPPER, 2.2)):
        ends = [row[low] for row in rows], [row[high] for row in rows]
        axes.vlines(places, *ends, color=colour(turn), linewidth=thick * look.line, zorder=2)
    axes.plot(places, medians, **_median(turn, look), zorder=3)


def _median(turn: int, look: Look) -> dict[str, Any]:
    return {
        "color": colour(turn),
        "marker": marker(turn),
        "markerfacecolor": "#ffffff",
        "markeredgewidth": 0.6 * look.line,
        "linestyle": "none",
    }


def _rank_legend(document: dict[str, Any], known: dict[str, Any], look: Look) -> list[Any]:
    labels = student_labels(document)
    dodges = len(labels) <= MOST_DODGED
    handles = [
        sample_line(
            f"{labels[name]}, median" if len(labels) == 1 else labels[name],
            **(_median(turn, look) if dodges else {"color": colour(turn), "linestyle": line(turn)}),
        )
        for turn, name in enumerate(labels)
        if name in known
    ]
    if dodges:
        bar: dict[str, Any] = {"color": GREY, "marker": "|", "markersize": 1.3 * look.text, "linestyle": "none"}
        handles += [
            sample_line("middle half", markeredgewidth=2.2 * look.line, **bar),
            sample_line("nine tenths", markeredgewidth=0.6 * look.line, **bar),
        ]
    return [*handles, sample_line("kept in order", color=INK, linewidth=0.8), sample_line("median by chance", **CHANCE)]
