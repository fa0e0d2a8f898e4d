"""Figures as bytes: the same on every run, with no date and no machine in them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.figure import Figure

from manifold_probe.files import check_folder, write_all
from manifold_probe.report.figures.look import Look, settings

FORMATS = ("pdf", "svg", "png")
DPI = 300


def contents(figure: Figure, look: Look, format: str, *, text_as_text: bool = False) -> bytes:
    """The file of a figure in one format."""
    without = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[format]
    more: dict[str, Any] = {"svg.fonttype": "none"} if text_as_text else {}
    out = io.BytesIO()
    with matplotlib.style.context(["default", settings(look) | more]):
        figure.savefig(out, format=format, dpi=DPI, metadata=without)
    return out.getvalue()


def svg_with_text(figure: Figure, look: Look) -> str:
    """The figure as SVG in which text is text: it can be searched, read aloud and set in the page's own font."""
    return contents(figure, look, "svg", text_as_text=True).decode()


def write_figures(figures: dict[str, Figure], folder: str | Path, look: Look) -> list[Path]:
    """Write every figure as PDF, SVG and PNG; all of them or, on an error, none.

    Raises
    ------
    InputError
        When the folder cannot be made or written to.
    """
    check_folder(folder, "figures")
    made = {
        Path(folder) / f"{name}.{format}": contents(figure, look, format)
        for name, figure in figures.items()
        for format in FORMATS
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_all(made)
    return list(made)
