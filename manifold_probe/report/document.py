"""The JSON document of a comparison: the one form in which a result is kept, saved and shown.

One student gives ``{"schema": "manifold-probe/comparison/1", "inputs", "pairing", "settings", "measures", "details",
"alarms", "provenance"}``; several give ``{"schema": "manifold-probe/comparisons/1", "students": {name: comparison},
"differences": [{"measure", "a", "b", "value", "low", "high"}, ...]}``. A comparison that was diagnosed has one key
more, ``diagnosis`` (`report.diagnosis.form.WITHIN`). Nothing in it is NaN or infinite: what is undefined is null, with
a note.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.measures.results import Measured, Measurement
from manifold_probe.report.diagnosis.form import problem_within
from manifold_probe.report.schema import DIFFERENCE, mismatch, problem
from manifold_probe.spaces.labels import plain_labels
from manifold_probe.spaces.pairing import Pair

ONE = "manifold-probe/comparison/1"
SEVERAL = "manifold-probe/comparisons/1"
FAMILY = "manifold-probe/"


@dataclass(frozen=True)
class Reading:
    """One measure as the document holds it; ``value`` None means undefined, and ``note`` says why."""

    value: float | None
    low: float | None
    high: float | None
    confidence: float | None
    chance: float | None
    class_chance: float | None
    reference: float | None
    n: int | None
    metric: str | None
    note: str | None
    quantiles: dict[str, float] | None = None


def comparison_document(
    pair: Pair, measurement: Measurement, inputs: dict[str, Any], settings: dict[str, Any], provenance: dict[str, Any]
) -> dict[str, Any]:
    """The document of one student."""
    document = {
        "schema": ONE,
        "inputs": inputs,
        "pairing": pairing_of(pair),
        "settings": {**settings, "classes": measurement.class_source},
        "measures": {key: _fields(measure) for key, measure in measurement.measures.items()},
        "details": measurement.details,
        "alarms": [{"code": alarm.code, "message": alarm.message} for alarm in measurement.alarms],
        "provenance": provenance,
    }
    return plain(document)


def pairing_of(pair: Pair) -> dict[str, Any]:
    """How the rows were paired, and which they are."""
    return {
        "by": pair.by,
        "rows": pair.teacher.n,
        "coverage": pair.coverage,
        "verified": pair.verified,
        "label_conflicts": pair.label_conflicts,
        "labels_recoded": pair.recoded,
        "unlabelled": pair.unlabelled,
        **left_out(pair),
        "rows_sha256": rows_digest(pair),
    }


def left_out(pair: Pair) -> dict[str, int]:
    """How many identical copies under one id were left out, where any were."""
    return {"copies_left_out": pair.copies_left_out} if pair.copies_left_out else {}


def rows_digest(pair: Pair) -> str:
    """Which rows were paired, in their order: of the ids, or of the count where there are none, and of the labels."""
    labels = None if pair.labels is None else plain_labels(np.asarray(pair.labels))
    digest = hashlib.sha256(str(pair.teacher.n).encode())
    for column in (None if pair.ids is None else np.asarray(pair.ids).tolist(), labels):
        digest.update(json.dumps(column).encode())
    return digest.hexdigest()


def comparisons_document(
    students: Mapping[str, dict[str, Any]], measurements: Mapping[str, Measurement]
) -> dict[str, Any]:
    """The document of several students, with the paired difference of every measure for every two of them."""
    differences = []
    for a, b in combinations(measurements, 2):
        theirs = measurements[b].measures
        for key, measure in measurements[a].measures.items():
            if key in theirs:
                gap = measure.estimate.minus(theirs[key].estimate)
                row = {"measure": key, "a": a, "b": b, "value": gap.value, "low": gap.low, "high": gap.high}
                differences.append(row)
    return plain({"schema": SEVERAL, "students": dict(students), "differences": differences})


def readings(document: dict[str, Any]) -> dict[str, Reading]:
    """The measures of one student's document as objects."""
    names = [part.name for part in fields(Reading)]
    return {
        key: Reading(**{name: measure.get(name) for name in names}) for key, measure in document["measures"].items()
    }


def students_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{name: comparison document}, for one student as for several.

    >>> list(students_of({"schema": ONE, "inputs": {"student": {"name": "s"}}}))
    ['s']
    """
    if document["schema"] == SEVERAL:
        return document["students"]
    return {document["inputs"]["student"]["name"]: document}


def plain(thing: Any) -> Any:
    """The same with numpy scalars and arrays as Python's own, and what is not finite as None.

    >>> plain({"a": (1, float("nan"))})
    {'a': [1, None]}
    """
    if isinstance(thing, dict):
        return {str(key): plain(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [plain(value) for value in thing]
    if isinstance(thing, float):
        return float(thing) if math.isfinite(thing) else None
    if thing is None or type(thing) in (str, int, bool):
        return thing
    if hasattr(thing, "tolist"):
        return plain(thing.tolist())
    return str(thing)


def to_json(document: dict[str, Any]) -> str:
    """One line of strict JSON."""
    return json.dumps(document, allow_nan=False, separators=(", ", ": "))


def read_document(path: str | Path) -> dict[str, Any]:
    """A saved document, checked.

    Raises
    ------
    InputError
        When the file is not a result that this version reads.
    """
    document = read_json(path)
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema == ONE:
        _check_one(document, str(path))
    elif schema == SEVERAL:
        students = document.get("students")
        if not isinstance(students, dict) or not students:
            raise InputError(f"{path}: 'students' is missing or empty; write the file again with --json")
        wrong = mismatch(document, {"differences": [DIFFERENCE]})
        if wrong is not None:
            raise InputError(f"{path}: {wrong}; write the file again with --json")
        for name, student in students.items():
            _check_one(student, f"{path}: student {name!r}")
    elif isinstance(schema, str) and schema.startswith(FAMILY):
        mend = "compare again with this version, or use the one that wrote the file"
        if str(schema).startswith("manifold-probe/diagnosis"):
            mend = "that is a diagnosis; give what probe compare --json wrote"
        raise InputError(f"{path}: schema is {schema!r}, which this version does not read ({ONE!r}); {mend}")
    else:
        raise InputError(f"{path}: schema is {schema!r}, not {ONE!r} or {SEVERAL!r}; give a saved comparison")
    return document


def read_json(path: str | Path) -> Any:
    """What a JSON file holds, strictly.

    Raises
    ------
    InputError
        When the file cannot be read, is no JSON, or holds NaN or infinity.
    """
    try:
        return json.loads(Path(path).read_bytes(), parse_constant=_refuse_constant)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a saved comparison") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); give a file written by --json or save()") from error


def _fields(measure: Measured) -> dict[str, Any]:
    names = ("value", "low", "high", "confidence", "chance", "class_chance", "reference", "n", "metric", "note")
    extra = {"quantiles": measure.quantiles, "declared": measure.declared}
    return {name: getattr(measure, name) for name in names} | {k: each for k, each in extra.items() if each is not None}


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}")


def _check_one(document: Any, where: str) -> None:
    mend = "write the file again with --json"
    if not isinstance(document, dict) or document.get("schema") != ONE:
        raise InputError(f"{where}: not a comparison of schema {ONE!r}; {mend}")
    wrong = problem(document) or problem_within(document)
    if wrong is not None:
        raise InputError(f"{where}: {wrong}; {mend}")
