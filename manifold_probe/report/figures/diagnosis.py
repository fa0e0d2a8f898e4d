"""Figures of a diagnosis: the account of the whole loss, the proof of every cause, and the ladder of corrections.

The account is a waterfall from 1 part by part down to the student, of overlap and of CKA. A proof shows a measure
before and after what was done, and what a sound pair gains by it. The ladder shows how faithful the student is after
each correction, on other rows than it was fitted on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, printed
from manifold_probe.report.diagnosis import words
from manifold_probe.report.diagnosis.words import HELD_OUT, overlap_keys, rung
from manifold_probe.report.figures.canvas import (
    finish,
    interval,
    interval_sample,
    legend_below,
    rows_axis,
    sample_line,
    sheet,
    text_width,
    zero_line,
)
from manifold_probe.report.figures.labels import fitting
from manifold_probe.report.figures.look import FAINT, GREY, INK, PALETTE, Look, colour
from manifold_probe.report.words import percent

THICK = 0.68  # of a row: a bar
KEPT = "kept"
FILLS: dict[str, dict[str, Any]] = {  # distinct in grey too: by lightness and by hatching
    KEPT: {"facecolor": PALETTE[0], "edgecolor": PALETTE[0]},
    words.WIDTH: {"facecolor": "none", "edgecolor": GREY},
    words.REGAINED: {"facecolor": PALETTE[5], "edgecolor": PALETTE[5]},
    words.CLASSES: {"facecolor": PALETTE[4], "edgecolor": INK, "hatch": "...."},
    words.LOST: {"facecolor": PALETTE[1], "edgecolor": "#ffffff", "hatch": "////"},
}


def draw_account(document: dict[str, Any], look: Look) -> Figure | None:
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
    axes.set_title(printed(key))
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
            interval(axes, start - part["high"], start - part["low"], place, look, on_bar=True)
            low, high = min(low, start - part["high"]), max(high, start - part["low"])
        _number(axes, place, low, high, words.points(part["share"]), INK)
    axes.plot([level, level], [len(rows), len(rows) + 1], color=INK, linewidth=0.4 * look.line, zorder=2.5)
    last = len(rows) + 1
    _bar(axes, last, 0.0, value, KEPT, look)
    high = value if measured.get("high") is None else measured["high"]
    interval(axes, measured.get("low"), measured.get("high"), last, look, on_bar=True)
    _number(axes, last, 0.0, max(high, value), words.points(value), INK, bold=True)


def _bar(axes: Axes, place: int, low: float, high: float, kind: str, look: Look) -> None:
    axes.barh([place], [high - low], left=[low], height=THICK, linewidth=look.line / 2, zorder=2, **FILLS[kind])


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


MOST_CAUSES = 8
WIDEST_LINE = 120  # characters
SMALLEST = 0.8  # of the text size, for a line that would not fit
SHARES = [0, 0.25, 0.5, 0.75, 1]
CAUSE = 3.1  # rows of text that a cause takes: its words, its standing, its proof


def draw_causes(document: dict[str, Any], look: Look) -> Figure | None:
    """A block for every cause, what explains most on top; None where none has a proof to draw."""
    causes = document["causes"][:MOST_CAUSES] if any(cause["repair"] for cause in document["causes"]) else []
    if not causes:
        return None
    room = int((look.tallest - 5 * look.row) / (CAUSE * look.row))
    causes = causes[: max(room, 1)]
    figure = sheet(look, (CAUSE * len(causes) + 1.8) * look.row)
    axes = figure.add_subplot()
    axes.set_ylim(len(causes), 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    ends = [0.0, 1.0]
    for place, cause in enumerate(causes):
        top, bottom = place + 1.95 / CAUSE, place + 2.75 / CAUSE  # below the words, which no line crosses
        axes.vlines(SHARES, top, bottom, color=FAINT, linewidth=look.text / 14, zorder=0)
        _cause_words(axes, place, cause, look)
        ends += _proof(axes, place + 2.35 / CAUSE, cause, look)
        if place:
            axes.axhline(place, color=GREY, linewidth=0.4 * look.line, zorder=0)
    axes.set_xlim(min(ends) - 0.02, max(ends) + 0.02)
    axes.set_xticks(SHARES, labels=[f"{tick:g}" for tick in SHARES])
    legend_below(figure, look, _cause_legend(causes, look))
    return finish(figure)


def _cause_words(axes: Axes, place: int, cause: dict[str, Any], look: Look) -> None:
    """The cause in words, and below how it stands and in which measure it was proved."""
    where: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "in_layout": False}
    title = f"{place + 1}. {words.capital(words.words_of(cause))}"
    axes.text(0, place + 0.55 / CAUSE, _cut(title, look, "bold"), fontweight="bold", **where)
    trial = cause["repair"]
    share = "" if cause["share"] is None else f"; {percent(round(cause['share'], 2))} of the loss"
    measure = (
        "not undone" if trial is None else words.called(trial["measure"]).replace(" on held-out rows", ", held out")
    )
    said = f"{cause['status']}{share}; {measure}"
    small = replace(look, text=max(SMALLEST, min(1, (look.width - 0.35) / text_width(said, look))) * look.text)
    axes.text(0, place + 1.45 / CAUSE, _cut(said, small, "normal"), color=GREY, fontsize=small.text, **where)


def _cut(text: str, look: Look, weight: str) -> str:
    """A line of text that is no wider than the sheet."""
    line, room = fitting(text, WIDEST_LINE), look.width - 0.35
    while (width := text_width(line, look, weight)) > room:
        line = fitting(text, int(len(line) * room / width) - 1)
    return line


def _proof(axes: Axes, place: float, cause: dict[str, Any], look: Look) -> list[float]:
    """The measure before and after, its interval, and a sound pair's gain; the ends of what was drawn."""
    trial = cause["repair"] or {}
    before, after = trial.get("before"), trial.get("after")
    if before is None or after is None:
        return []
    tint = colour(0 if cause["status"] == "proved" else 1)
    axes.annotate(
        "",
        (after, place),
        (before, place),
        arrowprops={"arrowstyle": "-", "color": tint, "linewidth": 0.9 * look.line, "shrinkA": 0, "shrinkB": 0},
    )
    ends = [before, after]
    ends += [trial[part] for part in ("low", "high") if trial.get(part) is not None]
    axes.plot([before], [place], **_proof_mark(tint, look, proved=False, sign="o"))
    axes.plot(
        [after], [place], **_proof_mark(tint, look, proved=True, sign="o" if cause["status"] == "proved" else "s")
    )
    interval(axes, trial.get("low"), trial.get("high"), place, look)
    if trial.get("healthy_gain") is not None:
        ends.append(before + trial["healthy_gain"])
        axes.plot(ends[-1:], [place], **_sound(look))
    return ends


def _proof_mark(tint: str, look: Look, *, proved: bool, sign: str) -> dict[str, Any]:
    return {
        "marker": sign,
        "color": tint,
        "markerfacecolor": tint if proved else "#ffffff",
        "markersize": 1.05 * look.mark,
        "markeredgewidth": look.line,
        "linestyle": "none",
        "zorder": 3,
    }


def _sound(look: Look) -> dict[str, Any]:
    return {"marker": "|", "color": INK, "markersize": 2.4 * look.mark, "markeredgewidth": look.line, "zorder": 4}


def _cause_legend(causes: list[dict[str, Any]], look: Look) -> list[Any]:
    """Only of what is drawn."""
    tried = [cause for cause in causes if cause["repair"] is not None]
    handles = [sample_line("before", **_proof_mark(INK, look, proved=False, sign="o"))] if tried else []
    for status, turn, sign in (("proved", 0, "o"), ("suspected", 1, "s")):
        if any(cause["status"] == status for cause in tried):
            label = f"after, {status}"
            handles.append(sample_line(label, **_proof_mark(colour(turn), look, proved=True, sign=sign)))
    if any(cause["repair"].get("healthy_gain") is not None for cause in tried):
        handles.append(sample_line("after, of a sound pair", linestyle="none", **_sound(look)))
    return handles


RUNG = 1.75  # of a row of text
THIN = 0.26  # of a rung: a bar
HATCHES = ("", "//////", "|||||")  # dots would be ten times the lines in an SVG


def draw_ladder(document: dict[str, Any], look: Look) -> Figure | None:
    """A rung of bars for every repair, the student as it is on top; None where nothing was measured."""
    keys = [key for key in overlap_keys(document) if any(_value(step, key) is not None for step in document["ladder"])]
    if not keys:
        return None
    steps = document["ladder"]
    tall = len(steps) * RUNG * look.row + 0.45 * look.text / 8
    figure = sheet(look, min(tall, look.tallest - 3 * look.row))
    axes = figure.add_subplot()
    rows_axis(axes, [fitting(rung(step["repair"]), 24) for step in steps])
    axes.set_ylim(len(steps) - 0.45, -0.55)
    for turn, key in enumerate(keys):
        before = _value(steps[0], key)
        if before is not None:
            axes.axvline(before, color=colour(turn), linewidth=0.7 * look.line, linestyle=(0, (1, 1.6)), zorder=1)
        for place, step in enumerate(steps):
            _rung(axes, step["measures"].get(key) or {}, place + THIN * (turn - (len(keys) - 1) / 2), turn, look)
    ends = [x for step in steps for key in keys for x in _ends(step["measures"].get(key) or {})]
    least = min([0.0, *ends])
    axes.set_xlim(max(least - 0.02, -1.05) if least < 0 else 0.0, max(1.02, *ends))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "0.25", "0.5", "0.75", "1"])
    axes.grid(axis="x")
    if least < 0:
        zero_line(axes)
    axes.set_xlabel("on held-out rows")
    handles = [Patch(label=printed(key.removeprefix(HELD_OUT)), **_rung_fill(turn)) for turn, key in enumerate(keys)]
    legend_below(figure, look, [*handles, interval_sample(look)])
    return finish(figure)


def _rung(axes: Axes, measured: dict[str, Any], place: float, turn: int, look: Look) -> None:
    value, low, high = (measured.get(part) for part in ("value", "low", "high"))
    if value is None:
        return
    axes.barh([place], [value], height=THIN * 0.86, **_rung_fill(turn))
    interval(axes, low, high, place, look, on_bar=True)


def _rung_fill(turn: int) -> dict[str, Any]:
    """Distinct in grey too."""
    tint = colour(turn)
    return {"facecolor": (tint, 0.4), "edgecolor": tint, "hatch": HATCHES[turn], "linewidth": 0}


def _value(step: dict[str, Any], key: str) -> float | None:
    return (step["measures"].get(key) or {}).get("value")


def _ends(measured: dict[str, Any]) -> list[float]:
    return [measured[part] for part in ("value", "low", "high") if measured.get(part) is not None]
