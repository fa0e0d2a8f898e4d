"""Overlap against k: how much of the neighbourhood survives, from the nearest neighbour to the two hundred nearest."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from manifold_probe.report.document import students_of
from manifold_probe.report.figures.canvas import count_axis, finish, legend_below, sample_line, sheet
from manifold_probe.report.figures.labels import student_labels
from manifold_probe.report.figures.look import GREY, INK, Look, colour, line, marker

TICKS = (1, 2, 5, 10, 20, 50, 100, 200)


def draw(document: dict[str, Any], look: Look) -> Figure | None:
    """Cosine overlap of every student; for one student also the Euclidean and the reference."""
    students = students_of(document)
    curves = {name: each["details"].get("overlap_by_k") for name, each in students.items()}
    known = {name: curve for name, curve in curves.items() if curve and curve.get("k")}
    if not known:
        return None
    figure = sheet(look, min(look.width * 0.64, 3.1 * look.text / 8))
    axes = figure.add_subplot()
    handles = []
    labels = student_labels(document)
    for turn, name in enumerate(students):
        if name in known:
            style: dict[str, Any] = {"color": colour(turn), "marker": marker(turn), "linestyle": line(turn)}
            suffix = ", cosine" if len(students) == 1 else ""
            axes.plot(known[name]["k"], _numbers(known[name]["cosine"]), **style, zorder=3)
            handles.append(sample_line(labels[name] + suffix, **style))
    first = next(iter(known.values()))
    if len(students) == 1:
        handles += _beside(axes, first, labels[next(iter(known))])
    chance: dict[str, Any] = {"color": GREY, "linestyle": (0, (1, 1.5))}
    axes.plot(first["k"], _numbers(first["chance"]), **chance)
    handles.append(sample_line("chance", **chance))
    deepest = max(max(curve["k"]) for curve in known.values())
    count_axis(axes, [tick for tick in TICKS if tick <= deepest])
    axes.set_xlim(0.9, max(deepest, 2) * 1.12)
    highest = max(float(np.nanmax(drawn.get_ydata(), initial=0)) for drawn in axes.lines)
    top = min(1.0, np.ceil(5 * highest + 0.1) / 5)
    axes.set_ylim(-0.015 * top, 1.02 * top)
    axes.set_yticks(np.arange(0, top + 0.01, top / 4 if top < 0.5 else 0.2))
    axes.grid(axis="y")
    axes.set_xlabel("k (neighbours of each point)")
    axes.set_ylabel("overlap@k")
    legend_below(figure, look, handles)
    return finish(figure)


def _beside(axes: Any, curve: dict[str, Any], label: str) -> list[Any]:
    """The Euclidean overlap and the reference."""
    handles = []
    for key, text, style in (
        ("euclidean", f"{label}, Euclidean", {"color": colour(1), "marker": marker(1), "linestyle": line(1)}),
        ("reference", "reference", {"color": INK, "linestyle": (0, (6, 2))}),
    ):
        if curve.get(key) and any(value is not None for value in curve[key]):
            axes.plot(curve["k"], _numbers(curve[key]), **style, zorder=2)
            deepest = max(k for k, value in zip(curve["k"], curve[key], strict=True) if value is not None)
            ends = "" if deepest == max(curve["k"]) else f" (to k = {deepest})"
            handles.append(sample_line(text + ends, **style))
    return handles


def _numbers(values: list[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]
