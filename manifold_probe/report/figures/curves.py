"""Training curves: the loss and what a run is watched by, against the samples that the student encoded, or the steps.

A row for the loss, then a panel a measure: solid at the backbone, dashed at the head. Losses of different terms do not
compare: they stand in panels of their kind. One run has a panel for each term too. The untrained student is where every
curve begins, and the yardstick of what was learnt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import MEASURES, general, printed
from manifold_probe.report.figures.canvas import (
    count_axis,
    finish,
    legend,
    legend_height,
    round_ticks,
    sample_line,
    sheet,
    text_width,
    value_axis,
)
from manifold_probe.report.figures.captions import CAPTIONS
from manifold_probe.report.figures.labels import distinct, fitting_width
from manifold_probe.report.figures.look import GREY, INK, MAP_COLOURS, Look, marker, styled
from manifold_probe.report.run import SIDES, SIZES, Run, measured_rows

MOST = len(MAP_COLOURS)
STYLES = {"backbone": "-", "head": (0, (3.2, 1.6))}
DOTS: Any = (0, (1, 1.8))
PANEL, LOWEST, HIGHEST = 14.9, 6.0, 14.0  # of the text size: how wide a panel is, and how high a row
SPAN = 0.1  # a measure's axis shows no less, so that its noise looks as small as it is
DECADES = 30.0  # losses this many times apart stand on a logarithmic axis
POINTS = 1000  # of a curve; more cannot be seen


@dataclass(frozen=True)
class Panel:
    """``key`` is "loss", "loss:TERM" or a measure; ``first`` is the column it begins in; a panel of the loss shows the
    runs whose loss has these ``terms``."""

    key: str
    first: int
    columns: int = 1
    terms: tuple[str, ...] | None = None


def draw(runs: list[Run], look: Look) -> dict[str, Figure]:
    """The figure "training"; where a slide is too low for all rows, "training-2" and so on.

    Raises
    ------
    InputError
        For more runs than there are colours.
    """
    if len(runs) > MOST:
        raise InputError(
            f"RESULT: {len(runs)} runs, and a figure has colours for {MOST}; draw fewer at a time, or write all with "
            "--table FILE.csv"
        )
    with styled(look):
        rows = layout(runs, look)
        note = wrap(said_of_rows(runs), int((look.width - 0.2) * 72 / look.text / 0.6))
        keyed = _handles(runs, look)
        below = legend_height(look, keyed) + (len(note) * 1.3 + 1.9) * look.text / 72
        per = max(1, int((look.tallest - below) / (LOWEST * look.text / 72)))
        count = -(-len(rows) // per)
        per = -(-len(rows) // count)
        parts = [rows[start : start + per] for start in range(0, len(rows), per)]
        names = ["training", *(f"training-{number}" for number in range(2, count + 1))]
        sheets = {name: _sheet(runs, part, look, keyed, note, below) for name, part in zip(names, parts, strict=True)}
    for figure in sheets.values():
        figure.set_label(CAPTIONS["training"])
    return sheets


def layout(runs: list[Run], look: Look) -> list[list[Panel]]:
    """The panels, row by row: of the loss, which takes the columns its terms leave, and of the measures."""
    keys = measured_keys(runs)
    kinds = list(dict.fromkeys(tuple(run.terms) for run in runs if run.losses))
    losses: list[tuple[str, tuple[str, ...] | None]] = [("loss", kind if len(kinds) > 1 else None) for kind in kinds]
    if len(runs) == 1 and len(runs[0].terms) > 1:
        losses += [(f"loss:{term}", None) for term in runs[0].terms]
    most = max(1, min(4, int(72 * look.width / look.text / PANEL)))
    count = len(keys) or len(losses)
    columns = min(range(max(1, most - 1), most + 1), key=lambda number: (-count % number, -number))
    columns = min(columns, count)
    rows: list[list[Panel]] = []
    place = 0
    for turn, (key, kind) in enumerate([*losses, *((key, None) for key in keys)]):
        if place == 0:
            rows.append([])
        wide = columns - (len(losses) - 1) % columns if losses and turn == 0 else 1
        rows[-1].append(Panel(key, place, wide, kind))
        place = (place + wide) % columns
    return rows


def measured_keys(runs: list[Run]) -> list[str]:
    """The measures to be drawn, in order: those with a value somewhere; then the student's own rank and norm."""
    known = list(dict.fromkeys(key for run in runs for key in run.keys))
    drawn = [each.key for each in MEASURES if each.watched and not each.side]
    sizes = [key for key in SIZES if any(key in run.sizes for run in runs)]
    return [key for wanted in drawn for key in known if general(key) == wanted] + sizes


def said_of_rows(runs: list[Run]) -> str:
    """Which rows the measures are of: whether training saw them, and where they differ from run to run."""
    names = distinct([run.name for run in runs], 24)
    said: dict[str, list[str]] = {}
    for name, run in zip(names, runs, strict=True):
        if run.measured:
            doubt = "" if run.verified else ", taught by targets paired by position (unverified)"
            said.setdefault(measured_rows(run.measured[-1]["probe"]) + doubt, []).append(name)
    if len(said) <= 1:
        return "".join(f"Measured on {rows}." for rows in said)
    most = max(said, key=lambda rows: len(said[rows]))
    of = {rows: ", ".join(named) for rows, named in said.items() if rows != most or len(named) == 1}
    parts = [f"{whose} on {rows}" for rows, whose in of.items()]
    parts += [] if most in of else [f"the others on {most}"]
    return f"Measured on different rows, which do not compare: {'; '.join(parts)}."


def _labels(runs: list[Run]) -> list[str]:
    names = distinct([run.name for run in runs], 24)
    no_head = " (no head)" if any(not run.headless for run in runs) else ""  # of the others
    return [
        name + ("" if run.finished else " (unfinished)") + (no_head if run.headless and run.measured else "")
        for name, run in zip(names, runs, strict=True)
    ]


def _sheet(
    runs: list[Run], rows: list[list[Panel]], look: Look, keyed: list[Any], note: list[str], below: float
) -> Figure:
    columns = max(panel.first + panel.columns for row in rows for panel in row)
    em = look.text / 72
    high = min(max(0.75 * look.width / columns, 9 * em), HIGHEST * em)
    figure = sheet(look, min(len(rows) * high + below, max(look.tallest, len(rows) * LOWEST * em + below)))
    grid = figure.add_gridspec(len(rows), columns)
    place = "encoded" if all(run.counts_samples for run in runs) else "step"
    most = max(line[place] for run in runs for line in [*run.losses, *run.measured])
    unit, words = counted_in(most, "encoded samples" if place == "encoded" else "steps")
    most = most / unit or 1.0
    for down, row in enumerate(rows):
        for panel in row:
            across = slice(panel.first, panel.first + panel.columns)
            axes = figure.add_subplot(grid[down, across])
            below_it = [(part.first, part.columns) for under in rows[down + 1 :] for part in under]
            _samples_axis(axes, most, panel.columns, (panel.first, panel.columns) in below_it)
            inner = look.width * panel.columns / columns - 4 * em
            for turn, run in enumerate(runs):
                if panel.terms is None or panel.terms == tuple(run.terms):
                    _curves(axes, run, panel.key, MAP_COLOURS[turn], marker(turn), len(runs) > 1, place, unit)
            room = int((figure.get_figheight() - below) / len(rows) / em / 2)
            logarithmic = _values_axis(axes, panel.key, room)
            axes.set_title(_title(panel, look, inner, ", log scale" if logarithmic else ""))
    named = figure.supxlabel(words, fontsize=look.text, color=INK)
    legend(figure, look, keyed, title="\n".join(note) or None)
    finish(figure)
    for axes in figure.axes:
        _thin(axes, axes.get_position().height * figure.get_figheight() / em)
    boxes = (axes.get_tightbbox() for axes in figure.axes)
    lowest = min(box.y0 for box in boxes if box is not None)  # the layout keeps room there, but sets it lower
    named.set(y=(lowest / figure.dpi - 0.1 * em) / figure.get_figheight(), va="top")
    return figure


def counted_in(most: float, what: str = "encoded samples") -> tuple[float, str]:
    """What samples or steps are counted in, so that the numbers of an axis stay short.

    >>> counted_in(14_336), counted_in(1_281_167)
    ((1.0, 'encoded samples'), (1000.0, 'encoded samples (thousands)'))
    """
    if most < 20_000:
        return 1.0, what
    return (1e3, f"{what} (thousands)") if most < 2e7 else (1e6, f"{what} (millions)")


def _title(panel: Panel, look: Look, inches: float, scale: str) -> str:
    """The panel's name, the short one where the other finds no room; of a loss with its ``scale``."""
    if panel.key.startswith("loss"):
        term = panel.key.partition(":")[2].replace("_", " ")
        kind = " + ".join(panel.terms or ()).replace("_", " ")
        name = f"{term} term" if term else f"loss: {kind}" if kind else "loss"
        return fitting_width(name, look, inches - text_width(scale, look, "bold")) + scale
    full = SIZES.get(panel.key) or printed(panel.key)
    return full if text_width(full, look, "bold") <= inches else printed(panel.key, short=True)


def _curves(axes: Axes, run: Run, key: str, colour: str, mark: str, several: bool, place: str, unit: float) -> None:
    """One run in one panel."""
    style: dict[str, Any] = {"color": colour, "zorder": 3, "clip_on": False}
    if several:
        style |= {"marker": mark, "markevery": (0.1 + 0.03 * MAP_COLOURS.index(colour), 0.35)}
    if key.startswith("loss"):
        term = key.partition(":")[2]
        values = [line["terms"].get(term) if term else line["loss"] for line in run.losses]
        _curve(axes, [line[place] / unit for line in run.losses], values, alone=True, **style)
        return
    for side in SIDES[: 1 if run.headless or key in SIZES else 2]:
        values = run.values(side, key)
        begins = bool(run.measured) and run.measured[0]["step"] == 0  # with a mark of its own
        at = [line[place] / unit for line in run.measured]
        _curve(axes, at, values, alone=not begins, linestyle=STYLES[side], **style)
        untrained = values[0] if begins else None
        if untrained is not None:
            axes.plot([0], [untrained], **_hollow(colour, mark), zorder=4, clip_on=False)
            if not several:
                axes.axhline(untrained, color=GREY, linestyle=DOTS, zorder=1)


def _curve(axes: Axes, at: Sequence[float], values: Sequence[float | None], *, alone: bool, **style: Any) -> None:
    """A line through the values; a single one gets a mark, unless it is the first and not ``alone``."""
    step = -(-len(at) // POINTS) or 1
    kept = [*range(0, len(at) - 1, step), len(at) - 1] if at else []
    drawn = [math.nan if (value := values[place]) is None else value for place in kept]
    known = np.isfinite(drawn)
    if not known.any():
        return
    if known.sum() == 1 and (alone or not known[0]):
        style |= {"marker": style.get("marker", "o"), "markevery": None}  # one point makes no line
    axes.plot([at[place] for place in kept], drawn, **style)


def _hollow(colour: str, mark: str) -> dict[str, Any]:
    return {"color": colour, "marker": mark, "markerfacecolor": "white", "linestyle": "none"}


def _handles(runs: list[Run], look: Look) -> list[Any]:
    """The runs, then what line and mark say."""
    several = len(runs) > 1
    ink, start = (INK, "") if several else (MAP_COLOURS[0], f"{_labels(runs)[0]}: ")
    named = [
        sample_line(label, color=MAP_COLOURS[turn], marker=marker(turn))
        for turn, label in enumerate(_labels(runs))
        if several
    ]
    keys = []
    measured = [run for run in runs if run.measured]
    if any(not run.headless for run in measured):
        keys += [sample_line(f"{start}{side}", color=ink, linestyle=STYLES[side]) for side in SIDES]
    elif not several:
        keys.append(sample_line(start.removesuffix(": "), color=ink))
    if any(run.measured[0]["step"] == 0 for run in measured):
        dots = {} if several else {"linestyle": DOTS, "color": GREY, "markeredgecolor": ink}
        keys.append(sample_line("untrained student", **_hollow(ink, marker(0)) | dots))
    return [*named, *keys]


def _samples_axis(axes: Axes, most: float, columns: int, covered: bool) -> None:
    axes.set_xlim(-0.04 * most, 1.03 * most)
    ticks = [tick for tick in MaxNLocator(3 * columns, steps=[1, 2, 5, 10]).tick_values(0, most) if 0 <= tick <= most]
    axes.set_xticks(ticks, labels=[f"{tick:,g}" for tick in ticks])
    axes.tick_params(axis="x", labelbottom=not covered)


def _values_axis(axes: Axes, key: str, room: int) -> bool:
    """Few ticks, a measure's never above 1 and never finer than it is; whether it is logarithmic, as of a loss that
    falls far."""
    drawn = [np.asarray(line.get_ydata(), float) for line in axes.lines]
    values = np.concatenate([each[np.isfinite(each)] for each in drawn]) if drawn else np.zeros(1)
    low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
    loss = key.startswith("loss")
    logarithmic = loss and low > 0 and high > DECADES * low
    if logarithmic:
        ticks: list[float] = round_ticks(low, high, 4)
        count_axis(axes, ticks if len(ticks) <= max(room, 2) else ticks[:: -(-len(ticks) // max(room, 2))], "y")
        axes.set_ylim(low / 1.2, high * 1.2)
        axes.grid(axis="y")
    else:
        most = None if loss or key in SIZES else 1.0
        value_axis(axes, "y", low, high, most=most, span=0 if most is None else SPAN, ticks=min(5, max(2, room - 1)))
    return logarithmic


def _thin(axes: Axes, height: float) -> None:
    """Leave out every other tick until labels stand clear of each other, on axes so many lines of text high."""
    labels = [label.get_text() for label in axes.get_yticklabels()]
    places = axes.transAxes.inverted().transform(axes.transData.transform([(0, tick) for tick in axes.get_yticks()]))
    kept = list(range(len(labels)))
    while len(kept) > 1:
        gap = height * min(places[b, 1] - places[a, 1] for a, b in pairwise(kept))
        if gap > (1.4 if len(kept) > 2 else 1.1):
            break
        kept = kept[len(kept) % 2 == 0 and len(kept) > 2 :: 2]
    if len(kept) < len(labels):
        axes.set_yticks(axes.get_yticks()[kept], labels=[labels[place] for place in kept])
