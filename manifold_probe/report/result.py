"""A result: a JSON document and the ways to show and save it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from manifold_probe.errors import InputError
from manifold_probe.report.blocks import Block
from manifold_probe.report.document import to_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from manifold_probe.report.figures.look import Look


class Result:
    """A document, with the ways to show and save it that a comparison of one or of several students has."""

    tables: ClassVar[tuple[str, ...]] = (".csv", ".parquet", ".tex", ".md")
    called: ClassVar[str] = "a comparison"

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def to_dict(self) -> dict[str, Any]:
        """A copy of the JSON document; undefined values are None."""
        return copy.deepcopy(self._document)

    def to_json(self) -> str:
        """The JSON document as one line of strict JSON."""
        return to_json(self._document)

    def to_frame(self) -> Any:
        """A tidy pandas DataFrame: a row for every measure, k, metric and class."""
        import pandas as pd

        from manifold_probe.report.frame import COLUMNS, tidy_rows

        rows = tidy_rows(self._document)
        frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"k": "Int64", "n": "Int64"})
        frame["class"] = pd.Series([row["class"] for row in rows], dtype=object)  # pandas makes integers floats
        return frame

    def summary(self) -> str:
        """The report of the terminal as plain text, nothing wrapped."""
        from manifold_probe.report.render.terminal import plain_text

        return plain_text(self._blocks())

    def save(self, path: str | Path) -> None:
        """Write the JSON document, whole or not at all; ``load(path)`` reads it again.

        Raises
        ------
        InputError
            When the place cannot be written to.
        """
        from manifold_probe.files import write_whole

        write_whole(path, self.to_json() + "\n")

    def to_table(self, path: str | Path, *, width: str | float | None = None) -> None:
        """Write a table, by suffix: .csv and .parquet tidy for machines, .md and .tex as a paper prints it.

        ``width``, as for `figures`, is what a .tex table must fit into.

        Raises
        ------
        InputError
            For another suffix, or when the place cannot be written to.
        """
        from manifold_probe.report.tables.write import write_table

        write_table(self._document, path, width)

    @classmethod
    def check_table(cls, path: str | Path, option: str = "table") -> None:
        """Refuse a name that says none of the kinds of table. Raises InputError naming the option."""
        if Path(path).suffix.lower() not in cls.tables:
            *others, last = cls.tables
            kinds = f"{', '.join(others)} or {last}" if others else last
            raise InputError(f"{option}: {path}: {cls.called} is written as {kinds}; choose such a name")

    def to_html(self, path: str | Path, thumbnails: Any = None) -> None:
        """Write the report as one page that needs no network.

        ``thumbnails`` is data as for ``mp.extract``: the page then shows the rows' images or texts.

        Raises
        ------
        InputError
            When the place cannot be written to, or the data cannot be read.
        """
        from manifold_probe.files import write_whole
        from manifold_probe.report.page import render

        write_whole(path, render(self._document, thumbnails=thumbnails))

    def figures(
        self, folder: str | Path | None = None, *, style: str = "paper", width: str | float | None = None
    ) -> Any:
        """The figures: Matplotlib's by name, or, where a folder is given, the PDF, SVG and PNG files written there.

        Parameters
        ----------
        folder : path, optional
            Made if missing.
        style : str
            "paper" or "slides".
        width : str or float, optional
            "neurips", "icml-column", "icml-page", "cvpr-column", "cvpr-page", or inches. By default the style's.

        Returns
        -------
        dict of name -> matplotlib.figure.Figure, or list of Path
            The maps are among them where ``compare(..., maps=True)`` made them.

        Raises
        ------
        InputError
            For a style or width that does not exist, or a folder that cannot be written to.
        """
        from manifold_probe.report.figures.look import look_of
        from manifold_probe.report.figures.save import write_figures

        look = look_of(style, width)
        drawn = self._draw(look)
        return drawn if folder is None else write_figures(drawn, folder, look)

    def _draw(self, look: Look) -> dict[str, Figure]:
        from manifold_probe.report.figures import draw

        return draw(self._document, look)

    def _repr_html_(self) -> str:
        from manifold_probe.report.render.html import html

        return f"<div>{html(self._blocks())}</div>"

    def _blocks(self) -> list[Block]:
        from manifold_probe.report.terminal import report_blocks

        return report_blocks(self._document)
