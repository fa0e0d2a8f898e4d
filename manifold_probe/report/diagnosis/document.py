"""The JSON document of a diagnosis: put together from its parts, and checked when it is read again.

``{"schema": "manifold-probe/diagnosis/1", "verdict", "causes", "benign", "ladder", "not_assessed", "examined",
"inputs", "pairing", "settings", "provenance"}``; nothing in it is NaN or infinite.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manifold_probe.errors import InputError
from manifold_probe.report.document import left_out, plain, read_json, rows_digest
from manifold_probe.report.schema import NAME, NUMBER, PAIRING, SPACE, Each, Maybe, mismatch
from manifold_probe.spaces.pairing import Pair

SCHEMA = "manifold-probe/diagnosis/1"
MOST = 1000  # of what a cause concerns; its ``count`` says how many there are
FIRST = ("rows", "dimensions", "classes", "slices", "sides", "conditions", "orders")
MEASURED = {part: Maybe(NUMBER) for part in ("value", "low", "high", "gain")}
CAUSE = {
    "name": str,
    "confidence": NUMBER,
    "share": Maybe(NUMBER),
    "evidence": [{"measure": str, "value": Maybe(NUMBER), "expected": Maybe(NUMBER)}],
    "repair": Maybe(
        {
            "name": str,
            "measure": str,
            **{part: Maybe(NUMBER) for part in ("before", "after", "low", "high", "healthy_gain")},
        }
    ),
    "where": Maybe({"count": int, **{part: Maybe([NAME]) for part in (*FIRST, "ids")}}),
    "advice": str,
    "or": [str],
}
FORM = {
    "schema": str,
    "verdict": str,
    "causes": [CAUSE],
    "benign": [{"name": str, "value": Maybe(NUMBER), "note": str}],
    "ladder": [{"repair": str, "measures": Each(MEASURED)}],
    "not_assessed": [{"name": str, "why": str}],
    "examined": {"rows": int, "of": int, "labels": bool, "overlap": Maybe(NUMBER)},
    "inputs": {"teacher": SPACE, "student": SPACE, "student_head": Maybe(SPACE)},
    "pairing": PAIRING,
    "settings": {"k": int, "seed": int},
    "provenance": dict,
}


def diagnosis_document(
    parts: dict[str, Any], pair: Pair, inputs: dict[str, Any], settings: dict[str, Any], provenance: dict[str, Any]
) -> dict[str, Any]:
    """The document, of what each cause concerns at most the first 1,000 rows, dimensions or classes."""
    document = {
        "schema": SCHEMA,
        "verdict": parts["verdict"],
        "causes": [{**cause, "where": shortened(cause["where"])} for cause in parts["causes"]],
        "benign": parts["benign"],
        "ladder": parts["ladder"],
        "not_assessed": parts["not_assessed"],
        "examined": parts["examined"],
        "inputs": inputs,
        "pairing": {
            "by": pair.by,
            "rows": pair.teacher.n,
            "coverage": pair.coverage,
            "verified": pair.verified,
            "label_conflicts": pair.label_conflicts,
            "labels_recoded": pair.recoded,
            "unlabelled": pair.unlabelled,
            **left_out(pair),
            "rows_sha256": rows_digest(pair),
        },
        "settings": settings,
        "provenance": provenance,
    }
    return plain(document)


def shortened(where: dict[str, Any] | None) -> dict[str, Any] | None:
    """The first of what a cause concerns, and how many there are.

    >>> shortened({"rows": list(range(2000))})["count"]
    2000
    """
    if not where:
        return None
    first: list[Any] = next((where[kind] for kind in FIRST if kind in where), next(iter(where.values())))
    return {"count": len(first), **{kind: list(values)[:MOST] for kind, values in where.items()}}


def read_diagnosis(path: str | Path) -> dict[str, Any] | None:
    """The diagnosis in a file, checked; None where the file holds something else.

    Raises
    ------
    InputError
        When the file cannot be read, or holds a diagnosis and is damaged.
    """
    document = read_json(path)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        return None
    wrong = mismatch(document, FORM)
    if wrong is None and not document["ladder"]:
        wrong = "'ladder' is empty"
    if wrong is None and any(not 0 <= cause["confidence"] <= 1 for cause in document["causes"]):
        wrong = "a 'confidence' is not between 0 and 1"
    if wrong is not None:
        raise InputError(f"{path}: {wrong}; write the file again with probe diagnose --json")
    return document
