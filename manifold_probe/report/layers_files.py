"""A document of layers as files: a table and a figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manifold_probe.errors import InputError
from manifold_probe.files import check_file, check_folder, write_whole
from manifold_probe.report.layers import layers_table, read_layers

__all__ = ["LayersOutputs", "read_layers"]


@dataclass(frozen=True)
class LayersOutputs:
    """A table and a folder for the figure, each where asked for."""

    table: str | None = None
    figures: str | None = None
    style: str = "paper"
    width: str | None = None
    figures_option: str = "--figures"

    def check(self) -> None:
        """Refuse what cannot be written, before any work. Raises InputError naming the option."""
        from manifold_probe.report.figures.look import look_of

        look_of(self.style, self.width)
        if self.figures is not None:
            check_folder(self.figures, self.figures_option)
        if self.table is not None:
            check_file(self.table, "--table")
            if not self.table.lower().endswith(".csv"):
                raise InputError(f"--table: {self.table}: the layers' table is written as .csv; name it so")

    def write(self, document: dict[str, Any]) -> list[str]:
        """Write them; a line about each."""
        if self.table is not None:
            write_whole(self.table, layers_table(document))
        if self.figures is not None:
            from manifold_probe.report.figures.layers import draw
            from manifold_probe.report.figures.look import look_of
            from manifold_probe.report.figures.save import write_figures

            look = look_of(self.style, self.width)
            write_figures({"layers": draw(document, look)}, self.figures, look)
        return [f"wrote {path}" for path in (self.table, self.figures) if path is not None]
