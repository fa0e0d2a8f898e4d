"""Diagnoses that the first version wrote (schema /1) in the form of today's, which is checked afterwards.

They have a confidence in place of a status, no account and no measures of the whole pair; the steps of their ladder,
their causes and their verdict are kept.
"""

from __future__ import annotations

from typing import Any

from manifold_probe.report.document import DIAGNOSIS
from manifold_probe.report.typed import Record

FIRST_SCHEMA = "manifold-probe/diagnosis/1"
PROVED = 0.9  # confidence from which on a cause counts as proved


class FirstCause(Record):
    """A cause with its confidence."""

    name: str
    confidence: float
    share: float | None
    repair: dict[str, Any] | None

    @classmethod
    def inconsistent(cls, thing: dict[str, Any]) -> str | None:
        """A confidence that is no share."""
        return None if 0 <= thing["confidence"] <= 1 else "a 'confidence' is not between 0 and 1"


class FirstBenign(Record):
    """A difference that loses nothing."""

    name: str


class FirstDocument(Record):
    """What the upgrade reads of a diagnosis of the first version."""

    verdict: str
    causes: list[FirstCause]
    benign: list[FirstBenign]
    ladder: list[Any]

    @classmethod
    def inconsistent(cls, thing: dict[str, Any]) -> str | None:
        """A ladder without a step."""
        return None if thing["ladder"] else "'ladder' is empty"


def upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """A diagnosis of the first version in today's form."""
    return {
        **document,
        "schema": DIAGNOSIS,
        # what was called healthy had no cause that this version finds
        "verdict": document["verdict"].replace("Healthy", "No specific fault found", 1),
        "measures": {},
        "accounting": [],
        "accounting_cka": [],
        "held_out": {},
        "causes": [_cause(cause) for cause in document["causes"]],
        "benign": [{**one, "words": _words(one["name"])} for one in document["benign"]],
    }


def _cause(cause: dict[str, Any]) -> dict[str, Any]:
    share, repair = cause.get("share"), cause.get("repair")
    return {
        **{name: value for name, value in cause.items() if name != "confidence"},
        "words": _words(cause["name"]),
        "status": "proved" if cause["confidence"] >= PROVED else "suspected",
        "share": None if share is None else min(max(share, 0.0), 1.0),
        "repair": None if repair is None else {"kind": "undo", "z": None, "n": None, **repair},
        "falsified_by": "",
    }


def _words(name: str) -> str:
    return name.replace("_", " ")
