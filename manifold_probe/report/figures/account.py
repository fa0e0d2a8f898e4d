"""The account of the whole loss: a waterfall from 1 part by part down to the student, of overlap and of CKA."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, printed
from manifold_probe.report.diagnosis import words
from manifold_probe.report.figures.canvas import finish, legend_below, rows_axis, sheet
from manifold_probe.report.figures.labels import fitting
from manifold_probe.report.figures.look import GREY, INK, PALETTE, Look

THICK = 0.68  # of a row: a bar
KEPT = "kept"
FILLS: dict[str, dict[str, Any]] = {  # told apart in grey too: by lightness and by hatching
    KEPT: {"facecolor": PALETTE[0], "edgecolor": PALETTE[0]},
    words.WIDTH: {"facecolor": "none", "edgecolor": GREY},
    words.REGAINED: {"facecolor": PALETTE[5], "edgecolor": PALETTE[5]},
    words.CLASSES: {"facecolor": PALETTE[4], "edgecolor": INK, "hatch": "...."},
    words.LOST: {"facecolor": PALETTE[1], "edgecolor": "#ffffff", "hatch": "////"},
}


def draw(document: dict[str, Any], look: Look) -> Figure | None:
    """Two waterfalls with the same rows, below each other where the sheet is narrow; None without an account."""
    k = document["settings"]["k"]
    panels = [
        (OVERLAP.named(k), document["accounting"]),
        (DEBIASED_CKA.key, document["accounting_cka"]),
    ]
    panels = [(key, account) for key, account in panels if account]
    if not panels:
        return None
    rows = words.rows_of(*(account for _, account in panels))
    stacked = look.narrow and not look.flat and len(panels) > 1
    height = (1.1 * (len(rows) + 2) + 3.4) * look.row
    figure = sheet(look, min(height * (len(panels) if stacked else 1), look.tallest - 3 * look.row))
    shape = (len(panels), 1) if stacked else (1, len(panels))
    grid = figure.subplots(*shape, squeeze=False, sharey=True, gridspec_kw={"wspace": 0.06}).ravel()
    for axes, (key, account) in zip(grid, panels, strict=True):
        _waterfall(axes, key, account, rows, document["measures"][key], look)
    labels = ["teacher", *(fitting(words.part(name).words, 24) for name in rows), "student"]
    for axes in grid if stacked else grid[:1]:
        rows_axis(axes, labels)
    if not stacked:
        for axes in grid[1:]:
            axes.tick_params(axis="y", length=0, labelleft=False)
            axes.spines["left"].set_visible(False)
    kinds = [KEPT, *(kind for kind in FILLS if any(words.part(name).kind == kind for name in rows))]
    legend_below(figure, look, [Patch(label=kind, linewidth=look.line / 2, **FILLS[kind]) for kind in kinds])
    return finish(figure)


def _waterfall(
    axes: Axes, key: str, account: list[dict[str, Any]], rows: list[str], measured: dict[str, Any], look: Look
) -> None:
    """A bar for the teacher, one for every part from where the last one ended, and one for the student."""
    parts = {each["name"]: each for each in account}
    value = measured["value"]
    axes.set_title(printed(key), loc="left")
    axes.set_xlabel("points of 0.01")
    axes.set_xlim(min(value, 0.0), 1.0)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "25", "50", "75", "100"])
    axes.grid(axis="x")
    axes.axhline(0.5, color=GREY, linewidth=0.4 * look.line, zorder=0)
    axes.axhline(len(rows) + 0.5, color=GREY, linewidth=0.4 * look.line, zorder=0)
    _bar(axes, 0, 0.0, 1.0, KEPT, look)
    level = 1.0
    for place, name in enumerate(rows, start=1):
        part = parts.get(name, {"share": 0.0})
        start, level = level, level - part["share"]
        axes.plot([start, start], [place - 1, place], color=INK, linewidth=0.4 * look.line, zorder=2.5)
        if part["share"] < words.LEAST_POINTS:
            _number(axes, place, start, start, "0", GREY)
            continue
        _bar(axes, place, level, start, words.part(name).kind, look)
        low, high = level, start
        if part.get("low") is not None and part.get("high") is not None:
            _whisker(axes, place, start - part["high"], start - part["low"], look)
            low, high = min(low, start - part["high"]), max(high, start - part["low"])
        _number(axes, place, low, high, words.points(part["share"]), INK)
    axes.plot([level, level], [len(rows), len(rows) + 1], color=INK, linewidth=0.4 * look.line, zorder=2.5)
    last = len(rows) + 1
    _bar(axes, last, 0.0, value, KEPT, look)
    high = value if measured.get("high") is None else measured["high"]
    if measured.get("low") is not None and measured.get("high") is not None:
        _whisker(axes, last, measured["low"], high, look)
    _number(axes, last, 0.0, max(high, value), words.points(value), INK, bold=True)


def _bar(axes: Axes, place: int, low: float, high: float, kind: str, look: Look) -> None:
    axes.barh([place], [high - low], left=[low], height=THICK, linewidth=look.line / 2, zorder=2, **FILLS[kind])


def _whisker(axes: Axes, place: int, low: float, high: float, look: Look) -> None:
    """An interval, light about the line so that it is seen on every bar."""
    for tint, wide in (("#ffffff", 2.2), (INK, 0.8)):
        axes.plot([low, high], [place, place], color=tint, linewidth=wide * look.line, zorder=3, solid_capstyle="butt")
    for end in (low, high):
        axes.plot([end, end], [place - 0.14, place + 0.14], color=INK, linewidth=0.8 * look.line, zorder=3)


def _number(axes: Axes, place: int, low: float, high: float, text: str, tint: str, *, bold: bool = False) -> None:
    """A number on the side of a bar that has more room."""
    right = low < 0.5
    axes.annotate(
        text,
        (high if right else low, place),
        xytext=(4 if right else -4, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center_baseline",
        color=tint,
        fontweight="bold" if bold else "normal",
        zorder=4,
    )
