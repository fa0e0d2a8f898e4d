"""A document of layers as files: read again when it was saved, and written as a table and a figure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifold_probe.errors import InputError
from manifold_probe.files import check_file, check_folder, write_whole
from manifold_probe.measures.catalogue import DEBIASED_CKA, LINEAR_CKA
from manifold_probe.report.document import read_json
from manifold_probe.report.layers import LAYERS, layers_table
from manifold_probe.report.typed import Record, mismatch

Matrix = list[list[float | None]]


class Named(Record):
    """A side."""

    name: str


class BothSides(Record):
    """Both sides."""

    teacher: Named
    student: Named


class LayersDocument(Record):
    """CKA of every layer of the teacher (rows) with every layer of the student."""

    inputs: BothSides
    teacher: list[str]
    student: list[str]
    linear_cka: Matrix
    debiased_linear_cka: Matrix

    @classmethod
    def inconsistent(cls, thing: dict[str, Any]) -> str | None:
        """A matrix of another shape than the names."""
        if not (thing["teacher"] and thing["student"]):
            return "a side has no layers"
        for key in (LINEAR_CKA.key, DEBIASED_CKA.key):
            if [len(row) for row in thing[key]] != [len(thing["student"])] * len(thing["teacher"]):
                return f"'{key}' has not a row for every teacher's layer and a number for every student's"
        return None


def read_layers(path: str | Path) -> dict[str, Any] | None:
    """The document of layers in a file, checked; None where the file holds something else.

    Raises
    ------
    InputError
        When the file cannot be read, or holds layers and is damaged.
    """
    document = read_json(path)
    if not isinstance(document, dict) or document.get("schema") != LAYERS:
        return None
    wrong = mismatch(document, LayersDocument)
    if wrong is not None:
        raise InputError(f"{path}: {wrong}; compare with --layers --json again")
    return document


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
