"""The JSON document of a diagnosis: put together from its parts, and checked when it is read again.

A diagnosis alone is a `DiagnosisDocument`; a comparison holds `Findings` under the key ``diagnosis``. Its account is a
list of parts that add up to the whole loss, to `EXACT`. Nothing in it is NaN or infinite.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP
from manifold_probe.report.document import Inputs, Interval, Pairing, pairing_of, read_json
from manifold_probe.report.typed import Name, Positive, Record, mismatch, names, plain
from manifold_probe.spaces.pairing import Pair

SCHEMA = "manifold-probe/diagnosis/2"
EXACT = 1e-9
STATUSES = ("proved", "suspected")
MOST = 1000  # of what a cause concerns; its ``count`` says how many there are
# Kinds of things that a cause concerns; what is counted is the first that it names.
CONCERNED = ("rows", "dimensions", "classes", "slices", "sides", "conditions", "orders")
OF_COMPARISON = ("measures", "inputs", "pairing", "settings", "provenance")


class Part(Record):
    """A part of the whole loss, with its interval and what would win it back."""

    name: str
    share: float
    low: float | None
    high: float | None
    sentence: str


class Evidence(Record):
    """A number that speaks for a cause, and what a sound pair would show."""

    measure: str
    value: float | None
    expected: float | None


class Trial(Record):
    """A cause undone, or inflicted on the teacher: a measure before and after."""

    name: str
    kind: str
    measure: str
    before: float | None
    after: float | None
    low: float | None
    high: float | None
    healthy_gain: float | None
    z: float | None
    n: int | None


class Where(Record):
    """What a cause concerns: how many, and the first of them; ``ids`` are those of ``rows``."""

    count: int
    rows: list[Name] | None = None
    ids: list[Name] | None = None
    dimensions: list[Name] | None = None
    classes: list[Name] | None = None
    slices: list[Name] | None = None
    sides: list[Name] | None = None
    conditions: list[Name] | None = None
    orders: list[Name] | None = None


class Cause(Record):
    """Why the student diverges, with what speaks for it and what proves it.

    ``status`` is "proved" or "suspected"; ``share`` is one of the whole loss, in the measure of ``repair``.
    """

    name: str
    words: str
    status: str
    share: float | None
    evidence: list[Evidence]
    repair: Trial | None
    where: Where | None
    advice: str
    falsified_by: str
    or_: list[str]


class Benign(Record):
    """A difference that loses nothing."""

    name: str
    words: str
    value: float | None
    note: str


class Corrected(Interval):
    """A measure after a correction, and what it gained."""

    gain: float | None


class Step(Record):
    """A correction of the ladder, each fitted on other rows than it is judged on."""

    repair: str
    measures: dict[str, Corrected]


class NotAssessed(Record):
    """A cause that could not be examined."""

    name: str
    why: str


class HeldOut(Interval):
    """A measure of the held-out rows."""

    n: int | None


class Measured(HeldOut):
    """A measure of the whole pair."""

    chance: float | None
    reference: float | None


class Examined(Record):
    """Which rows were examined, and what was measured in addition to the causes."""

    rows: int
    of: int
    labels: bool


class Settings(Record):
    """What was asked for."""

    k: Positive
    seed: int


class Findings(Record):
    """What a comparison holds of a diagnosis."""

    verdict: str
    accounting: list[Part]
    accounting_cka: list[Part]
    held_out: dict[str, HeldOut]
    causes: list[Cause]
    benign: list[Benign]
    ladder: list[Step]
    not_assessed: list[NotAssessed]
    examined: Examined


class DiagnosisDocument(Findings):
    """A diagnosis alone."""

    schema: str
    measures: dict[str, Measured]
    inputs: Inputs
    pairing: Pairing
    settings: Settings
    provenance: dict[str, Any]

    @classmethod
    def inconsistent(cls, thing: dict[str, Any]) -> str | None:
        """Values that contradict each other."""
        return inconsistent(thing, thing["measures"], thing["settings"]["k"])


def diagnosis_document(
    parts: dict[str, Any], pair: Pair, inputs: dict[str, Any], settings: dict[str, Any], provenance: dict[str, Any]
) -> dict[str, Any]:
    """The document of parts that a diagnosis found, with its verdict."""
    return plain(
        {
            "schema": SCHEMA,
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
    from manifold_probe.report.diagnosis.verdict import verdict

    found = {name: parts[name] for name in names(Findings) if name != "verdict"}
    found["causes"] = [{**cause, "where": shortened(cause["where"])} for cause in parts["causes"]]
    return plain({"verdict": verdict(found, measures, k, width), **found})


def of_comparison(comparison: dict[str, Any]) -> dict[str, Any] | None:
    """The diagnosis within one student's comparison as a document by itself; None where there is none."""
    found = comparison.get("diagnosis")
    if found is None:
        return None
    return {"schema": SCHEMA, **found, **{name: comparison[name] for name in OF_COMPARISON}}


def shortened(where: dict[str, Any] | None) -> dict[str, Any] | None:
    """The first of what a cause concerns, and how many there are.

    >>> shortened({"rows": list(range(2000))})["count"]
    2000
    """
    if not where:
        return None
    listed = {kind: values for kind, values in where.items() if kind != "count"}
    first: list[Any] = next((listed[kind] for kind in CONCERNED if kind in listed), next(iter(listed.values())))
    count = where.get("count", len(first))
    return {"count": count, **{kind: list(values)[:MOST] for kind, values in listed.items()}}


def read_diagnosis(path: str | Path) -> dict[str, Any] | None:
    """The diagnosis in a file, checked, that of an earlier version in today's form; None for something else.

    Raises
    ------
    InputError
        When the file cannot be read, or holds a diagnosis and is damaged.
    """
    from manifold_probe.report.diagnosis.upgrade import FIRST_SCHEMA, FirstDocument, upgraded

    document = read_json(path)
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema not in (SCHEMA, FIRST_SCHEMA):
        return None
    wrong = mismatch(document, FirstDocument if schema == FIRST_SCHEMA else DiagnosisDocument)
    if wrong is not None:
        raise InputError(f"{path}: {wrong}; write the file again with probe diagnose --json")
    return upgraded(document) if schema == FIRST_SCHEMA else document


def problem_within(comparison: dict[str, Any]) -> str | None:
    """What is wrong with the diagnosis that a sound comparison holds; None where all is well, or where it has none."""
    diagnosis = comparison.get("diagnosis")
    if diagnosis is None:
        return None
    wrong = mismatch(diagnosis, Findings, "diagnosis")
    return wrong or inconsistent(diagnosis, comparison["measures"], comparison["settings"]["k"])


def inconsistent(diagnosis: dict[str, Any], measures: dict[str, Any], k: int) -> str | None:
    """Values that contradict each other: parts of an account that do not add up, shares outside 0 to 1."""
    for account, key in (("accounting", OVERLAP.named(k)), ("accounting_cka", DEBIASED_CKA.key)):
        parts = diagnosis[account]
        if not parts:
            continue
        if min(part["share"] for part in parts) < 0:
            return f"a 'share' in {account!r} is negative"
        value = (measures.get(key) or {}).get("value")
        if value is None:
            return f"{account!r} has no measure {key!r} to add up to"
        total = sum(part["share"] for part in parts)
        if abs(total - (1 - value)) > EXACT:
            return f"the parts of {account!r} add up to {total:.9f}, not to 1 - {key} = {1 - value:.9f}"
    for cause in diagnosis["causes"]:
        if cause["status"] not in STATUSES:
            return f"a 'status' is {cause['status']!r}, neither 'proved' nor 'suspected'"
        if cause["share"] is not None and not 0 <= cause["share"] <= 1:
            return "a 'share' of a cause is not between 0 and 1"
    return None
