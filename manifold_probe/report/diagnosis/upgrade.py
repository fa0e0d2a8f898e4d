"""Diagnoses that the first version wrote (schema /1), read as today's.

They have a confidence in place of a status, no account and no measures of the whole pair; the steps of their ladder,
their causes and their verdict are kept.
"""

from __future__ import annotations

from typing import Any

from manifold_probe.report.diagnosis import form
from manifold_probe.report.schema import NUMBER, Maybe, mismatch

FIRST_SCHEMA = "manifold-probe/diagnosis/1"
PROVED = 0.9  # confidence from which on a cause counts as proved
OLD_REPAIR = {
    "name": str,
    "measure": str,
    **{part: Maybe(NUMBER) for part in ("before", "after", "low", "high", "healthy_gain")},
}
OLD_CAUSE = {
    **{name: form.CAUSE[name] for name in ("name", "share", "evidence", "where", "advice", "or")},
    "confidence": NUMBER,
    "repair": Maybe(OLD_REPAIR),
}
OLD_FORM = {
    **{name: form.FORM[name] for name in ("schema", "verdict", "ladder", "not_assessed", "inputs", "pairing")},
    **{name: form.FORM[name] for name in ("settings", "provenance")},
    "causes": [OLD_CAUSE],
    "benign": [{"name": str, "value": Maybe(NUMBER), "note": str}],
    "examined": {"rows": int, "of": int, "labels": bool, "overlap": Maybe(NUMBER)},
}


def problem_of_first(document: Any) -> str | None:
    """What is wrong with a diagnosis of the first version; None where all is well."""
    wrong = mismatch(document, OLD_FORM)
    if wrong is None and not document["ladder"]:
        wrong = "'ladder' is empty"
    if wrong is None and any(not 0 <= cause["confidence"] <= 1 for cause in document["causes"]):
        wrong = "a 'confidence' is not between 0 and 1"
    return wrong


def upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """A sound diagnosis of the first version in today's form."""
    return {
        "schema": form.SCHEMA,
        # what was called healthy had merely no cause that was found
        "verdict": document["verdict"].replace("Healthy", "No specific fault found", 1),
        "measures": {},
        "accounting": [],
        "accounting_cka": [],
        "held_out": {},
        "causes": [_cause(cause) for cause in document["causes"]],
        "benign": [{**each, "words": _words(each["name"])} for each in document["benign"]],
        **{name: document[name] for name in ("ladder", "not_assessed", "examined")},
        **{name: document[name] for name in ("inputs", "pairing", "settings", "provenance")},
    }


def _cause(cause: dict[str, Any]) -> dict[str, Any]:
    repair, share = cause["repair"], cause["share"]
    return {
        "name": cause["name"],
        "words": _words(cause["name"]),
        "status": "proved" if cause["confidence"] >= PROVED else "suspected",
        "share": None if share is None else min(max(share, 0.0), 1.0),
        "evidence": cause["evidence"],
        "repair": None if repair is None else {"kind": "undo", "z": None, "n": None, **repair},
        "where": cause["where"],
        "advice": cause["advice"],
        "falsified_by": "",
        "or": cause["or"],
    }


def _words(name: str) -> str:
    return name.replace("_", " ")
