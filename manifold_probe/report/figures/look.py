"""How figures look: their width, the size of their text, and colours that hold in print, in grey and for every eye.

Widths are those that the venues' style files set. Colours are Okabe and Ito's; students also differ in marker and line,
so that a figure printed in grey still shows which is which.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from manifold_probe.errors import InputError

STYLE = Path(__file__).with_name("probe.mplstyle")
FONT = "DejaVu Sans"  # Matplotlib carries it
OTHER_SCRIPTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Noto Sans JP",
    "Noto Sans KR",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "WenQuanYi Zen Hei",
    "Noto Sans Devanagari",
    "Arial Unicode MS",
)

INK = "#1b1b1b"
GREY = "#757575"
FAINT = "#d9d9d9"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "p")
LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (8, 2)))
# The four least like the six before and each other, to normal eyes and to eyes without red or green cones.
MAP_COLOURS = (*PALETTE, "#332288", "#882255", "#999933", "#661100")
WIDTHS = {
    "neurips": 5.5,
    "icml-column": 3.25,
    "icml-page": 6.75,
    "cvpr-column": 3.25,
    "cvpr-page": 6.875,
}
PARTS_OF_A_PAGE = {"column": 3.25, "page": 5.5}
POINTS = 72.27  # of LaTeX in an inch
NARROWEST, WIDEST = 3.0, 40.0


@dataclass(frozen=True)
class Look:
    """Width in inches, text size in points, whether the ground is clear (for a page in light or dark), and the height
    in inches that a figure of many rows may take."""

    width: float
    text: float
    clear: bool = False
    tallest: float = 9.0

    @property
    def line(self) -> float:
        """The width of a line in points."""
        return self.text / 6.5

    @property
    def mark(self) -> float:
        """The size of a marker in points."""
        return self.text / 2

    @property
    def row(self) -> float:
        """The height in inches that one line of text takes in a row of its own."""
        return 1.6 * self.text / 72

    @property
    def flat(self) -> bool:
        """Whether the sheet is wider than high, as a slide is."""
        return self.tallest < self.width

    @property
    def narrow(self) -> bool:
        """Whether two panels do not fit next to each other."""
        return self.width < 56 * self.text / 72 * 0.85


SLIDE = 9 / 16  # height of a slide over its width
STYLES = {"paper": Look(WIDTHS["neurips"], 8), "slides": Look(10, 16, tallest=SLIDE * 10)}
FULL_TEXT = 3.25 / 7  # inches of width a point of text needs; below, the text shrinks with the figure
PAGE = Look(3.72, 8, clear=True, tallest=14)


def look_of(style: str = "paper", width: str | float | None = None) -> Look:
    """The look of a style at a width, see `inches_of`.

    >>> look_of("paper", "icml-column")
    Look(width=3.25, text=7.0, clear=False, tallest=9.0)

    Raises
    ------
    InputError
        For a style or width that does not exist.
    """
    if style not in STYLES:
        raise InputError(f"--style: there is no style {style!r}; choose one of {', '.join(STYLES)}")
    look = STYLES[style]
    if width is None:
        return look
    inches = inches_of(width)
    text = round(look.text * min(1, inches / (FULL_TEXT * look.text)), 2)
    return replace(look, width=inches, text=text, tallest=SLIDE * inches if look.flat else look.tallest)


def inches_of(width: str | float) -> float:
    """A width of a figure or a table in inches: a venue's name, "column", "page", inches, or points as in "240pt".

    >>> inches_of("icml-column"), inches_of("page"), inches_of(4), round(inches_of("240pt"), 2)
    (3.25, 5.5, 4.0, 3.32)

    Raises
    ------
    InputError
        For any other text, or a width under 3 or over 40 inches.
    """
    inches = PARTS_OF_A_PAGE.get(str(width)) or WIDTHS.get(str(width))
    if inches is None:
        text = str(width).strip()
        try:
            inches = float(text.removesuffix("pt")) / (POINTS if text.endswith("pt") else 1)
        except ValueError:
            inches = math.nan
    if not NARROWEST <= inches <= WIDEST:
        known = f"one of {', '.join([*PARTS_OF_A_PAGE, *WIDTHS])}, inches from {NARROWEST:g} to {WIDEST:g}, or 240pt"
        raise InputError(f"--width: {width!r} is no width; give {known}")
    return inches


def colour(place: int) -> str:
    """The colour of the student in this place."""
    return PALETTE[place % len(PALETTE)]


def marker(place: int) -> str:
    """The marker of the student in this place: no two of the first 42 share colour and marker."""
    return MARKERS[place % len(MARKERS)]


def line(place: int) -> Any:
    """The line style of the student in this place."""
    return LINES[place % len(LINES)]


def student_line(place: int) -> dict[str, Any]:
    """A long line of the student in this place: few markers, and not where the other students have theirs."""
    every = (0.03 + 0.023 * (place % len(MARKERS)), 0.2)
    return {"color": colour(place), "linestyle": line(place), "marker": marker(place), "markevery": every}


def styled(look: Look, **more: Any) -> AbstractContextManager[None]:
    """A context in which Matplotlib draws in a look: probe.mplstyle with the look's sizes, our colours and fonts."""
    import matplotlib.style

    ground = "none" if look.clear else "white"
    inked = ("axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "text.color", "xtick.color", "ytick.color")
    ticks = {"major.size": 3.2, "minor.size": 5, "major.width": 12, "minor.width": 16}  # parts of the text size
    sizes = {
        "axes.linewidth": look.text / 12,
        "figure.constrained_layout.h_pad": look.text / 72 / 2.5,
        "figure.constrained_layout.w_pad": look.text / 72 / 2.5,
        "font.size": look.text,
        "grid.linewidth": look.text / 14,
        "lines.linewidth": look.line,
        "lines.markersize": look.mark,
        **{f"{axis}tick.{name}": look.text / part for axis in "xy" for name, part in ticks.items()},
    }
    colours = {
        **dict.fromkeys(inked, INK),
        "grid.color": FAINT,
        "figure.facecolor": ground,
        "savefig.facecolor": ground,
    }
    return matplotlib.style.context(["default", STYLE, sizes | colours | {"font.family": families()} | more])


@lru_cache(maxsize=1)
def families() -> list[str]:
    """Font families in order of preference, only installed ones."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return [FONT, *(name for name in OTHER_SCRIPTS if name in installed)]


@lru_cache(maxsize=1)
def drawable() -> frozenset[int]:
    """Code points that one of the families has a glyph for."""
    from matplotlib.font_manager import findfont, get_font

    return frozenset(point for family in families() for point in get_font(findfont(family)).get_charmap())
