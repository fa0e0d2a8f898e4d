"""Figures as files, with their captions: the same bytes on every run, with no date and no machine in them."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure

from manifold_probe.files import check_folder, write_all
from manifold_probe.report.figures.look import Look, styled
from manifold_probe.report.tables.tex_text import escaped

FORMATS = ("pdf", "svg", "png")
DPI = 300


def contents(figure: Figure, look: Look, format: str, *, text_as_text: bool = False, dpi: int = DPI) -> bytes:
    """The file of a figure in one format."""
    without = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[format]
    more = {"svg.fonttype": "none"} if text_as_text else {}
    out = io.BytesIO()
    with styled(look, **more):
        figure.savefig(out, format=format, dpi=dpi, metadata=without)
    return out.getvalue()


def svg_with_text(figure: Figure, look: Look) -> str:
    """The figure as SVG in which text is text: it can be searched, read aloud and set in the page's font."""
    return contents(figure, look, "svg", text_as_text=True).decode()


def write_figures(figures: dict[str, Figure], folder: str | Path, look: Look) -> list[Path]:
    """Write every figure as PDF, SVG and PNG; all of them or, on an error, none.

    The captions that figures have as their label (`draw` sets it) are written to captions.md and captions.tex.

    Returns
    -------
    list of Path
        The files of the figures.

    Raises
    ------
    InputError
        When the folder cannot be made or written to.
    """
    check_folder(folder, "figures")
    made: dict[Path, str | bytes] = {
        Path(folder) / f"{name}.{format}": contents(figure, look, format)
        for name, figure in figures.items()
        for format in FORMATS
    }
    written = list(made)
    captions = {name: str(figure.get_label()) for name, figure in figures.items() if figure.get_label()}
    if captions:
        made[Path(folder) / "captions.md"] = "\n".join(
            f"![{name}]({name}.png)\n\n**{name}.** {text}\n" for name, text in captions.items()
        )
        made[Path(folder) / "captions.tex"] = "\n".join(_environment(name, text) for name, text in captions.items())
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_all(made)
    return written


def _environment(name: str, text: str) -> str:
    """A figure with its caption in LaTeX."""
    lines = [
        r"\begin{figure}[t]",
        r"\centering",
        rf"\includegraphics{{{name}.pdf}}",
        rf"\caption{{{escaped(text)}}}",
        rf"\label{{fig:{name}}}",
        r"\end{figure}",
    ]
    return "\n".join(lines) + "\n"
