"""Linked maps of teacher and student: an illustration, coloured by class and by how many neighbours each row kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from manifold_probe.measures.catalogue import OVERLAP, printed
from manifold_probe.report.figures.canvas import (
    finish,
    legend,
    legend_height,
    remark,
    sample_line,
    sheet,
    text_width,
)
from manifold_probe.report.figures.labels import distinct, fitting, fitting_width
from manifold_probe.report.figures.look import GREY, INK, MAP_COLOURS, Look

NAMED = len(MAP_COLOURS)
SIGNS = ("o", "s", "^", "D", "v")
SCALE = ListedColormap(colormaps["viridis"](np.linspace(0, 0.93, 256)))  # its last yellow is hardly seen on white
OTHERS = "#bdbdbd"
SIDES = ("teacher", "student")
PARTS = 4
FLATTEST, TALLEST = 0.6, 1.1  # height of a panel over its width


def draw(student: dict[str, Any], names: tuple[str, str], look: Look) -> Figure | None:
    """Teacher left and student right, by class above and by overlap below; ``names`` as the figure calls the two."""
    maps = student["details"].get("maps")
    if not maps or not maps["class"]:
        return None
    places = {side: np.asarray(maps[side]) for side in SIDES}
    clusters = student["settings"].get("classes") == "k-means"
    styles, handles = _classes(maps, clusters)
    limits = _shared_limits(places)
    across = 4 if look.flat else 2
    wide = (look.width - 0.1) / across
    tall = wide * float(np.ptp(limits[1]) / np.ptp(limits[0]))
    rows = 4 // across
    lines = 4.7 + 2 * rows + (1 if look.flat else 0)  # of text: titles and the bar of colours
    figure = sheet(look, rows * tall + legend_height(look, handles) + 0.8 * lines * look.row)
    panels = figure.subplots(rows, across, squeeze=False).ravel()
    for axes in panels:
        _frame(axes, limits)
    area = np.clip(8_000 / len(maps["class"]), 3, 24) * (2 * wide / 5.5) ** 2
    codes = np.asarray(maps["class"])
    codes = np.where(np.isin(codes, list(styles)), codes, -1)
    _by_class(panels[:2], places, codes, styles, area)
    written = {code: fitting(maps["classes"][code], 16) for code in styles}
    for axes, side in zip(panels, SIDES, strict=False):
        _write_classes(axes, places[side], codes, written, limits, wide - 0.1, look)
    kinds = ("by cluster" if clusters else "by class", "neighbours kept")
    for turn, axes in enumerate(panels):
        side, name, kind = SIDES[turn % 2], names[turn % 2], kinds[turn // 2]
        room = wide - 0.25 - (0 if look.flat else text_width(kind, look))
        axes.set_title(side if name == side or turn > 1 else fitting_width(f"{side}: {name}", look, room))
        if look.flat:
            axes.set_xlabel(kind, color=GREY)
        else:
            remark(axes, kind)
    _by_overlap(figure, panels, places, np.asarray(maps["overlap"], dtype=float), area, student["settings"]["k"])
    what = f"Illustration, not a measurement: UMAP of {len(maps['class']):,} rows"
    legend(figure, look, handles, place="outside upper center", title=what)
    return finish(figure)


def _write_classes(
    axes: Axes,
    points: np.ndarray,
    codes: np.ndarray,
    written: dict[int, str],
    limits: np.ndarray,
    wide: float,
    look: Look,
) -> None:
    """The name of every class on the free row nearest to its middle; left out where no row is free."""
    inches = wide / float(np.ptp(limits[0]))
    taken: list[tuple[float, float, float]] = []  # the middle of a name and half its width, in inches
    size = min(look.text, 4.2 * wide)
    high = 1.3 * size / 72
    for code, name in written.items():
        rows = points[codes == code]
        half = text_width(name, look, "bold") * size / look.text / 2 + 0.04
        order = np.argsort(((rows - np.median(rows, 0)) ** 2).sum(1), kind="stable")
        for x, y in rows[order[:: max(1, len(order) // 8)]] * inches:
            (left, right), (bottom, top) = limits * inches
            inside = left + half < x < right - half and bottom + high / 2 < y < top - high / 2
            if inside and all(abs(x - u) > half + other or abs(y - v) > high for u, v, other in taken):
                taken.append((x, y, half))
                stroke = [withStroke(linewidth=size / 4, foreground="#ffffff")]
                style: dict[str, Any] = {
                    "ha": "center",
                    "va": "center",
                    "fontweight": "bold",
                    "path_effects": stroke,
                    "fontsize": size,
                }
                axes.text(x / inches, y / inches, name, **style)
                break


def _classes(maps: dict[str, Any], clusters: bool) -> tuple[dict[int, dict[str, Any]], list[Any]]:
    """Colour and marker of the classes that are named, the largest, and the entries of the legend."""
    sizes = np.bincount(maps["class"], minlength=len(maps["classes"]))
    largest = [code for code in np.argsort(-sizes, kind="stable").tolist() if sizes[code]]
    named = sorted(largest if len(largest) <= NAMED else largest[: NAMED - 1])
    styles = {code: {"c": MAP_COLOURS[turn], "marker": SIGNS[turn % len(SIGNS)]} for turn, code in enumerate(named)}
    names = [f"cluster {maps['classes'][code]}" if clusters else maps["classes"][code] for code in named]
    labelled = zip(styles.values(), distinct(names, 16), strict=True)
    handles = [sample_line(label, color=s["c"], marker=s["marker"], linestyle="none") for s, label in labelled]
    if len(named) < len(largest):
        kind = "clusters" if clusters else "classes"
        label = f"{len(largest) - len(named):,} other {kind}"
        handles.append(sample_line(label, color=OTHERS, marker="o", linestyle="none"))
    return styles, handles


def _by_class(
    panels: Any, places: dict[str, np.ndarray], codes: np.ndarray, styles: dict[int, dict[str, Any]], area: float
) -> None:
    others = {"c": OTHERS, "marker": "o"}
    for axes, side in zip(panels, SIDES, strict=True):
        for part in _parts(len(codes)):
            for code in np.unique(codes[part]).tolist():
                rows = part[codes[part] == code]
                _scatter(axes, places[side][rows], area, **styles.get(code, others))


def _by_overlap(
    figure: Figure, panels: Any, places: dict[str, np.ndarray], kept: np.ndarray, area: float, k: int
) -> None:
    order = np.concatenate(_parts(len(kept)))
    top = max(0.1, float(np.ceil(10 * np.quantile(kept, 0.99)) / 10))
    for axes, side in zip(panels[2:], SIDES, strict=True):
        drawn = _scatter(axes, places[side][order], area, c=kept[order], cmap=SCALE, vmin=0, vmax=top)
    beyond = "max" if kept.max() > top else "neither"
    # under all panels, so that it takes the same room from each
    bar = figure.colorbar(drawn, ax=list(panels), fraction=0.05, location="bottom", aspect=40, pad=0.03, extend=beyond)
    bar.set_label(f"share of a row's neighbours kept ({printed(OVERLAP.named(k))})", color=INK)
    bar.locator = MaxNLocator(5)
    bar.outline.set_visible(False)


def _parts(count: int) -> list[np.ndarray]:
    """The rows in a few random parts, drawn one after the other so that no class hides all others."""
    return np.array_split(np.random.default_rng(0).permutation(count), PARTS)


def _shared_limits(places: dict[str, np.ndarray]) -> np.ndarray:
    """The part of the plane that every panel shows, ((left, right), (bottom, top)), no flatter or taller than fits."""
    every = np.concatenate(list(places.values()))
    low, high = every.min(0), every.max(0)
    reach = 1.08 * np.maximum(high - low, 1e-9)
    reach = np.maximum(reach, (reach[1] / TALLEST, reach[0] * FLATTEST))
    middle = (low + high) / 2
    return np.stack([middle - reach / 2, middle + reach / 2], axis=1)


def _frame(axes: Axes, limits: np.ndarray) -> None:
    axes.set_xlim(*limits[0])
    axes.set_ylim(*limits[1])
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(GREY)


def _scatter(axes: Axes, points: np.ndarray, area: float, **style: Any) -> Any:
    return axes.scatter(points[:, 0], points[:, 1], s=area, linewidths=0, alpha=0.85, rasterized=True, **style)
