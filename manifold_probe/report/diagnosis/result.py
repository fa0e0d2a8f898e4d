"""The diagnosis of a pair: its JSON document, and the ways to show and save it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifold_probe.errors import InputError
from manifold_probe.report.blocks import Block
from manifold_probe.report.diagnosis.document import Cause, Part
from manifold_probe.report.document import Reading, readings
from manifold_probe.report.result import Result
from manifold_probe.spaces.pairing import Pair

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from manifold_probe.diagnosis.unaligned import Unaligned
    from manifold_probe.report.figures.look import Look


class Diagnosis(Result):
    """Where a student's loss went, and why: the account of the whole loss, and the causes, what explains most first.

    ``save_repair``, ``rows``, ``save_rows``, ``order`` and ``save_order`` need the features, which a diagnosis that was
    loaded, or made by ``compare``, does not have.
    """

    tables = (".csv", ".parquet", ".md")
    called = "a diagnosis"

    def __init__(
        self,
        document: dict[str, Any],
        pair: Pair | None = None,
        unsound: Any = None,
        unaligned: Unaligned | None = None,
    ) -> None:
        super().__init__(document)
        self._pair, self._unsound, self._unaligned = pair, unsound, unaligned

    def __repr__(self) -> str:
        return f"<Diagnosis: {self.verdict}>"

    @property
    def verdict(self) -> str:
        """One sentence."""
        return self._document["verdict"]

    @property
    def accounting(self) -> list[Part]:
        """The parts of the whole loss of overlap: ``.name``, ``.share``, ``.low``, ``.high``, ``.sentence``. Their
        shares add up to 1 - overlap@k; empty where rows are paired wrongly."""
        return [Part.from_json(each) for each in self._document["accounting"]]

    @property
    def accounting_cka(self) -> list[Part]:
        """The parts of the whole loss of debiased linear CKA."""
        return [Part.from_json(each) for each in self._document["accounting_cka"]]

    @property
    def measures(self) -> dict[str, Reading]:
        """Overlap and CKA of the whole pair, as a comparison measures them."""
        return readings(self._document)

    @property
    def held_out(self) -> dict[str, dict[str, Any]]:
        """The measures on the held-out rows that the account was read on: ``{"value", "low", "high", "n"}`` each."""
        return copy.deepcopy(self._document["held_out"])

    @property
    def causes(self) -> list[Cause]:
        """The causes, ranked: ``.name``, ``.words``, ``.status``, ``.share``, ``.evidence``, ``.repair``, ``.where``,
        ``.advice``, ``.falsified_by``, ``.or_``."""
        return [Cause.from_json(copy.deepcopy(cause)) for cause in self._document["causes"]]

    @property
    def benign(self) -> list[dict[str, Any]]:
        """Differences that lose nothing: ``{"name", "words", "value", "note"}`` each."""
        return self._document["benign"]

    @property
    def ladder(self) -> list[dict[str, Any]]:
        """The held-out steps of the account: ``{"repair", "measures"}`` each, the student as it is first."""
        return self._document["ladder"]

    @property
    def not_assessed(self) -> list[dict[str, str]]:
        """What was not examined: ``{"name", "why"}`` each."""
        return self._document["not_assessed"]

    @property
    def examined(self) -> dict[str, Any]:
        """Which rows were examined, and what was measured in addition to the causes."""
        return self._document["examined"]

    def to_frame(self) -> Any:
        """A tidy pandas DataFrame: a row for every part of the account, number of evidence, repair, and measure of the
        ladder."""
        import pandas as pd

        from manifold_probe.report.diagnosis.frame import COLUMNS, tidy_rows

        return pd.DataFrame(tidy_rows(self._document), columns=list(COLUMNS))

    def to_table(self, path: str | Path, *, width: str | float | None = None) -> None:
        """Write the tidy rows as .csv or .parquet, or the report as .md, to be read; it needs no ``width``.

        Raises
        ------
        InputError
            For another suffix, or when the place cannot be written to.
        """
        from manifold_probe.files import write_whole
        from manifold_probe.report.diagnosis.rows import write_rows
        from manifold_probe.report.render.markdown import markdown

        self.check_table(path)
        if Path(path).suffix.lower() == ".md":
            write_whole(path, markdown(self._blocks()))
            return
        frame = self.to_frame()
        write_rows({name: [None if each != each else each for each in frame[name]] for name in frame}, path)

    def to_html(self, path: str | Path, thumbnails: Any = None) -> None:
        """Write the report as one page that needs no network; it shows no ``thumbnails``.

        Raises
        ------
        InputError
            When the place cannot be written to.
        """
        from manifold_probe.files import write_whole
        from manifold_probe.report.page.diagnosis import render_diagnosis

        write_whole(path, render_diagnosis(self._document))

    def _draw(self, look: Look) -> dict[str, Figure]:
        """The figures "account", "causes" and "ladder"."""
        from manifold_probe.report.figures import draw_diagnosis

        return draw_diagnosis(self._document, look)

    def rows(self, progress: Callable[[str, int, int], None] | None = None) -> Any:
        """A pandas DataFrame with a row for every row of the pair, worst first: ``row``, ``id``, ``label``,
        ``overlap@k``, ``teacher_vote``, ``student_vote``, ``lost_neighbours`` and their ``lost_ranks`` in the student.

        Raises
        ------
        InputError
            For a diagnosis that was loaded.
        """
        import pandas as pd

        return pd.DataFrame(self._rows(progress))

    def save_rows(self, path: str | Path, progress: Callable[[str, int, int], None] | None = None) -> None:
        """Write `rows` as .parquet or, its lists joined by ";", as .csv.

        Raises
        ------
        InputError
            For another suffix, a place that cannot be written to, or a diagnosis that was loaded.
        """
        from manifold_probe.report.diagnosis.rows import check_rows, write_rows

        check_rows(str(path), "rows")
        write_rows(self._rows(progress), path)

    def repair(self) -> Any:
        """The affine `Map` of the student that gains most overlap on rows it was not fitted on, fitted on all.

        Raises
        ------
        InputError
            Where no map gains, or for a diagnosis that was loaded.
        """
        from manifold_probe.diagnosis.proved import proved_map

        settings, inputs = self._document["settings"], self._document["inputs"]
        found = proved_map(self._features(), settings["k"], settings["seed"], self._unsound)
        of = {f"{side}_sha256": str(inputs[side]["sha256"]) for side in ("teacher", "student")}
        return replace(found, facts={**found.facts, **of})

    def save_repair(self, path: str | Path) -> None:
        """Save `repair` as .safetensors, for ``Space.apply`` and ``probe extract --apply``.

        Raises
        ------
        InputError
            As for `repair`, or when the place cannot be written to.
        """
        self.repair().save(path)

    def order(self) -> tuple[Any, Any]:
        """Ids (n,) of the teacher's and the student's rows that pair them in the order that was found.

        They go into ``compare(..., ids=diagnosis.order())``. A row without a partner has the id "unpaired-i" (with
        ``allow_missing=True`` it is left out).

        Raises
        ------
        InputError
            Where no order was found, or for a diagnosis that was loaded.
        """
        self._features()
        if self._unaligned is None or self._unaligned.order is None:
            raise InputError("order: no named order of the rows brings neighbours back; nothing is written")
        return self._unaligned.teacher_ids, self._unaligned.student_ids

    def save_order(self, path: str | Path) -> None:
        """Write `order` as .csv (columns ``teacher`` and ``student``), or the student's ids as .txt, one a line.

        Raises
        ------
        InputError
            As for `order`, for another suffix, or when the place cannot be written to.
        """
        from manifold_probe.report.diagnosis.rows import write_order

        write_order(*self.order(), path)

    def _rows(self, progress: Callable[[str, int, int], None] | None) -> dict[str, Any]:
        from manifold_probe.diagnosis.every_row import row_table

        settings = self._document["settings"]
        return row_table(self._features(), settings["k"], settings["seed"], progress)

    def _features(self) -> Pair:
        if self._pair is None:
            raise InputError(
                "diagnosis: holds no features, as it was loaded or made by compare; diagnose the pair itself"
            )
        return self._pair

    def _blocks(self) -> list[Block]:
        from manifold_probe.report.diagnosis.lines import diagnosis_blocks

        return diagnosis_blocks(self._document)
