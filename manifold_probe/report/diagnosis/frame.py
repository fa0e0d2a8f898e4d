"""A diagnosis as tidy rows: the evidence and repair of every cause, and every measure of every rung of the ladder."""

from __future__ import annotations

from typing import Any

COLUMNS = ("part", "rank", "name", "measure", "value", "low", "high", "expected", "gain", "confidence", "share")


def tidy_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows, every one with all of `COLUMNS`; ``part`` is "evidence", "repair" or "ladder".

    ``expected`` is what a healthy pair would show, for a repair what it would gain there.
    """
    rows: list[dict[str, Any]] = []
    for rank, cause in enumerate(document["causes"], start=1):
        of = {"rank": rank, "name": cause["name"], "confidence": cause["confidence"], "share": cause["share"]}
        rows += [{"part": "evidence", **of, **each} for each in cause["evidence"]]
        repair = cause["repair"]
        if repair is not None:
            known = None not in (repair["before"], repair["after"])
            after = {"value": repair["after"], "low": repair["low"], "high": repair["high"]}
            after |= {"gain": repair["after"] - repair["before"] if known else None, "expected": repair["healthy_gain"]}
            rows.append({"part": "repair", **of, "measure": repair["measure"], **after})
    for rank, step in enumerate(document["ladder"]):
        for measure, found in step["measures"].items():
            rows.append({"part": "ladder", "rank": rank, "name": step["repair"], "measure": measure, **found})
    return [{column: row.get(column) for column in COLUMNS} for row in rows]
