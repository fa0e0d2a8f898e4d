"""What every figure is drawn with: a sheet, axes that say little, a legend that stands below the data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from math import ceil, floor, log10
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from manifold_probe.report.figures.look import GREY, INK, Look

HANDLE = 3.8  # of the text size: a legend's sample of a line, and the gaps about it


def sheet(look: Look, height: float) -> Figure:
    """An empty figure as wide as the look says, ``height`` inches high."""
    return Figure(figsize=(look.width, height), layout="constrained")


def legend_below(figure: Figure, look: Look, handles: Sequence[Any]) -> None:
    """A legend under all axes, the sheet made higher by what it takes."""
    figure.set_figheight(figure.get_figheight() + legend_height(look, handles))
    legend(figure, look, handles)


def legend(
    figure: Figure, look: Look, handles: Sequence[Any], place: Any = "outside lower center", title: str | None = None
) -> None:
    """A legend outside the axes, in as many columns as fit."""
    if handles:
        more: dict[str, Any] = {"title": title, "title_fontsize": look.text}
        drawn = figure.legend(handles=list(handles), loc=place, ncols=_columns(look, handles), **more)
        drawn.get_title().set_color(GREY)


def legend_height(look: Look, handles: Sequence[Any]) -> float:
    """The inches that a legend takes."""
    return -(-len(handles) // _columns(look, handles)) * 1.45 * look.text / 72 + 0.05 if handles else 0.0


def _columns(look: Look, handles: Sequence[Any]) -> int:
    """As many columns as fit, the rows as even as they can be."""
    widest = max(text_width(str(handle.get_label()), look) for handle in handles) + HANDLE * look.text / 72
    most = max(1, min(len(handles), int((look.width - 0.1) / widest)))
    return -(-len(handles) // -(-len(handles) // most))


@lru_cache(maxsize=1000)
def text_width(text: str, look: Look, weight: str = "normal") -> float:
    """The width of a line of text in inches."""
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    path = TextPath((0, 0), text, size=look.text, prop=FontProperties(weight=weight))
    return float(path.get_extents().width) / 72


def sample_line(label: str, **style: Any) -> Line2D:
    """An entry of a legend."""
    return Line2D([], [], label=label, **style)


def rows_axis(axes: Axes, labels: Sequence[str], places: Sequence[float] | None = None) -> None:
    """A vertical axis of named rows, the first on top, by default at 0, 1, 2, ...; without tick marks."""
    places = range(len(labels)) if places is None else places
    axes.set_yticks(list(places), labels=list(labels), parse_math=False)
    axes.set_ylim(places[-1] + 0.6, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def count_axis(axes: Axes, ticks: Sequence[float], which: str = "x") -> None:
    """A logarithmic axis with ticks where asked, written as plain numbers."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axis.set_minor_locator(NullLocator())


def plain(value: float) -> str:
    """A number as short as it can be read.

    >>> plain(100000.0), plain(0.001), plain(2.0)
    ('100,000', '0.001', '2')
    """
    return f"{value:,.0f}" if value >= 1 else f"{value:.6f}".rstrip("0")


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Powers of ten within [low, high], at most ``most`` of them; with 2 and 5 between them where they are few.

    >>> round_ticks(1, 2000), round_ticks(1, 20)
    ([1.0, 10.0, 100.0, 1000.0], [1.0, 2.0, 5.0, 10.0, 20.0])
    """
    first, last = ceil(log10(low) - 1e-9), floor(log10(high) + 1e-9)
    if log10(high / low) > 2.5:
        step = max(1, -(-(last - first + 1) // most))
        return [10.0**power for power in range(first, last + 1, step)]
    every = (digit * 10.0**power for power in range(first - 1, last + 1) for digit in (1, 2, 5))
    return [value for value in every if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]


def value_axis(
    axes: Axes, which: str, low: float, high: float, *, most: float | None = 1.0, span: float = 0.0, ticks: int = 5
) -> None:
    """An axis as long as its values, and no shorter than ``span``, so that noise looks as small as it is; with a few
    round ticks of the same number of decimals, none above ``most``."""
    spare = max(0.0, span - (high - low))
    high, low = (high + spare / 2, low - spare / 2) if most is None else (min(most, high + spare / 2), low)
    low = min(low, high - span)
    pad = 0.04 * (high - low) or 0.1 * abs(high) or 0.1
    for bins in range(ticks, ticks + 5):  # one tick alone says nothing of the scale
        places = MaxNLocator(bins, steps=[1, 2, 5, 10]).tick_values(low - pad, high + pad)
        places = [tick for tick in places if low - pad <= tick <= high + pad and (most is None or tick <= most + 1e-9)]
        if len(places) > 1:
            break
    (axes.set_xlim if which == "x" else axes.set_ylim)(low - pad, high + pad)
    (axes.set_xticks if which == "x" else axes.set_yticks)(places, labels=written(places))
    axes.grid(axis=which)  # type: ignore[arg-type]


def written(ticks: Sequence[float]) -> list[str]:
    """Ticks with as many decimals as the finest of them needs.

    >>> written([-0.5, 0.0, 0.25]), written([0.0, 1e-5, 2e-5])
    (['\u22120.50', '0.00', '0.25'], ['0', '1e\u221205', '2e\u221205'])
    """
    step = min((b - a for a, b in pairwise(ticks)), default=1.0)
    decimals = next((n for n in range(5) if all(abs(tick - round(tick, n)) < 0.01 * step for tick in ticks)), None)
    if decimals is None or max(map(abs, ticks), default=0.0) >= 1e5:
        return [minus(f"{tick:.2g}") for tick in ticks]
    return [minus(f"{tick:,.{decimals}f}") for tick in ticks]


def minus(text: str) -> str:
    """A number with a minus sign for its hyphen."""
    return text.replace("-", "\N{MINUS SIGN}")


def dodged(place: float, count: int, room: float = 0.62) -> list[float]:
    """Where each of several students stands in a row, around its middle."""
    return [place + room * ((turn + 0.5) / count - 0.5) for turn in range(count)]


def interval_sample(look: Look, text: str = "95% interval") -> Line2D:
    """The entry of a legend for `interval`."""
    return sample_line(text, color=INK, linewidth=0.55 * look.line, marker="|", markevery=[0, -1])


def interval(
    axes: Axes,
    low: float | None,
    high: float | None,
    place: float,
    look: Look,
    *,
    upright: bool = False,
    on_bar: bool = False,
) -> None:
    """A 95% interval, drawn over its mark with caps that stick out of it, so that a small one is seen too.

    On a bar the line has a light border.
    """
    if low is None or high is None:
        return
    ends, across = [low, high], [place, place]
    for tint, thick in ((("#ffffff", 1.8),) if on_bar else ()) + ((INK, 0.55),):
        axes.plot(
            *((across, ends) if upright else (ends, across)),
            color=tint,
            marker="_" if upright else "|",
            linewidth=thick * look.line,
            markersize=(1.0 if on_bar else 1.5) * look.mark,
            markeredgewidth=thick * look.line,
            solid_capstyle="butt",
            zorder=4,
        )


def zero_line(axes: Axes, value: float = 0.0) -> None:
    """A thin vertical line that stands for "none"."""
    axes.axvline(value, color=INK, linewidth=0.6, zorder=0.5)


def remark(axes: Axes, text: str) -> None:
    """A short grey sentence at the top right of the axes, above the data."""
    axes.set_title(text, loc="right", color=GREY, fontweight="normal")


def finish(figure: Figure) -> Figure:
    """Lay the figure out once and for all, so that every format gets the same and none pays for it again."""
    engine = figure.get_layout_engine()
    if engine is not None:  # twice, as the room that ticks take is known only once they are laid out
        engine.execute(figure)
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure
