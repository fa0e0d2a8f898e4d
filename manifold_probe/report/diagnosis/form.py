"""What a diagnosis must look like for every report and figure to be made of it, alone or within a comparison.

Its account is a list of parts that add up to the whole loss, to `EXACT`.
"""

from __future__ import annotations

from typing import Any

from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP
from manifold_probe.report.schema import NAME, NUMBER, PAIRING, SPACE, Each, Maybe, mismatch

SCHEMA = "manifold-probe/diagnosis/2"
EXACT = 1e-9
STATUSES = ("proved", "suspected")
FIRST = ("rows", "dimensions", "classes", "slices", "sides", "conditions", "orders")
PART = {"name": str, "share": NUMBER, "low": Maybe(NUMBER), "high": Maybe(NUMBER), "sentence": str}
HELD_OUT = {part: Maybe(NUMBER) for part in ("value", "low", "high")} | {"n": Maybe(int)}
MEASURED = {part: Maybe(NUMBER) for part in ("value", "low", "high", "chance", "reference")} | {"n": Maybe(int)}
REPAIR = {
    "name": str,
    "kind": str,
    "measure": str,
    **{part: Maybe(NUMBER) for part in ("before", "after", "low", "high", "healthy_gain", "z")},
    "n": Maybe(int),
}
CAUSE = {
    "name": str,
    "words": str,
    "status": str,
    "share": Maybe(NUMBER),
    "evidence": [{"measure": str, "value": Maybe(NUMBER), "expected": Maybe(NUMBER)}],
    "repair": Maybe(REPAIR),
    "where": Maybe({"count": int, **{part: Maybe([NAME]) for part in (*FIRST, "ids")}}),
    "advice": str,
    "falsified_by": str,
    "or": [str],
}
WITHIN = {  # what a comparison holds of a diagnosis, under the key "diagnosis"
    "verdict": str,
    "accounting": [PART],
    "accounting_cka": [PART],
    "held_out": Each(HELD_OUT),
    "causes": [CAUSE],
    "benign": [{"name": str, "words": str, "value": Maybe(NUMBER), "note": str}],
    "ladder": [{"repair": str, "measures": Each({part: Maybe(NUMBER) for part in ("value", "low", "high", "gain")})}],
    "not_assessed": [{"name": str, "why": str}],
    "examined": {"rows": int, "of": int, "labels": bool},
}
FORM = {
    "schema": str,
    **WITHIN,
    "measures": Each(MEASURED),
    "inputs": {"teacher": SPACE, "student": SPACE, "student_head": Maybe(SPACE)},
    "pairing": PAIRING,
    "settings": {"k": int, "seed": int},
    "provenance": dict,
}


def problem(diagnosis: Any) -> str | None:
    """What is wrong with a diagnosis, naming the field; None where all is well."""
    wrong = mismatch(diagnosis, FORM)
    return wrong or inconsistent(diagnosis, diagnosis["measures"], diagnosis["settings"]["k"])


def problem_within(comparison: dict[str, Any]) -> str | None:
    """What is wrong with the diagnosis that a sound comparison holds; None where all is well, or where it has none."""
    diagnosis = comparison.get("diagnosis")
    if diagnosis is None:
        return None
    wrong = mismatch(diagnosis, WITHIN, "diagnosis")
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
