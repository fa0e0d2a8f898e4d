"""A diagnosis as tidy rows: the parts of the account, evidence and repair of every cause, and every held-out step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP

COLUMNS = ("part", "rank", "name", "measure", "value", "low", "high", "expected", "gain", "status", "share", "note")


def tidy_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows, every one with all of `COLUMNS`; ``part`` is "account", "evidence", "repair" or "ladder".

    ``expected`` is what a sound pair would show, for a repair what it would gain there. ``value`` of a part of the
    account is what was lost.
    """
    return [{column: row.get(column) for column in COLUMNS} for row in _rows(document)]


def _rows(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    k = document["settings"]["k"]
    for account, measure in (("accounting", OVERLAP.named(k)), ("accounting_cka", DEBIASED_CKA.key)):
        for rank, each in enumerate(document[account], start=1):
            yield {
                "part": "account",
                "rank": rank,
                "measure": measure,
                "value": each["share"],
                "note": each["sentence"],
                **{name: each.get(name) for name in ("name", "low", "high")},
            }
    for rank, cause in enumerate(document["causes"], start=1):
        of = {"rank": rank, "name": cause["name"], "status": cause["status"], "share": cause["share"]}
        for each in cause["evidence"]:
            yield {"part": "evidence", **of, **each}
        trial = cause["repair"]
        if trial is not None:
            known = None not in (trial["before"], trial["after"])
            yield {
                "part": "repair",
                **of,
                **{name: trial[name] for name in ("measure", "low", "high")},
                "value": trial["after"],
                "expected": trial["healthy_gain"],
                "gain": trial["after"] - trial["before"] if known else None,
                "note": trial["name"],
            }
    for rank, step in enumerate(document["ladder"]):
        for measure, found in step["measures"].items():
            yield {"part": "ladder", "rank": rank, "name": step["repair"], "measure": measure, **found}
