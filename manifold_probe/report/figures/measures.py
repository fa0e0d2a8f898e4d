"""The measures with their intervals and yardsticks, and the paired differences of several students: a row a measure.

Between chance (or class chance) and the reference lies what a student can win. Paired on the same rows, a difference is
known far better than the two values are: overlapping intervals of two students do not mean that they are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manifold_probe.report.document import SEVERAL, readings, students_of
from manifold_probe.report.figures.canvas import (
    dodged,
    finish,
    interval,
    interval_sample,
    legend_below,
    minus,
    rows_axis,
    sample_line,
    sheet,
    value_axis,
    zero_line,
)
from manifold_probe.report.figures.labels import student_labels
from manifold_probe.report.figures.look import FAINT, GREY, INK, Look, colour, marker
from manifold_probe.report.readings import faithful, grouped, headline, title
from manifold_probe.report.records import Reading
from manifold_probe.report.words import ends, number

LOWEST = -0.25  # what falls below is drawn at the edge, pointing out of the axes
ALIKE = 0.01
YARDSTICKS = (
    ("chance", "chance", "|", GREY),
    ("class_chance", "class chance", "x", GREY),
    ("reference", "reference", ">", INK),
)


def draw(document: dict[str, Any], look: Look, *, only_main: bool = False) -> Figure | None:
    """The panel of all measures of which more is more faithful; the main ones alone where all do not fit."""
    students = [readings(student) for student in students_of(document).values()]
    rows = _rows(document, students, faithful(document))
    if not rows:
        return None
    if only_main or _sheet_height(rows, len(students), look) > look.tallest:
        rows = [row for row in _rows(document, students, headline(document)) if row[1] is not None] or rows
    figure = sheet(look, min(_sheet_height(rows, len(students), look), look.tallest))
    axes = figure.add_subplot()
    rows_axis(axes, [label for label, _ in rows], places := _places(rows, len(students)))
    axes.set_ylim(places[-1] + 0.5 * _height(rows[-1][1], len(students)), -0.6)
    for label, place, (_, key) in zip(axes.get_yticklabels(), places, rows, strict=True):
        if key is None:
            label.set_fontweight("bold")
            continue
        axes.axhline(place, color=FAINT, linewidth=0.5, zorder=0)
        turns = dodged(place, len(students), 0.0 if len(students) == 1 else 0.68 * _height(key, len(students)))
        _yardsticks(axes, [each.get(key) for each in students], place, turns, look)
        for turn, each in enumerate(students):
            _mark(axes, each.get(key), turns[turn], turn, look)
        if len(students) == 1 and not look.narrow:
            right: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center_baseline"}
            axes.text(1.04, place, _numbers(students[0][key]), **right)
    _scale(axes, students, [key for _, key in rows if key is not None])
    legend_below(figure, look, _legend(document, students, look))
    return figure if only_main else finish(figure)  # saved once, in one format: laid out then


def _sheet_height(rows: list[tuple[str, str | None]], students: int, look: Look) -> float:
    return sum(_height(key, students) for _, key in rows) * look.row + 0.45 * look.text / 8


def _rows(
    document: dict[str, Any], students: list[dict[str, Reading]], wanted: Sequence[str]
) -> list[tuple[str, str | None]]:
    """(label, measure key), a heading (key None) before every group."""
    rows: list[tuple[str, str | None]] = []
    for heading, keys in grouped(document).items():
        known = [key for key in keys if key in wanted and any(_defined(each, key) for each in students)]
        if known:
            rows += [(heading, None), *((title(key, document), key) for key in known)]
    return rows


def _defined(measures: dict[str, Reading], key: str) -> bool:
    return key in measures and measures[key].value is not None


def _height(key: str | None, students: int) -> float:
    return 1.0 if key is None or students == 1 else 0.5 + 0.36 * students


def _places(rows: list[tuple[str, str | None]], students: int) -> list[float]:
    """The middle of every row."""
    places, top = [], 0.0
    for _, key in rows:
        places.append(top + _height(key, students) / 2 - 0.5)
        top += _height(key, students)
    return places


def _yardsticks(axes: Axes, measures: list[Reading | None], place: float, turns: list[float], look: Look) -> None:
    """Chance, class chance and reference: once a row where they are the same for all students."""
    for name, _, sign, tint in YARDSTICKS:
        known = [
            (getattr(measure, name), turn)
            for measure, turn in zip(measures, turns, strict=True)
            if measure is not None and measure.value is not None and getattr(measure, name) is not None
        ]
        values = [value for value, _ in known]
        if len(values) > 1 and max(values) - min(values) < ALIKE:
            known = [(sum(values) / len(values), place)]
        for value, turn in known:
            if value >= LOWEST:
                axes.plot([value], [turn], sign, **_yardstick(sign, tint, look))


def _mark(axes: Axes, measure: Reading | None, place: float, turn: int, look: Look) -> None:
    if measure is None or measure.value is None:
        return
    if measure.value < LOWEST:
        axes.plot([LOWEST], [place], "<", color=colour(turn), clip_on=False)
        axes.text(LOWEST, place, f"   {minus(number(measure.value))}", va="center", fontsize=0.85 * look.text)
        return
    axes.plot([measure.value], [place], marker(turn), color=colour(turn), zorder=3)
    low = measure.low if measure.low is None else max(measure.low, LOWEST)
    interval(axes, low, measure.high, place, look)


def _yardstick(sign: str, tint: str, look: Look) -> dict[str, Any]:
    return {
        "color": tint,
        "markersize": look.mark * (1.6 if sign == "|" else 0.95),
        "markeredgewidth": look.line * 0.8,
        "markerfacecolor": "none",
        "linestyle": "none",
        "zorder": 2,
    }


def _numbers(measure: Reading) -> str:
    text = number(measure.value)
    if measure.low is not None and measure.high is not None:
        text += f"  [{', '.join(ends(measure.low, measure.high))}]"
    return minus(text)


def _scale(axes: Axes, students: list[dict[str, Reading]], keys: list[str]) -> None:
    known = [each[key] for each in students for key in keys if _defined(each, key)]
    least = min([0.0, *(value for m in known for value in (m.value, m.low, m.chance, m.class_chance) if value)])
    axes.set_xlim(max(least, LOWEST) - (0.02 if least < 0 else 0.015), 1.02)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "0.25", "0.5", "0.75", "1"])
    axes.grid(axis="x")
    if least < -0.02:
        zero_line(axes)


def _legend(document: dict[str, Any], students: list[dict[str, Reading]], look: Look) -> list[Any]:
    handles = [
        sample_line(label, color=colour(turn), marker=marker(turn), linestyle="none")
        for turn, label in enumerate(student_labels(document).values())
    ]
    if any(m.low is not None for each in students for m in each.values()):
        handles.append(interval_sample(look))
    for name, label, sign, tint in YARDSTICKS:
        if any(getattr(m, name) is not None for each in students for m in each.values()):
            handles.append(sample_line(label, marker=sign, **_yardstick(sign, tint, look)))
    return handles


def draw_differences(document: dict[str, Any], look: Look) -> Figure | None:
    """The difference of each student from the first, filled where its interval excludes zero.

    A panel a group of measures, each with its scale, since differences of one group dwarf those of another.
    """
    if document["schema"] != SEVERAL:
        return None
    names = list(document["students"])
    first = names[0]
    gaps = {name: from_first(document, first, name) for name in names[1:]}
    groups = _groups(document, gaps, faithful(document))
    if not groups:
        return None
    tall = _height("", len(names) - 1)
    if (sum(_heights(groups, tall)) + 1) * look.row > look.tallest:  # the main ones, closer together
        groups = _groups(document, gaps, headline(document)) or groups
    heights = _heights(groups, tall)
    least = sum(_heights(groups, 1.3)) + 1  # below, the labels would touch
    figure = sheet(look, max(least * look.row, min((sum(heights) + 1) * look.row, look.tallest)))
    panels = figure.subplots(len(groups), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (heading, keys) in zip(panels, groups, strict=True):
        rows_axis(axes, [title(key, document) for key in keys])
        axes.set_title(heading)
        for place, key in enumerate(keys):
            axes.axhline(place, color=FAINT, linewidth=0.5, zorder=0)
            for turn, (name, middle) in enumerate(zip(names[1:], dodged(place, len(names) - 1), strict=True), start=1):
                _gap(axes, gaps[name].get(key), middle, turn, look)
        known = [x for rows in gaps.values() for key in keys for x in rows.get(key, {}).values() if x is not None]
        value_axis(axes, "x", min(0.0, *known), max(0.0, *known), most=None)
        zero_line(axes)
    labels = student_labels(document)
    panels[-1].set_xlabel(f"difference from {labels[first]}", loc="right")
    handles = [
        sample_line(labels[name], color=colour(turn), marker=marker(turn), linestyle="none")
        for turn, name in enumerate(names)
        if turn
    ]
    empty = {"color": INK, "marker": "o", "markerfacecolor": "none", "linestyle": "none"}
    handles += [interval_sample(look, "paired 95% interval"), sample_line("interval holds zero", **empty)]
    legend_below(figure, look, handles)
    return finish(figure)


def _groups(document: dict[str, Any], gaps: dict[str, Any], wanted: Sequence[str]) -> list[tuple[str, list[str]]]:
    """(heading, measures) of which a difference is known."""
    groups = []
    for heading, keys in grouped(document).items():
        known = [key for key in keys if key in wanted and any(key in rows for rows in gaps.values())]
        if known:
            groups.append((heading, known))
    return groups


def _heights(groups: list[tuple[str, list[str]]], tall: float) -> list[float]:
    """Of every group's panel, in rows of text."""
    return [len(keys) * tall + 2.2 for _, keys in groups]


def from_first(document: dict[str, Any], first: str, name: str) -> dict[str, dict[str, float | None]]:
    """Measure -> {"value", "low", "high"} of ``name`` minus ``first``."""
    differences = {}
    for row in document["differences"]:
        if row["value"] is None:
            continue
        if (row["a"], row["b"]) == (name, first):
            differences[row["measure"]] = {part: row[part] for part in ("value", "low", "high")}
        elif (row["a"], row["b"]) == (first, name):
            low, high = (None if row[part] is None else -row[part] for part in ("high", "low"))
            differences[row["measure"]] = {"value": -row["value"], "low": low, "high": high}
    return differences


def _gap(axes: Axes, gap: dict[str, float | None] | None, place: float, turn: int, look: Look) -> None:
    if gap is None or gap["value"] is None:
        return
    low, high = gap["low"], gap["high"]
    sure = low is not None and high is not None and (low > 0 or high < 0)
    fill = colour(turn) if sure else "white"
    axes.plot([gap["value"]], [place], marker(turn), color=colour(turn), markerfacecolor=fill, zorder=3)
    interval(axes, low, high, place, look)
