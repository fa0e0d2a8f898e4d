"""Saved results read and checked, and what every report takes from their documents (see `report.records`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from manifold_probe.errors import InputError
from manifold_probe.report import records
from manifold_probe.report.records import Reading, Record
from manifold_probe.report.typed import mismatch

ONE = "manifold-probe/comparison/1"
SEVERAL = "manifold-probe/comparisons/1"
DIAGNOSIS = "manifold-probe/diagnosis/2"
EVALUATION = "manifold-probe/evaluation/1"
EVALUATIONS = "manifold-probe/evaluations/1"
MIGRATION = "manifold-probe/migration/1"
LAYERS = "manifold-probe/layers/1"
KINDS: dict[str, tuple[type[Record], str]] = {  # what a schema's documents hold, and how such a file is written again
    ONE: (records.ComparisonDocument, "write the file again with --json"),
    SEVERAL: (records.ComparisonsDocument, "write the file again with --json"),
    DIAGNOSIS: (records.DiagnosisDocument, "write the file again with probe diagnose --json"),
    EVALUATION: (records.EvaluationDocument, "write the file again with probe evaluate --json"),
    EVALUATIONS: (records.EvaluationsDocument, "write the file again with probe evaluate --json"),
    MIGRATION: (records.MigrationDocument, "write the file again with probe migrate --json"),
    LAYERS: (records.LayersDocument, "compare with --layers --json again"),
}
COMPARISONS = (ONE, SEVERAL)
OF_COMPARISON = ("measures", "inputs", "pairing", "settings", "provenance")  # what its diagnosis shares with it


def read_document(path: str | Path) -> dict[str, Any]:
    """A saved comparison, checked.

    Raises
    ------
    InputError
        When the file is not a comparison that this version reads.
    """
    document = read_result(path)
    if document["schema"] not in COMPARISONS:
        kind = document["schema"].split("/")[1]
        fix = f"that is {'an' if kind[0] in 'aeiou' else 'a'} {kind}; give what probe compare --json wrote"
        raise InputError(f"{path}: schema is {document['schema']!r}, not {ONE!r} or {SEVERAL!r}; {fix}")
    return document


def read_result(path: str | Path) -> dict[str, Any]:
    """The document of a saved result, checked; a diagnosis of the first version in today's form.

    Raises
    ------
    InputError
        When the file cannot be read, is not a result that this version reads, or is damaged.
    """
    from manifold_probe.report.diagnosis.upgrade import FIRST_SCHEMA, FirstDocument, upgraded

    document = _json_in(path)
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema == FIRST_SCHEMA:
        _check(document, FirstDocument, KINDS[DIAGNOSIS][1], path)
        document, schema = upgraded(document), DIAGNOSIS
    if isinstance(schema, str) and schema in KINDS:
        _check(document, *KINDS[schema], path)
        return document
    if isinstance(schema, str) and schema.startswith("manifold-probe/"):
        fix = "write it again with this version, or use the one that wrote the file"
        raise InputError(f"{path}: schema is {schema!r}, which this version does not read; {fix}")
    found = "has no schema" if schema is None else f"schema is {schema!r}, not {ONE!r} or another of ours"
    raise InputError(f"{path}: {found}; give a saved result")


def _json_in(path: str | Path) -> Any:
    """What a JSON file holds, strictly. Raises InputError."""
    try:
        return json.loads(Path(path).read_bytes(), parse_constant=_refuse_constant)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a saved result") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); give a file written by --json or save()") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}")


def _check(document: dict[str, Any], kind: type[Record], fix: str, path: str | Path) -> None:
    if wrong := mismatch(document, kind):
        raise InputError(f"{path}: {wrong}; {fix}")


def to_json(document: dict[str, Any]) -> str:
    """One line of strict JSON."""
    return json.dumps(document, allow_nan=False, separators=(", ", ": "))


def readings(document: dict[str, Any]) -> dict[str, Reading]:
    """The measures of one student's document as records."""
    return {key: Reading.from_json(measure) for key, measure in document["measures"].items()}


def students_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{name: comparison document}, for one student as for several.

    >>> list(students_of({"schema": ONE, "inputs": {"student": {"name": "s"}}}))
    ['s']
    """
    if document["schema"] == SEVERAL:
        return document["students"]
    return {document["inputs"]["student"]["name"]: document}


def of_comparison(comparison: dict[str, Any]) -> dict[str, Any] | None:
    """The diagnosis within one student's comparison as a document by itself; None where there is none."""
    diagnosis = comparison.get("diagnosis")
    if diagnosis is None:
        return None
    return {"schema": DIAGNOSIS, **diagnosis, **{name: comparison[name] for name in OF_COMPARISON}}


def classes_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The classes of one student whose overlap is known, as `records.OfClass` has them."""
    return [row for row in document["details"].get("per_class") or [] if row.get("overlap") is not None]


def class_word(document: dict[str, Any]) -> str:
    """What a class is called: "cluster" where k-means of the teacher stands in for labels."""
    return "cluster" if document["settings"].get("classes") == "k-means" else "class"
