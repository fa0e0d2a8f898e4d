"""The JSON document of a diagnosis: put together from its parts, and checked when it is read again.

``{"schema": "manifold-probe/diagnosis/2", "verdict", "measures", "accounting", "accounting_cka", "held_out", "causes",
"benign", "ladder", "not_assessed", "examined", "inputs", "pairing", "settings", "provenance"}``; nothing in it is NaN
or infinite. A comparison holds what `WITHIN` names under the key ``diagnosis``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manifold_probe.errors import InputError
from manifold_probe.report.diagnosis import form
from manifold_probe.report.diagnosis.upgrade import FIRST_SCHEMA, problem_of_first, upgraded
from manifold_probe.report.diagnosis.verdict import verdict
from manifold_probe.report.document import pairing_of, plain, read_json
from manifold_probe.spaces.pairing import Pair

MOST = 1000  # of what a cause concerns; its ``count`` says how many there are
OF_COMPARISON = ("measures", "inputs", "pairing", "settings", "provenance")


def diagnosis_document(
    parts: dict[str, Any], pair: Pair, inputs: dict[str, Any], settings: dict[str, Any], provenance: dict[str, Any]
) -> dict[str, Any]:
    """The document of parts that a diagnosis found, with its verdict."""
    return plain(
        {
            "schema": form.SCHEMA,
            **within(parts, parts["measures"], settings["k"], inputs["student"]["shape"][1]),
            "measures": parts["measures"],
            "inputs": inputs,
            "pairing": pairing_of(pair),
            "settings": settings,
            "provenance": provenance,
        }
    )


def within(parts: dict[str, Any], measures: dict[str, Any], k: int, width: int) -> dict[str, Any]:
    """What the comparison of a student of this width holds of a diagnosis: its parts with the verdict, and of what each
    cause concerns at most the first 1,000 rows, dimensions or classes."""
    found = {name: parts[name] for name in form.WITHIN if name != "verdict"}
    found["causes"] = [{**cause, "where": shortened(cause["where"])} for cause in parts["causes"]]
    return plain({"verdict": verdict(found, measures, k, width), **found})


def of_comparison(comparison: dict[str, Any]) -> dict[str, Any] | None:
    """The diagnosis within one student's comparison as a document of its own; None where there is none."""
    found = comparison.get("diagnosis")
    if found is None:
        return None
    return {"schema": form.SCHEMA, **found, **{name: comparison[name] for name in OF_COMPARISON}}


def shortened(where: dict[str, Any] | None) -> dict[str, Any] | None:
    """The first of what a cause concerns, and how many there are.

    >>> shortened({"rows": list(range(2000))})["count"]
    2000
    """
    if not where:
        return None
    listed = {kind: values for kind, values in where.items() if kind != "count"}
    first: list[Any] = next((listed[kind] for kind in form.FIRST if kind in listed), next(iter(listed.values())))
    count = where.get("count", len(first))
    return {"count": count, **{kind: list(values)[:MOST] for kind, values in listed.items()}}


def read_diagnosis(path: str | Path) -> dict[str, Any] | None:
    """The diagnosis in a file, checked, that of an earlier version in today's form; None for something else.

    Raises
    ------
    InputError
        When the file cannot be read, or holds a diagnosis and is damaged.
    """
    document = read_json(path)
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema not in (form.SCHEMA, FIRST_SCHEMA):
        return None
    wrong = problem_of_first(document) if schema == FIRST_SCHEMA else form.problem(document)
    if wrong is not None:
        raise InputError(f"{path}: {wrong}; write the file again with probe diagnose --json")
    return upgraded(document) if schema == FIRST_SCHEMA else document
