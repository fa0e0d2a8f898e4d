"""The results of a comparison, and how a saved result is read again.

A result is its JSON document (see ``manifold_probe.report.document``) with a few ways to look at it, so that one loaded
from a file answers the same questions as one just measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from manifold_probe.errors import InputError
from manifold_probe.report import document as documents
from manifold_probe.report.diagnosis.result import Diagnosis
from manifold_probe.report.document import Reading
from manifold_probe.report.result import Result
from manifold_probe.spaces.space import Space


class Comparison(Result):
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
        from manifold_probe.report.diagnosis.document import of_comparison

        document = of_comparison(self.to_dict())
        return None if document is None else Diagnosis(document)

    def __repr__(self) -> str:
        from manifold_probe.report.verdict import verdict

        return f"<Comparison: {verdict(self._document)}>"


class Comparisons(Result, Mapping[str, Comparison]):
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

    def __getitem__(self, name: str) -> Comparison:
        return Comparison(self._document["students"][name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._document["students"])

    def __len__(self) -> int:
        return len(self._document["students"])

    @property
    def differences(self) -> list[dict[str, Any]]:
        """Paired differences a - b of every measure: ``{"measure", "a", "b", "value", "low", "high"}`` each."""
        return self._document["differences"]

    def __repr__(self) -> str:
        return f"<Comparisons of {', '.join(self)}>"


def load(path: str | Path) -> Comparison | Comparisons | Diagnosis | Space:
    """A saved result (.json) as `Comparison`, `Comparisons` or `Diagnosis`, or a file of features as a `Space`.

    Raises
    ------
    InputError
        When the file is neither, or damaged.
    """
    if not isinstance(path, str | Path):
        raise InputError(f"load: a {type(path).__name__} is no path; give the path of a saved result or of features")
    if Path(path).suffix.lower() == ".json":
        from manifold_probe.report.diagnosis.document import read_diagnosis

        diagnosis = read_diagnosis(path)
        if diagnosis is not None:
            return Diagnosis(diagnosis)
        return of_document(documents.read_document(path))
    from manifold_probe.spaces.read import read

    return read(str(path))


def of_document(document: dict[str, Any]) -> Comparison | Comparisons:
    """The result that a JSON document is."""
    return Comparisons(document) if document["schema"] == documents.SEVERAL else Comparison(document)
