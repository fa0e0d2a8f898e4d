"""The measures with their intervals and yardsticks: a row a measure, students in colour.

Between chance (or class chance) and the reference lies what a student can win; the interval says how sure its place is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manifold_probe.report.document import Reading, readings, students_of
from manifold_probe.report.figures.canvas import finish, legend_below, rows_axis, sample_line, sheet, zero_line
from manifold_probe.report.figures.labels import student_labels
from manifold_probe.report.figures.look import GREY, INK, Look, colour, marker
from manifold_probe.report.readings import faithful, grouped, headline, title
from manifold_probe.report.words import number

LOWEST = -0.25  # what falls below is drawn at the edge, pointing out of the axes
ALIKE = 0.01
YARDSTICKS = (
    ("chance", "chance", "|", GREY),
    ("class_chance", "class chance", "x", GREY),
    ("reference", "reference", ">", INK),
)


def draw(document: dict[str, Any], look: Look) -> Figure | None:
    """The panel of all measures of which more is more faithful."""
    students = list(students_of(document).values())
    measured = [readings(student) for student in students]
    rows = _rows(document, measured, faithful(document))
    if not rows:
        return None
    spread = 0.0 if len(students) == 1 else 0.62
    if _sheet_height(rows, len(students), look) > look.tallest:  # the main ones, closer together
        rows = [row for row in _rows(document, measured, headline(document)) if row[1] is not None] or rows
    figure = sheet(look, min(_sheet_height(rows, len(students), look), look.tallest))
    axes = figure.add_subplot()
    rows_axis(axes, [label for label, _ in rows], places := _places(rows, len(students)))
    axes.set_ylim(places[-1] + 0.5 * _height(rows[-1][1], len(students)), -0.6)
    for label, place, (_, key) in zip(axes.get_yticklabels(), places, rows, strict=True):
        if key is None:
            label.set_fontweight("bold")
            continue
        axes.axhline(place, color="#ececec", linewidth=0.6, zorder=0)
        room = spread * _height(key, len(students))
        turns = [place + room * ((turn + 0.5) / len(measured) - 0.5) for turn in range(len(measured))]
        _yardsticks(axes, [each.get(key) for each in measured], place, turns, look)
        for turn, each in enumerate(measured):
            _mark(axes, each.get(key), turns[turn], turn, look)
        if len(students) == 1 and not look.narrow:
            beside: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center_baseline"}
            axes.text(1.04, place, _numbers(measured[0][key]), **beside)
    _scale(axes, measured, [key for _, key in rows if key is not None])
    legend_below(figure, look, _legend(document, measured, look))
    return finish(figure)


def _sheet_height(rows: list[tuple[str, str | None]], students: int, look: Look) -> float:
    return sum(_height(key, students) for _, key in rows) * look.row + 0.45 * look.text / 8


def _rows(
    document: dict[str, Any], measured: list[dict[str, Reading]], wanted: Sequence[str]
) -> list[tuple[str, str | None]]:
    """(label, measure key), a heading (key None) before every group."""
    rows: list[tuple[str, str | None]] = []
    for heading, keys in grouped(document).items():
        known = [key for key in keys if key in wanted and any(_defined(each, key) for each in measured)]
        if known:
            rows += [(heading, None), *((title(key, document), key) for key in known)]
    return rows


def _defined(measures: dict[str, Reading], key: str) -> bool:
    return key in measures and measures[key].value is not None


def _height(key: str | None, students: int) -> float:
    return 1.0 if key is None or students <= 2 else 0.45 + 0.3 * students


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
        axes.text(LOWEST, place, f"   {number(measure.value)}", va="center", fontsize=0.85 * look.text)
        return
    if measure.low is not None and measure.high is not None:
        low = max(measure.low, LOWEST)
        axes.plot([low, measure.high], [place, place], color=colour(turn), linewidth=1.6 * look.line, alpha=0.55)
    axes.plot([measure.value], [place], marker(turn), color=colour(turn), zorder=3)


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
        text += f"  [{number(measure.low)}, {number(measure.high)}]"
    return text.replace("-", "\N{MINUS SIGN}")


def _scale(axes: Axes, measured: list[dict[str, Reading]], keys: list[str]) -> None:
    found = [each[key] for each in measured for key in keys if key in each and each[key].value is not None]
    least = min([0.0, *(value for m in found for value in (m.value, m.low, m.chance, m.class_chance) if value)])
    axes.set_xlim(max(least, LOWEST) - (0.02 if least < 0 else 0.015), 1.02)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "0.25", "0.5", "0.75", "1"])
    axes.grid(axis="x")
    if least < -0.02:
        zero_line(axes)


def _legend(document: dict[str, Any], measured: list[dict[str, Reading]], look: Look) -> list[Any]:
    labels = student_labels(document).values()
    handles = [
        sample_line(label, color=colour(turn), marker=marker(turn), linewidth=1.6 * look.line)
        for turn, label in enumerate(labels)
    ]
    for name, label, sign, tint in YARDSTICKS:
        if any(getattr(m, name) is not None for each in measured for m in each.values()):
            handles.append(sample_line(label, marker=sign, **_yardstick(sign, tint, look)))
    return handles
