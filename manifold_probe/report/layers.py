"""Two models layer by layer: CKA of every two layers as blocks, table and figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifold_probe.measures.catalogue import DEBIASED_CKA, LINEAR_CKA
from manifold_probe.report.blocks import Block, Row, Section, Sentence, Table, Value
from manifold_probe.report.result import Result
from manifold_probe.report.words import number, paired_rows, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from manifold_probe.report.figures.look import Look

LONGEST = 24  # characters of a layer's name
LEGEND = "*: best match of the teacher's layer; -: undefined (a constant layer, or fewer than four rows)."


class Layers(Result):
    """CKA of two models layer by layer."""

    columns = ("teacher", "student", LINEAR_CKA.key, DEBIASED_CKA.key)
    called = "a comparison of layers"

    def _draw(self, look: Look) -> dict[str, Figure]:
        from manifold_probe.report.figures.layers import draw

        return {"layers": draw(self._document, look)}

    def _tidy_rows(self) -> list[dict[str, Any]]:
        """A row for every two layers; None where CKA is undefined."""
        return [
            {"teacher": teacher, "student": student, **{key: self._document[key][i][j] for key in self.columns[2:]}}
            for i, teacher in enumerate(self._document["teacher"])
            for j, student in enumerate(self._document["student"])
        ]

    def _blocks(self) -> list[Block]:
        """The matrix of debiased CKA, the best match of each teacher layer marked."""
        document = self._document
        sizes = " and ".join(
            f"{len(document[side])} of the {side} {shown(document['inputs'][side]['name'])}"
            for side in ("teacher", "student")
        )
        rows = []
        for layer, values in zip(document["teacher"], document[DEBIASED_CKA.key], strict=True):
            best = max(
                (place for place, value in enumerate(values) if value is not None), key=values.__getitem__, default=None
            )
            cells = (Value(number(value), best=place == best) for place, value in enumerate(values))
            rows.append(Row((shown(layer, LONGEST), *cells)))
        header = ("teacher \\ student", *(shown(layer, LONGEST) for layer in document["student"]))
        return [
            Sentence(f"Debiased linear CKA of layers: {sizes}.", "strong"),
            Sentence(f"{paired_rows({**document['pairing'], 'rows': document['n']})}."),
            Section("", [Table(header, rows), Sentence(LEGEND, "faint")]),
        ]
