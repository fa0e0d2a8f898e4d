"""The results of the verbs, and how a saved result is read again.

A result is its JSON document (see ``manifold_probe.report.document``) with a few ways to look at it, so that one loaded
from a file answers the same questions as one just measured.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from manifold_probe.errors import InputError
from manifold_probe.files import write_whole
from manifold_probe.report import document as documents
from manifold_probe.report.blocks import Block
from manifold_probe.report.frame import OF_DIAGNOSIS, diagnosis_rows
from manifold_probe.report.layers import Layers
from manifold_probe.report.migration import Migration
from manifold_probe.report.records import Cause, Part, Reading
from manifold_probe.report.result import ComparisonResult, Result
from manifold_probe.spaces.pairing import Pair
from manifold_probe.spaces.space import Space

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from manifold_probe.diagnosis.unaligned import Unaligned
    from manifold_probe.report.figures.look import Look

One = TypeVar("One", bound=Result)


class ByStudent(Mapping[str, One]):
    """A result of several students as a mapping from name to the result of each; ``one`` is the class of these."""

    one: ClassVar[type[Any]]
    _document: dict[str, Any]

    def __getitem__(self, name: str) -> One:
        result: One = self.one(self._document["students"][name])
        return result

    def __iter__(self) -> Iterator[str]:
        return iter(self._document["students"])

    def __len__(self) -> int:
        return len(self._document["students"])

    @property
    def differences(self) -> list[dict[str, Any]]:
        """Paired differences a - b of every measure or task: ``{"a", "b", "value", "low", "high"}`` each, with the key
        "measure" or "task"."""
        return self._document["differences"]


class Comparison(ComparisonResult):
    """How faithfully one student kept its teacher's manifold.

    Examples
    --------
    >>> import numpy as np
    >>> import manifold_probe as mp
    >>> teacher = np.random.default_rng(0).normal(size=(200, 8))
    >>> comparison = mp.compare(teacher, teacher + 0.1, k=5)
    >>> comparison.measures["debiased_linear_cka"].value > 0.999
    True
    """

    @property
    def measures(self) -> dict[str, Reading]:
        """Measures by key, such as ``measures["overlap@10"].value``; also ``.low``, ``.high``, ``.chance``,
        ``.class_chance``, ``.reference``, ``.n``, ``.metric``, ``.note``."""
        return documents.readings(self._document)

    @property
    def details(self) -> dict[str, Any]:
        """What figures are drawn from: ``overlap_by_k``, ``spectra``, ``per_class``, ``worst_rows`` and others,
        with ``maps`` where they were asked for."""
        return self._document["details"]

    @property
    def alarms(self) -> list[dict[str, str]]:
        """What in the data would mislead a reader: ``{"code", "message"}`` each."""
        return self._document["alarms"]

    @property
    def inputs(self) -> dict[str, Any]:
        """Name, path, sha256, shape, dtype and key of ``teacher`` and ``student``."""
        return self._document["inputs"]

    @property
    def pairing(self) -> dict[str, Any]:
        """How the rows were paired: ``by``, ``rows``, ``coverage``, ``verified``."""
        return self._document["pairing"]

    @property
    def diagnosis(self) -> Diagnosis | None:
        """Where the loss went and why, with ``compare(..., diagnose=True)``; else None."""
        document = documents.of_comparison(self.to_dict())
        return None if document is None else Diagnosis(document)

    def __repr__(self) -> str:
        from manifold_probe.report.verdict import verdict

        return f"<Comparison: {verdict(self._document)}>"


class Comparisons(ByStudent[Comparison], ComparisonResult):
    """Several students of one teacher: a mapping from name to `Comparison`, and the paired differences.

    Examples
    --------
    >>> import numpy as np
    >>> import manifold_probe as mp
    >>> rng = np.random.default_rng(0)
    >>> teacher = rng.normal(size=(200, 8))
    >>> both = mp.compare(teacher, {"near": teacher + 0.1, "far": rng.normal(size=(200, 8))}, k=5)
    >>> both["near"].measures["overlap@5"].value > both["far"].measures["overlap@5"].value
    True
    >>> [row["low"] > 0 for row in both.differences if row["measure"] == "overlap@5"]
    [True]
    """

    one = Comparison

    def __repr__(self) -> str:
        return f"<Comparisons of {', '.join(self)}>"


class Diagnosis(Result):
    """Where a student's loss went, and why: the account of the whole loss, and the causes, what explains most first.

    ``save_repair``, ``rows``, ``save_rows``, ``order`` and ``save_order`` need the features, which a diagnosis that was
    loaded, or made by ``compare``, does not have.
    """

    columns = OF_DIAGNOSIS
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
        return [Part.from_json(one) for one in self._document["accounting"]]

    @property
    def accounting_cka(self) -> list[Part]:
        """The parts of the whole loss of debiased linear CKA."""
        return [Part.from_json(one) for one in self._document["accounting_cka"]]

    @property
    def measures(self) -> dict[str, Reading]:
        """Overlap and CKA of the whole pair, as a comparison measures them."""
        return documents.readings(self._document)

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

    def _draw(self, look: Look) -> dict[str, Figure]:
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
        from manifold_probe.report.tables.write import columns_as

        check_rows(path, "rows")
        write_whole(path, columns_as(Path(path).suffix.lower(), self._rows(progress)))

    def repair(self) -> Any:
        """The affine `Map` of the student that gains most overlap on rows it was not fitted on, fitted on all.

        Raises
        ------
        InputError
            Where no map gains, or for a diagnosis that was loaded.
        """
        from manifold_probe.diagnosis.proved import proved_map

        settings, inputs = self._document["settings"], self._document["inputs"]
        repair = proved_map(self._features(), settings["k"], settings["seed"], self._unsound)
        hashes = {f"{side}_sha256": str(inputs[side]["sha256"]) for side in ("teacher", "student")}
        return replace(repair, facts={**repair.facts, **hashes})

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
        check_order(path, "order")
        teacher_ids, lines = self.order()[0].tolist(), self.order()[1].tolist()
        if Path(path).suffix.lower() == ".csv":
            lines = ["teacher,student", *map(",".join, zip(teacher_ids, lines, strict=True))]
        write_whole(path, "".join(f"{line}\n" for line in lines))

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
        from manifold_probe.report.diagnosis.blocks import diagnosis_blocks

        return diagnosis_blocks(self._document)

    def _tidy_rows(self) -> list[dict[str, Any]]:
        """A row for every part of the account, number of evidence, repair, and measure of the ladder."""
        return diagnosis_rows(self._document)

    def _page(self, thumbnails: Any, notify: Callable[[str], None]) -> str:
        from manifold_probe.report.page.diagnosis import render_diagnosis

        return render_diagnosis(self._document)


def check_rows(path: str | Path, option: str = "--rows") -> None:
    """Refuse a name that says neither Parquet nor CSV. Raises InputError naming the option."""
    if Path(path).suffix.lower() not in (".parquet", ".csv"):
        raise InputError(f"{option}: {path}: rows are written as .parquet or .csv; choose such a name")


def check_order(path: str | Path, option: str = "--save-order") -> None:
    """Refuse a name that says neither CSV nor plain text. Raises InputError naming the option."""
    if Path(path).suffix.lower() not in (".csv", ".txt"):
        raise InputError(f"{option}: {path}: orders are written as .csv or .txt; choose such a name")


@dataclass(frozen=True)
class Score:
    """One score of both models, and how far their decisions agree.

    ``fidelity`` has the keys "agreement", "expected" (what the two accuracies alone would give) and "excess", or those
    of retrieval and OOD detection. None is undefined, and ``note`` says why. ``by_severity``, of corruptions, is what
    the score is a mean of. The ends of 95% intervals are None where they are not known.
    """

    teacher: float | None
    student: float | None
    n: int
    note: str | None
    fidelity: dict[str, float | None]
    by_severity: dict[str, Any] = field(default_factory=dict)
    teacher_low: float | None = None
    teacher_high: float | None = None
    student_low: float | None = None
    student_high: float | None = None


class Evaluation(Result):
    """What the features of teacher and student are good for, and whether both err on the same rows.

    Examples
    --------
    >>> import numpy as np
    >>> import manifold_probe as mp
    >>> x, labels = np.random.default_rng(0).normal(size=(80, 4)), np.arange(80) % 2
    >>> x[:, 0] += 16 * labels - 8
    >>> evaluation = mp.evaluate({"features": x, "labels": labels}, x[:, :2], tasks=["knn"])
    >>> evaluation.scores["knn_accuracy@10"].student
    1.0
    """

    columns = ("task", "measure", "value", "low", "high", "n", "note")
    called = "an evaluation"

    @property
    def scores(self) -> dict[str, Score]:
        """The scores by key, such as ``scores["knn_accuracy@10"].student``."""
        tasks, fidelity = copy.deepcopy((self._document["tasks"], self._document["fidelity"]))
        return {key: Score(**task, fidelity=fidelity[key]) for key, task in tasks.items()}

    @property
    def alarms(self) -> list[dict[str, str]]:
        """What in the data would mislead a reader, such as test rows that are also in the bank: {"code", "message"}."""
        return self._document["alarms"]

    def _blocks(self) -> list[Block]:
        from manifold_probe.report.evaluation import evaluation_blocks

        return evaluation_blocks(self._document)

    def _tidy_rows(self) -> list[dict[str, Any]]:
        """The scores of both models for every task, and each number of fidelity."""
        from manifold_probe.report.evaluation import evaluation_rows

        return evaluation_rows(self._document)

    def __repr__(self) -> str:
        return f"<Evaluation: {', '.join(self._document['tasks'])}>"


class Evaluations(ByStudent[Evaluation], Result):
    """Several students of one teacher, judged on the same rows: a mapping from name to `Evaluation`, and the paired
    differences.

    Examples
    --------
    >>> import numpy as np
    >>> import manifold_probe as mp
    >>> x, labels = np.random.default_rng(0).normal(size=(80, 4)), np.arange(80) % 2
    >>> x[:, 0] += 16 * labels - 8
    >>> both = mp.evaluate({"features": x, "labels": labels}, {"first": x[:, :2], "last": x[:, 2:]}, tasks=["knn"])
    >>> both["first"].scores["knn_accuracy@10"].student
    1.0
    >>> both.differences[0]["low"] > 0
    True
    """

    one = Evaluation
    columns = ("student", *Evaluation.columns)
    called = "an evaluation"

    def _blocks(self) -> list[Block]:
        from manifold_probe.report.evaluation import evaluations_blocks

        return evaluations_blocks(self._document)

    def _tidy_rows(self) -> list[dict[str, Any]]:
        from manifold_probe.report.evaluation import evaluation_rows

        students = self._document["students"]
        return [{"student": name, **row} for name, one in students.items() for row in evaluation_rows(one)]

    def __repr__(self) -> str:
        return f"<Evaluations of {', '.join(self)}>"


def load(
    path: str | Path,
) -> Comparison | Comparisons | Diagnosis | Evaluation | Evaluations | Migration | Layers | Space:
    """A saved result (.json) as `Comparison`, `Comparisons`, `Diagnosis`, `Evaluation`, `Evaluations` or `Migration`,
    or a file of features as a `Space`.

    Raises
    ------
    InputError
        When the file is neither, or damaged.
    """
    if not isinstance(path, str | Path):
        raise InputError(f"load: a {type(path).__name__} is no path; give the path of a saved result or of features")
    if Path(path).suffix.lower() == ".json":
        return of_document(documents.read_result(path))
    from manifold_probe.spaces.read import read

    return read(str(path))


RESULTS: dict[str, type[Result]] = {
    documents.ONE: Comparison,
    documents.SEVERAL: Comparisons,
    documents.DIAGNOSIS: Diagnosis,
    documents.EVALUATION: Evaluation,
    documents.EVALUATIONS: Evaluations,
    documents.MIGRATION: Migration,
    documents.LAYERS: Layers,
}


def of_document(document: dict[str, Any]) -> Any:
    """The result that a JSON document is."""
    return RESULTS[document["schema"]](document)
