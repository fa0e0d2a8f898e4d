"""Comparisons and diagnoses as tidy rows, one for every number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from manifold_probe.measures.catalogue import DEBIASED_CKA, KNN_AGREEMENT, OVERLAP, detailed
from manifold_probe.report.document import of_comparison, readings, students_of
from manifold_probe.report.records import accounts_of

YARDSTICKS = ("value", "low", "high", "chance", "class_chance", "reference")
COLUMNS = ("student", "measure", "k", "metric", "class", *YARDSTICKS, "n", "note")
OF_DIAGNOSIS = (
    *("part", "rank", "name", "measure", "value", "low", "high"),
    *("expected", "gain", "status", "share", "note"),
)


def tidy_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a comparison, every one with all of `COLUMNS`; ``class`` is None for the whole set."""
    rows = []
    for name, student in students_of(document).items():
        for part in (_measures, _other_k, _classes, _accounts):
            rows += [{"student": name, **row} for row in part(student)]
    return [{column: row.get(column) for column in COLUMNS} for row in rows]


def _measures(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key, measure in readings(document).items():
        base, mark, variant = key.partition(":")
        name, _, k = base.partition("@")
        if mark and variant != measure.metric:
            name = f"{name}:{variant}"
        values = {column: measure[column] for column in (*YARDSTICKS, "metric", "n", "note")}
        yield {**values, "measure": name, "k": int(k) if k else None}


def _other_k(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Overlap at every other k."""
    table = document["details"].get("overlap_by_k") or {"k": []}
    for place, k in enumerate(table["k"]):
        if k == document["settings"]["k"]:
            continue
        for metric, columns in (("cosine", ("chance", "reference", "low", "high")), ("euclidean", ("chance",))):
            known = {column: table[column][place] for column in columns if table.get(column)}
            yield {"measure": OVERLAP.detail, "k": k, "metric": metric, "value": table[metric][place], **known}


def _classes(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    k = document["settings"]["k"]
    limits = {OVERLAP.detail: ("low", "high"), KNN_AGREEMENT.detail: ("agreement_low", "agreement_high")}
    for of_class in document["details"].get("per_class") or []:
        for name in (OVERLAP.detail, *detailed("classes")):
            if name in of_class:
                row = {"measure": name, "k": k, "metric": "cosine", "class": of_class["class"], "n": of_class["n"]}
                low, high = map(of_class.get, limits.get(name, ("", "")))
                yield {**row, "value": of_class[name], "low": low, "high": high}


def _accounts(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What each part of the account lost: "overlap:lost:linear_map", with what would win it back as note."""
    diagnosis = of_comparison(document)
    for key, parts in accounts_of(diagnosis).items() if diagnosis else ():
        overlap = key != DEBIASED_CKA.key
        for part in parts:
            yield {
                "measure": f"{OVERLAP.detail if overlap else key}:lost:{part['name']}",
                "k": document["settings"]["k"] if overlap else None,
                **_lost(part),
            }


def _lost(part: dict[str, Any]) -> dict[str, Any]:
    return {"value": part["share"], "low": part.get("low"), "high": part.get("high"), "note": part["sentence"]}


def diagnosis_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a diagnosis, every one with all of `OF_DIAGNOSIS`; ``part`` is "account", "evidence", "repair" or
    "ladder".

    ``expected`` is what a sound pair would show, for a repair what it would gain there. ``value`` of a part of the
    account is what was lost.
    """
    return [{column: row.get(column) for column in OF_DIAGNOSIS} for row in _of_diagnosis(document)]


def _of_diagnosis(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for measure, parts in accounts_of(document).items():
        for rank, part in enumerate(parts, start=1):
            yield {"part": "account", "rank": rank, "name": part["name"], "measure": measure, **_lost(part)}
    for rank, cause in enumerate(document["causes"], start=1):
        of_cause = {"rank": rank, **{name: cause[name] for name in ("name", "status", "share")}}
        for evidence in cause["evidence"]:
            yield {"part": "evidence", **of_cause, **evidence}
        if (trial := cause["repair"]) is not None:
            known = None not in (trial["before"], trial["after"])
            yield {
                "part": "repair",
                **of_cause,
                **{name: trial[name] for name in ("measure", "low", "high")},
                "value": trial["after"],
                "expected": trial["healthy_gain"],
                "gain": trial["after"] - trial["before"] if known else None,
                "note": trial["name"],
            }
    for rank, step in enumerate(document["ladder"]):
        for measure, corrected in step["measures"].items():
            yield {"part": "ladder", "rank": rank, "name": step["repair"], "measure": measure, **corrected}
