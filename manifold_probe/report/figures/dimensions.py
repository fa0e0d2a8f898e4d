"""Dimensions: the sorted correlation of each, before and after fitted maps, and the spectra of both centred spaces.

Where a curve of correlations rises far above the raw one, that map is what separates the student's coordinates from the
teacher's. Each singular value is divided by the root of their sum of squares, so that spaces of another scale or width
can be compared.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manifold_probe.measures.catalogue import RANKME_STUDENT, RANKME_TEACHER
from manifold_probe.report.document import readings, students_of
from manifold_probe.report.figures.canvas import (
    count_axis,
    finish,
    legend_below,
    round_ticks,
    sample_line,
    sheet,
    value_axis,
)
from manifold_probe.report.figures.labels import student_labels, teacher_label
from manifold_probe.report.figures.look import INK, LINES, Look, colour, line, student_line

KINDS = {
    "raw": "raw",
    "permutation": "permuted",
    "orthogonal": "rotated",
    "ridge": "linear map",
}
POINTS = 400  # of a curve; more cannot be seen
SPAN = 0.2  # the axis of correlations is no shorter
FLOOR = 1e-4  # of all singular values: below lies rounding


def draw(document: dict[str, Any], look: Look) -> Figure | None:
    """Correlations: of one student a curve for every map, of several a panel for every map."""
    students = students_of(document)
    curves = {name: each["details"].get("per_dimension") or {} for name, each in students.items()}
    kinds = [kind for kind in KINDS if any(_sorted(each.get(kind)) for each in curves.values())]
    if not kinds:
        return None
    alone = len(students) == 1
    columns = 1 if alone else 2 if look.narrow and len(kinds) % 2 == 0 else 1 if look.narrow else len(kinds)
    rows = 1 if alone else -(-len(kinds) // columns)
    most = look.tallest / rows - 0.2
    shape = {1: 0.64, 2: 0.85}.get(columns, 1.3)  # height of a panel over its width, axis included
    figure = sheet(look, rows * min(look.width / columns * shape, 2.2 * look.text / 8, most))
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    labels = student_labels(document)
    if alone:
        tints = dict(zip(KINDS, (INK, *map(colour, (1, 2, 0))), strict=True))
        dashes = dict(zip(KINDS, LINES, strict=False))
        styles = {KINDS[kind]: {"color": tints[kind], "linestyle": dashes[kind]} for kind in kinds}
    else:
        styles = {labels[name]: student_line(turn) for turn, name in enumerate(students)}
    for place, kind in enumerate(kinds):
        axes = panels[0 if alone else place]
        for name in students:
            _curve(axes, curves[name].get(kind), **styles[KINDS[kind] if alone else labels[name]])
        if not alone:
            axes.set_title(KINDS[kind])
    ends = [float(value) for axes in panels for drawn_line in axes.lines for value in drawn_line.get_ydata()]
    for axes in panels:
        value_axis(axes, "y", min(ends), 1.0, span=SPAN)
        axes.set_xlim(0, 100)
        axes.set_xticks([0, 50, 100] if columns > 2 else [0, 25, 50, 75, 100])
    for axes in panels[::columns]:
        axes.set_ylabel("correlation")
    for axes in panels[-columns:]:
        axes.set_xlabel("dimensions (%)" if columns > 1 else "dimensions of the teacher, best first (%)")
    legend_below(figure, look, [sample_line(label, **style) for label, style in styles.items()])
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


def draw_spectra(document: dict[str, Any], look: Look) -> Figure | None:
    """The teacher's singular values in black, the students' in colour, on logarithmic axes."""
    students = students_of(document)
    spectra = {name: each["details"].get("spectra") for name, each in students.items()}
    known = {name: each for name, each in spectra.items() if each}
    if not known:
        return None
    figure = sheet(look, min(look.width * 0.64, 3.1 * look.text / 8))
    axes = figure.add_subplot()
    labels = student_labels(document)
    name, first = next(iter(known.items()))
    shape: dict[str, Any] = {"color": INK, "linewidth": 1.4 * look.line}
    drawn = [(first["teacher"], shape, _named(teacher_label(document), students[name], RANKME_TEACHER.key))]
    for turn, (name, student) in enumerate(students.items()):
        if name in known:
            style = student_line(turn) if len(students) > 1 else {"color": colour(turn), "linestyle": line(1)}
            drawn.append((known[name]["student"], style, _named(labels[name], student, RANKME_STUDENT.key)))
    deepest, lowest = 1, 1.0
    for values, style, _ in drawn:
        shares = _shares(values)
        kept = _spread(len(shares))
        alone = {"marker": "o"} if len(shares) == 1 else {}  # all variance in one direction: a line of one point
        axes.plot([place + 1 for place in kept], [shares[place] for place in kept], **(style | alone))
        deepest, lowest = max(deepest, len(shares)), min([lowest, *shares])
    count_axis(axes, round_ticks(1, max(deepest, 10)))
    count_axis(axes, round_ticks(lowest / 1.2, 1), "y")
    axes.set_xlim(0.9, max(deepest, 2) * 1.12)
    axes.set_ylim(lowest / 1.2, 1.2)
    axes.grid(axis="y")
    axes.set_xlabel("component")
    axes.set_ylabel("relative singular value")
    legend_below(figure, look, [sample_line(label, **style) for _, style, label in drawn])
    return finish(figure)


def _shares(values: list[float]) -> list[float]:
    total = sqrt(sum(value * value for value in values)) or 1.0
    return [value / total for value in values if value / total >= FLOOR] or [1.0]


def _spread(count: int) -> list[int]:
    """Places for a logarithmic axis: every one at the start, fewer towards the end."""
    return sorted({min(count - 1, round(count ** (step / POINTS)) - 1) for step in range(POINTS + 1)})


def _named(label: str, student: dict[str, Any], key: str) -> str:
    rank = readings(student).get(key)
    return label if rank is None or rank.value is None else f"{label} (RankMe {rank.value:,.0f})"
