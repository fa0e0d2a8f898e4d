"""A result: a JSON document and the ways to show and save it, the same for every kind of result."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from manifold_probe.errors import InputError
from manifold_probe.files import write_whole
from manifold_probe.parts import silent
from manifold_probe.report.blocks import Block
from manifold_probe.report.document import to_json
from manifold_probe.report.frame import COLUMNS, tidy_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.text import Text

    from manifold_probe.report.figures.look import Look


class Result:
    """A document with the ways to show and save it; a kind of result says what its blocks, rows and figures are."""

    tables: ClassVar[tuple[str, ...]] = (".csv", ".parquet", ".md")
    columns: ClassVar[tuple[str, ...]] = ()  # of the tidy rows
    called: ClassVar[str] = "a result"

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def to_dict(self) -> dict[str, Any]:
        """A copy of the JSON document; undefined values are None."""
        return copy.deepcopy(self._document)

    def to_json(self) -> str:
        """The JSON document as one line of strict JSON."""
        return to_json(self._document)

    def to_frame(self) -> Any:
        """A tidy pandas DataFrame: a row for every number."""
        import pandas as pd

        return pd.DataFrame(self._tidy_rows(), columns=list(self.columns))

    def summary(self) -> str:
        """The report of the terminal as plain text, nothing wrapped."""
        return "".join(line.plain.rstrip() + "\n" for line in self.lines())

    def lines(self, width: int | None = None) -> list[Text]:
        """The report of a terminal of this width as styled lines; nothing is wrapped without a width."""
        from manifold_probe.report.render.terminal import lines

        return lines(self._blocks(), width)

    def save(self, path: str | Path) -> None:
        """Write the JSON document, whole or not at all; ``load(path)`` reads it again.

        Raises
        ------
        InputError
            When the place cannot be written to.
        """
        write_whole(path, self.to_json() + "\n")

    def to_table(self, path: str | Path, *, width: str | float | None = None) -> None:
        """Write a table, by suffix: .csv and .parquet tidy for machines, .md to be read; no ``width`` is needed.

        Raises
        ------
        InputError
            For another suffix, or when the place cannot be written to.
        """
        self.check_table(path)
        write_whole(path, self._table(Path(path).suffix.lower()))

    @classmethod
    def check_table(cls, path: str | Path, option: str = "table") -> None:
        """Refuse a name that says none of the kinds of table. Raises InputError naming the option."""
        if Path(path).suffix.lower() not in cls.tables:
            *others, last = cls.tables
            kinds = f"{', '.join(others)} or {last}" if others else last
            raise InputError(f"{option}: {path}: {cls.called} is written as {kinds}; choose such a name")

    def to_html(self, path: str | Path, thumbnails: Any = None, *, notify: Callable[[str], None] | None = None) -> None:
        """Write the report as one page that needs no network.

        ``thumbnails`` is data as for ``mp.extract``: the page of a comparison then shows the rows' images or texts, and
        ``notify`` is called with one sentence where rows have none.

        Raises
        ------
        InputError
            When the place cannot be written to, or the data cannot be read.
        """
        write_whole(path, self._page(thumbnails, notify or silent))

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

    def _repr_html_(self) -> str:
        from manifold_probe.report.render.html import html

        return f"<div>{html(self._blocks())}</div>"

    def _blocks(self) -> list[Block]:
        """The report."""
        raise NotImplementedError

    def _tidy_rows(self) -> list[dict[str, Any]]:
        """The rows of `to_frame`, all with the ``columns``."""
        raise NotImplementedError

    def _table(self, suffix: str) -> str | bytes:
        """The file of a table of one of the kinds in ``tables``."""
        from manifold_probe.report.render.markdown import markdown
        from manifold_probe.report.tables.write import columns_as

        if suffix == ".md":
            return markdown(self._blocks())
        rows = self._tidy_rows()
        return columns_as(suffix, {name: [row[name] for row in rows] for name in self.columns})

    def _page(self, thumbnails: Any, notify: Callable[[str], None]) -> str:
        """The page, by default of the blocks."""
        from manifold_probe.report.page.blocks import render_blocks

        return render_blocks(self.called.partition(" ")[2].capitalize(), self._blocks(), self._document)

    def _draw(self, look: Look) -> dict[str, Figure]:
        raise InputError(f"figures: {self.called} has none; write its page or its table")


class ComparisonResult(Result):
    """A comparison of one or of several students."""

    tables = (".csv", ".parquet", ".tex", ".md")
    columns = COLUMNS
    called = "a comparison"

    def to_frame(self) -> Any:
        """A tidy pandas DataFrame: a row for every measure, k, metric and class."""
        import pandas as pd

        frame = super().to_frame().astype({"k": "Int64", "n": "Int64"})
        # pandas makes integers floats
        frame["class"] = pd.Series([row["class"] for row in self._tidy_rows()], dtype=object)
        return frame

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

    def _blocks(self) -> list[Block]:
        from manifold_probe.report.comparison import comparison_blocks

        return comparison_blocks(self._document)

    def _tidy_rows(self) -> list[dict[str, Any]]:
        return tidy_rows(self._document)

    def _page(self, thumbnails: Any, notify: Callable[[str], None]) -> str:
        from manifold_probe.report.page import render

        return render(self._document, thumbnails, notify)

    def _draw(self, look: Look) -> dict[str, Figure]:
        from manifold_probe.report.figures import draw

        return draw(self._document, look)
