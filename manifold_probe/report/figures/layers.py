"""Layer against layer: a heat map of debiased CKA, the teacher's layers down and the student's across."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manifold_probe.measures.catalogue import DEBIASED_CKA
from manifold_probe.report.figures.canvas import finish, sheet, text_width
from manifold_probe.report.figures.captions import CAPTIONS
from manifold_probe.report.figures.labels import distinct, fitting, fitting_width
from manifold_probe.report.figures.look import FAINT, GREY, INK, Look, styled
from manifold_probe.report.words import ROUNDING

SCALE = "viridis"
WRITTEN = 12  # cells a side up to which values are written in
MOST_LABELS = 40
PITCH = 1.3  # of the text size: from one line of labels to the next
DARK = 0.6  # values below stand on a dark ground


def draw(document: dict[str, Any], look: Look) -> Figure:
    """The heat map of a document of layers; colours always run from 0 to 1, undefined cells are grey."""
    with styled(look):
        figure = _draw(document, look)
    figure.set_label(CAPTIONS["layers"])
    return figure


def _draw(document: dict[str, Any], look: Look) -> Figure:
    values = np.array(document[DEBIASED_CKA.key], dtype=float)
    line = PITCH * look.text / 72
    limit = 14 if look.narrow else 20
    down, across = distinct(document["teacher"], limit), distinct(document["student"], limit)
    bar_above = look.narrow and not look.flat
    left = max(text_width(label, look) for label in down) + 2.2 * line
    body = max(look.width - left - (0.1 if bar_above else 4 * line), 1.0)
    cell = body / len(across)
    widest = max(text_width(label, look) for label in across)
    every = _step(len(across), body, line)
    upright = widest + 0.5 * line > cell * every
    below = (widest if upright else line) + 2.2 * line + (3.5 * line if bar_above else 0.0)
    # the titles next to the axes need their length
    title = f"teacher: {fitting(document['inputs']['teacher']['name'], 16)}, layer"
    least = max(text_width(each, look, "bold") for each in (title, "debiased linear CKA")) + line
    tall = min(max(len(down) * min(max(cell, look.row), 2.6 * look.row), least), MOST_LABELS * look.row)
    tall = min(tall, look.tallest - below - 0.1)
    figure = sheet(look, tall + below + 0.1)
    axes = figure.add_subplot()
    colours = colormaps[SCALE].with_extremes(bad=FAINT)
    image = axes.imshow(values, cmap=colours, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    _labels(axes, "y", down, _step(len(down), tall, line))
    _labels(axes, "x", across, every, rotation=90 if upright else 0)
    axes.set_ylabel(_titled("teacher", document, look, tall))
    axes.set_xlabel(_titled("student", document, look, body))
    _write_values(axes, values, (cell, tall / len(down)), look)
    bar = figure.colorbar(
        image,
        ax=axes,
        location="top" if bar_above else "right",
        ticks=[0, 0.25, 0.5, 0.75, 1] if bar_above else [0, 0.5, 1],
        extend="min" if (values < 0).any() else "neither",
        aspect=30,
        pad=0.02,
    )
    bar.ax.xaxis.set_major_formatter("{x:g}") if bar_above else bar.ax.yaxis.set_major_formatter("{x:g}")
    bar.set_label("debiased linear CKA")
    bar.outline.set_visible(False)
    return finish(figure)


def _step(count: int, inches: float, line: float) -> int:
    """Every how many layers a label finds room."""
    return -(-count // max(1, min(MOST_LABELS, count, int(inches / line))))


def _labels(axes: Axes, which: str, labels: list[str], every: int, rotation: int = 0) -> None:
    ticks = list(range(0, len(labels), every))
    shown = [labels[place] for place in ticks]
    if which == "x":
        axes.set_xticks(ticks, labels=shown, rotation=rotation, parse_math=False)
    else:
        axes.set_yticks(ticks, labels=shown, parse_math=False)
    if every == 1:  # where layers are left out a mark says which one a label means
        axes.tick_params(axis=which, length=0)  # type: ignore[arg-type]
    for spine in axes.spines.values():
        spine.set_visible(False)


def _titled(side: str, document: dict[str, Any], look: Look, inches: float) -> str:
    """ "teacher: NAME, layer", the name cut to what fits; without the name where it says nothing more."""
    name = document["inputs"][side]["name"]
    if name == side:
        return f"{side}, layer"
    return f"{side}: {fitting_width(name, look, inches - text_width(f'{side}: , layer', look))}, layer"


def _write_values(axes: Axes, values: np.ndarray, cell: tuple[float, float], look: Look) -> None:
    """Two decimals in every cell, where there are few cells and they are large enough."""
    texts = [[_written(value) for value in row] for row in values]
    widest = max(text_width(text, look) for row in texts for text in row)
    size = min(1.0, 0.86 * cell[0] / max(widest, 1e-6), cell[1] / (look.text * 1.25 / 72))
    if max(values.shape) > WRITTEN or size < 0.8:
        return
    for (down, across), value in np.ndenumerate(values):
        ink = GREY if np.isnan(value) else "white" if value < DARK else INK
        text = texts[down][across]
        axes.text(across, down, text, ha="center", va="center", color=ink, fontsize=size * look.text)


def _written(value: float) -> str:
    """ ".97" for 0.97: the range is known. What is not quite 1 does not read as 1, see `words.number`.

    >>> _written(0.974), _written(1.0), _written(0.998), _written(-0.021), _written(-0.001), _written(float("nan"))
    ('.97', '1', '>.99', '\u2212.02', '0', '\u2013')
    """
    if np.isnan(value):
        return "\u2013"
    text = f"{abs(value):.2f}"
    if text in ("0.00", "1.00"):
        return ">.99" if 0.5 < value < 1 - ROUNDING else text[0]
    return ("\u2212" if value < 0 else "") + text.removeprefix("0")
