"""Singular spectra of both centred spaces: over how many directions the variance spreads.

Each value over the root of the sum of squares, so that spaces of another scale or width can be compared.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

from matplotlib.figure import Figure

from manifold_probe.measures.catalogue import RANKME_STUDENT, RANKME_TEACHER
from manifold_probe.report.document import readings, students_of
from manifold_probe.report.figures.canvas import count_axis, finish, legend_below, round_ticks, sample_line, sheet
from manifold_probe.report.figures.labels import student_labels, teacher_label
from manifold_probe.report.figures.look import INK, Look, colour, line, student_line

FLOOR = 1e-4  # of the total: below lies rounding
POINTS = 300


def draw(document: dict[str, Any], look: Look) -> Figure | None:
    """The teacher's spectrum in black, the students' in colour, on logarithmic axes."""
    students = students_of(document)
    found = {name: each["details"].get("spectra") for name, each in students.items()}
    known = {name: each for name, each in found.items() if each}
    if not known:
        return None
    figure = sheet(look, min(look.width * 0.64, 3.1 * look.text / 8))
    axes = figure.add_subplot()
    labels = student_labels(document)
    name, first = next(iter(known.items()))
    shape: dict[str, Any] = {"color": INK, "linewidth": 1.4 * look.line}
    drawn = [(first["teacher"], shape, _named(teacher_label(document), students[name], "teacher"))]
    for turn, (name, student) in enumerate(students.items()):
        if name in known:
            style = student_line(turn) if len(students) > 1 else {"color": colour(turn), "linestyle": line(turn)}
            drawn.append((known[name]["student"], style, _named(labels[name], student, "student")))
    deepest, lowest = 1, 1.0
    handles = []
    for values, style, label in drawn:
        shares = _shares(values)
        kept = _spread(len(shares))
        alone = {"marker": "o"} if len(shares) == 1 else {}  # all variance in one direction: a line of one point
        axes.plot([place + 1 for place in kept], [shares[place] for place in kept], **(style | alone))
        handles.append(sample_line(label, **style))
        deepest, lowest = max(deepest, len(shares)), min([lowest, *shares])
    count_axis(axes, round_ticks(1, max(deepest, 10)))
    count_axis(axes, round_ticks(lowest / 1.2, 1), "y")
    axes.set_xlim(0.9, max(deepest, 2) * 1.12)
    axes.set_ylim(lowest / 1.2, 1.2)
    axes.grid(axis="y")
    axes.set_xlabel("component")
    axes.set_ylabel("relative singular value")
    legend_below(figure, look, handles)
    return finish(figure)


def _shares(values: list[float]) -> list[float]:
    total = sqrt(sum(value * value for value in values)) or 1.0
    return [value / total for value in values if value / total >= FLOOR] or [1.0]


def _spread(count: int) -> list[int]:
    """Places for a logarithmic axis: every one at the start, fewer towards the end."""
    return sorted({min(count - 1, round(count ** (step / POINTS)) - 1) for step in range(POINTS + 1)})


def _named(label: str, student: dict[str, Any], side: str) -> str:
    rank = readings(student).get((RANKME_TEACHER if side == "teacher" else RANKME_STUDENT).key)
    return label if rank is None or rank.value is None else f"{label} (RankMe {rank.value:,.0f})"
