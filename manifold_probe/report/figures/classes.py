"""Overlap and agreement within each class: where the student lost what it lost."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from manifold_probe.measures.catalogue import KNN_AGREEMENT, OVERLAP, printed
from manifold_probe.report.document import students_of
from manifold_probe.report.figures.canvas import (
    dodged,
    finish,
    interval,
    interval_sample,
    legend_below,
    remark,
    rows_axis,
    sample_line,
    sheet,
    value_axis,
)
from manifold_probe.report.figures.labels import distinct, student_labels
from manifold_probe.report.figures.look import FAINT, Look, colour, marker

MOST, FEWEST = 25, 5
SPAN = 0.2  # an axis is no shorter


def draw(document: dict[str, Any], look: Look) -> Figure | None:
    """A row a class, the lowest overlap (over the students) on top; at most 25 of them."""
    students = students_of(document)
    of_students = [{row["class"]: row for row in each["details"].get("per_class") or []} for each in students.values()]
    every = list(dict.fromkeys(name for rows in of_students for name in rows))
    every = [name for name in every if any(rows.get(name, {}).get("overlap") is not None for rows in of_students)]
    if len(every) < 2:
        return None
    tall = 1.0 if len(students) == 1 else 0.5 + 0.32 * len(students)
    most = min(MOST, max(FEWEST, int(look.tallest / (tall * look.row)) - 3))
    worst = sorted(every, key=lambda name: _mean([rows[name]["overlap"] for rows in of_students if name in rows]))
    worst = worst[:most]
    settings = next(iter(students.values()))["settings"]
    kind, kinds = ("cluster", "clusters") if settings.get("classes") == "k-means" else ("class", "classes")
    figure = sheet(look, min((len(worst) + 1) * tall * look.row + 0.5 * look.text / 8, look.tallest))
    left, right = figure.subplots(1, 2, sharey=True)
    rows_axis(left, distinct(worst, 14 if look.narrow else 22))
    left.set_ylabel(kind)
    right.tick_params(axis="y", length=0)
    right.spines["left"].set_visible(False)
    columns = ((left, OVERLAP, ("low", "high")), (right, KNN_AGREEMENT, ("agreement_low", "agreement_high")))
    for axes, measure, limits in columns:
        drawn = []
        for place, name in enumerate(worst):
            axes.axhline(place, color=FAINT, linewidth=0.5, zorder=0)
            for turn, middle in enumerate(dodged(place, len(students), 0.62 if len(students) > 1 else 0.0)):
                value, low, high = map(of_students[turn].get(name, {}).get, (measure.detail, *limits))
                if value is not None:
                    axes.plot([value], [middle], marker(turn), color=colour(turn), zorder=3)
                    interval(axes, low, high, middle, look)
                    drawn += [each for each in (value, low, high) if each is not None]
        axes.set_xlabel(printed(measure.named(settings["k"])))
        value_axis(axes, "x", min(drawn, default=0.0), max(drawn, default=1.0), span=SPAN)
    if len(every) > most:
        remark(right, f"the {most} lowest of {len(every):,} {kinds}")
    handles = [
        sample_line(label, color=colour(turn), marker=marker(turn), linestyle="none")
        for turn, label in enumerate(student_labels(document).values())
    ]
    legend_below(figure, look, [*handles, interval_sample(look)])
    return finish(figure)


def _mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else 1.0
