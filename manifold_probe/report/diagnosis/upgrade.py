"""Diagnoses that the first version wrote (schema /1), read as today's.

They have a confidence in place of a status, no account and no measures of the whole pair; the steps of their ladder,
their causes and their verdict are kept.
"""

from __future__ import annotations

from typing import Any

from manifold_probe.report.diagnosis.document import SCHEMA, Evidence, NotAssessed, Settings, Step, Where
from manifold_probe.report.document import Inputs, Pairing
from manifold_probe.report.typed import Record

FIRST_SCHEMA = "manifold-probe/diagnosis/1"
PROVED = 0.9  # confidence from which on a cause counts as proved


class FirstTrial(Record):
    """A cause undone."""

    name: str
    measure: str
    before: float | None
    after: float | None
    low: float | None
    high: float | None
    healthy_gain: float | None


class FirstCause(Record):
    """A cause with its confidence."""

    name: str
    confidence: float
    share: float | None
    evidence: list[Evidence]
    repair: FirstTrial | None
    where: Where | None
    advice: str
    or_: list[str]

    @classmethod
    def inconsistent(cls, thing: dict[str, Any]) -> str | None:
        """A confidence that is no share."""
        return None if 0 <= thing["confidence"] <= 1 else "a 'confidence' is not between 0 and 1"


class FirstBenign(Record):
    """A difference that loses nothing."""

    name: str
    value: float | None
    note: str


class FirstExamined(Record):
    """Which rows were examined."""

    rows: int
    of: int
    labels: bool
    overlap: float | None


class FirstDocument(Record):
    """A diagnosis of the first version."""

    schema: str
    verdict: str
    causes: list[FirstCause]
    benign: list[FirstBenign]
    ladder: list[Step]
    not_assessed: list[NotAssessed]
    examined: FirstExamined
    inputs: Inputs
    pairing: Pairing
    settings: Settings
    provenance: dict[str, Any]

    @classmethod
    def inconsistent(cls, thing: dict[str, Any]) -> str | None:
        """A ladder without a step."""
        return None if thing["ladder"] else "'ladder' is empty"


def upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """A sound diagnosis of the first version in today's form."""
    return {
        "schema": SCHEMA,
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
