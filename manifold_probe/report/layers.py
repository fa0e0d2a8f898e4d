"""Two models layer by layer: a document of CKA values, as blocks and as a table.

Its ``schema`` is `LAYERS`, its fields are those of `LayersDocument`, with each layer's shape and type in ``inputs`` and
``pairing``, ``n`` and ``provenance`` as of a comparison. Rows of a matrix are the teacher's layers; null is undefined.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from manifold_probe.errors import InputError
from manifold_probe.files import write_whole
from manifold_probe.measures.catalogue import DEBIASED_CKA, LINEAR_CKA
from manifold_probe.measures.layer_files import PairedLayers, paired_layers
from manifold_probe.measures.layers import layer_matrix
from manifold_probe.parts import Progress
from manifold_probe.report.blocks import Block, Row, Section, Sentence, Table, Value
from manifold_probe.report.document import Pairing, read_json, rows_digest
from manifold_probe.report.provenance import describe_input, provenance_of
from manifold_probe.report.render.terminal import lines
from manifold_probe.report.result import Result
from manifold_probe.report.tables.write import csv_cell
from manifold_probe.report.typed import Record, mismatch, plain
from manifold_probe.report.words import number, paired_rows, shown
from manifold_probe.spaces.space import Space

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from manifold_probe.report.figures.look import Look

LAYERS = "manifold-probe/layers/1"
SIDES = ("teacher", "student")
LONGEST = 24
LEGEND = "*: best match of the teacher's layer; -: undefined (a constant layer, or fewer than four rows)."


class Side(Record):
    """What was read of one side."""

    name: str


class Sides(Record):
    """Both sides."""

    teacher: Side
    student: Side


class LayersDocument(Record):
    """CKA of every layer of the teacher (rows) with every layer of the student."""

    inputs: Sides
    teacher: list[str]
    student: list[str]
    linear_cka: list[list[float | None]]
    debiased_linear_cka: list[list[float | None]]

    @classmethod
    def inconsistent(cls, thing: dict[str, Any]) -> str | None:
        """A matrix of another shape than the names give."""
        if not (thing["teacher"] and thing["student"]):
            return "a side has no layers"
        for key in (LINEAR_CKA.key, DEBIASED_CKA.key):
            if [len(row) for row in thing[key]] != [len(thing["student"])] * len(thing["teacher"]):
                return f"'{key}' has not a row for every teacher's layer and a number for every student's"
        return None


class Layers(Result):
    """CKA of two models layer by layer."""

    tables = (".csv",)
    called = "the layers' table"

    def to_table(self, path: str | Path, *, width: str | float | None = None) -> None:
        """Write the `layers_table`, a .csv without ``width``.

        Raises
        ------
        InputError
            For another suffix, or when the place cannot be written to.
        """
        self.check_table(path)
        write_whole(path, layers_table(self._document))

    def _draw(self, look: Look) -> dict[str, Figure]:
        from manifold_probe.report.figures.layers import draw

        return {"layers": draw(self._document, look)}

    def _blocks(self) -> list[Block]:
        return layers_blocks(self._document)


def compare_layers(teacher: str, student: str, *, progress: Progress | None = None, **rules: bool) -> dict[str, Any]:
    """The document of every layer of the teacher against every layer of the student, paired by the ``rules`` of
    `paired_layers`. Raises InputError where files, ids or values cannot be used."""
    layers = paired_layers(teacher, student, **rules)
    return layers_document(layers, layer_matrix(layers.teacher, layers.student, progress))


def layers_document(layers: PairedLayers, matrices: dict[str, Any]) -> dict[str, Any]:
    """The document of paired layers and of what `layer_matrix` measured."""
    pair = layers.pair
    pairing = Pairing(
        by=pair.by,
        rows=pair.teacher.n,
        coverage=pair.coverage,
        verified=pair.verified,
        label_conflicts=pair.label_conflicts,
        copies_left_out=pair.copies_left_out or None,
        rows_sha256=rows_digest(pair),
    )
    inputs = {side: _described(read) for side, read in layers.read.items()}
    # nothing is drawn at random, so any seed is the right one
    return plain({"schema": LAYERS, "inputs": inputs, "pairing": pairing, **matrices, "provenance": provenance_of(0)})


def _described(layers: dict[str, Space]) -> dict[str, Any]:
    whole = describe_input(next(iter(layers.values())), None)
    shapes = {name: {"shape": [space.n, space.d], "dtype": space.dtype} for name, space in layers.items()}
    return {**{field: whole[field] for field in ("name", "path", "sha256")}, "layers": shapes}


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
    if wrong := mismatch(document, LayersDocument):
        raise InputError(f"{path}: {wrong}; compare with --layers --json again")
    return document


def layers_blocks(document: dict[str, Any]) -> list[Block]:
    """The matrix of debiased CKA, the best match of each teacher layer marked."""
    sizes = " and ".join(
        f"{len(document[side])} of the {side} {shown(document['inputs'][side]['name'])}" for side in SIDES
    )
    rows = []
    for layer, values in zip(document["teacher"], document[DEBIASED_CKA.key], strict=True):
        best = best_match(values)
        cells = (Value(number(value), best=place == best) for place, value in enumerate(values))
        rows.append(Row((shown(layer, LONGEST), *cells)))
    header = ("teacher \\ student", *(shown(layer, LONGEST) for layer in document["student"]))
    return [
        Sentence(f"Debiased linear CKA of layers: {sizes}.", "strong"),
        Sentence(f"{paired_rows({**document['pairing'], 'rows': document['n']})}."),
        Section("", [Table(header, rows), Sentence(LEGEND, "faint")]),
    ]


def layer_lines(document: dict[str, Any], width: int | None) -> list[Text]:
    """The blocks as styled lines."""
    return lines(layers_blocks(document), width)


def layers_table(document: dict[str, Any]) -> str:
    """The matrix as CSV: teacher, student, linear_cka, debiased_linear_cka; a row a pair, empty where undefined."""
    rows: list[list[Any]] = [["teacher", "student", LINEAR_CKA.key, DEBIASED_CKA.key]]
    for i, teacher in enumerate(document["teacher"]):
        for j, student in enumerate(document["student"]):
            rows.append([teacher, student, document[LINEAR_CKA.key][i][j], document[DEBIASED_CKA.key][i][j]])
    return "".join(",".join(map(csv_cell, row)) + "\n" for row in rows)


def best_match(values: list[float | None]) -> int | None:
    """The place of the highest value, None where there is none.

    >>> best_match([0.1, None, 0.3]), best_match([None])
    (2, None)
    """
    known = [place for place, value in enumerate(values) if value is not None]
    return max(known, key=lambda place: values[place] or 0.0, default=None)
