"""How figures look: their width, the size of their text, and colours that hold in print, in grey and for every eye.

Widths are those that the venues' style files set. Colours are Okabe and Ito's; students also differ in marker and line,
so that a figure printed in grey still tells them apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from manifold_probe.errors import InputError
from manifold_probe.report.figures.fonts import families

INK = "#1b1b1b"
GREY = "#757575"
FAINT = "#d9d9d9"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "p")
LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (8, 2)))
MAP_COLOURS = (*PALETTE, "#6a3d9a", "#a6761d", "#444444", "#b8b800")
WIDTHS = {
    "neurips": 5.5,
    "icml-column": 3.25,
    "icml-page": 6.75,
    "cvpr-column": 3.25,
    "cvpr-page": 6.875,
}
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
        """Whether two panels do not fit beside each other."""
        return self.width < 56 * self.text / 72 * 0.85


SLIDE = 9 / 16  # height of a slide over its width
STYLES = {"paper": Look(WIDTHS["neurips"], 8), "slides": Look(10, 16, tallest=SLIDE * 10)}
FULL_TEXT = 3.25 / 7  # inches of width a point of text needs; below, the text shrinks with the figure
PAGE = Look(3.72, 8, clear=True, tallest=14)


def look_of(style: str = "paper", width: str | float | None = None) -> Look:
    """The look of a style at a width: a venue's name or a number of inches.

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
    inches = WIDTHS.get(str(width))
    if inches is None:
        try:
            inches = float(width)
        except ValueError:
            inches = math.nan
        if not NARROWEST <= inches <= WIDEST:
            known = f"one of {', '.join(WIDTHS)}, or inches from {NARROWEST:g} to {WIDEST:g}"
            raise InputError(f"--width: {width!r} is no width; give {known}")
    text = round(look.text * min(1, inches / (FULL_TEXT * look.text)), 2)
    return replace(look, width=inches, text=text, tallest=SLIDE * inches if look.flat else look.tallest)


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


def settings(look: Look) -> dict[str, Any]:
    """Matplotlib's settings for a look; text is never read as mathematics, and fonts are embedded whole (type 42)."""
    return {
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.labelsize": look.text,
        "axes.linewidth": look.text / 12,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": look.text,
        "axes.titleweight": "bold",
        "axes.titlecolor": INK,
        "axes.axisbelow": True,
        "figure.facecolor": "none" if look.clear else "white",
        "axes.facecolor": "none",
        "savefig.facecolor": "none" if look.clear else "white",
        "figure.constrained_layout.h_pad": look.text / 72 / 2.5,
        "figure.constrained_layout.w_pad": look.text / 72 / 2.5,
        "font.family": families(),
        "font.size": look.text,
        "grid.color": FAINT,
        "grid.linewidth": look.text / 14,
        "legend.borderaxespad": 0.2,
        "legend.columnspacing": 1.4,
        "legend.fontsize": look.text,
        "legend.frameon": False,
        "legend.handletextpad": 0.5,
        "lines.linewidth": look.line,
        "lines.markersize": look.mark,
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
        "svg.fonttype": "path",
        "svg.hashsalt": "manifold_probe",
        "text.color": INK,
        "text.parse_math": False,
        "xtick.color": INK,
        "xtick.labelsize": look.text,
        "xtick.major.size": look.text / 3.2,
        "xtick.minor.size": look.text / 5,
        "xtick.major.width": look.text / 12,
        "xtick.minor.width": look.text / 16,
        "ytick.color": INK,
        "ytick.labelsize": look.text,
        "ytick.major.size": look.text / 3.2,
        "ytick.minor.size": look.text / 5,
        "ytick.major.width": look.text / 12,
        "ytick.minor.width": look.text / 16,
    }
