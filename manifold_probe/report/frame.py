"""A comparison as tidy rows: one for every measure, k, metric and class."""

from __future__ import annotations

from typing import Any

from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, detailed
from manifold_probe.report.document import readings, students_of

COLUMNS = (
    "student",
    "measure",
    "k",
    "metric",
    "class",
    "value",
    "low",
    "high",
    "chance",
    "class_chance",
    "reference",
    "n",
    "note",
)


def tidy_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows, every one with all of `COLUMNS`; ``class`` is None for the whole set."""
    rows = []
    for name, student in students_of(document).items():
        found = _measure_rows(student) + _k_rows(student) + _class_rows(student) + _account_rows(student)
        rows += [{"student": name, **row} for row in found]
    return [{column: row.get(column) for column in COLUMNS} for row in rows]


def _measure_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for key, measure in readings(document).items():
        base, mark, variant = key.partition(":")
        name, _, k = base.partition("@")
        if mark and variant != measure.metric:
            name = f"{name}:{variant}"
        values = {column: getattr(measure, column) for column in COLUMNS if hasattr(measure, column)}
        rows.append({**values, "measure": name, "k": int(k) if k else None})
    return rows


def _k_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Overlap at every other k."""
    table = document["details"].get("overlap_by_k") or {"k": []}
    rows = []
    for place, k in enumerate(table["k"]):
        if k == document["settings"]["k"]:
            continue
        for metric in ("cosine", "euclidean"):
            row = {"measure": OVERLAP.detail, "k": k, "metric": metric, "value": table[metric][place]}
            rows.append({**row, "chance": _at(table.get("chance"), place)})
            if metric == "cosine":
                rows[-1]["reference"] = _at(table.get("reference"), place)
    return rows


def _class_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    k = document["settings"]["k"]
    names = (OVERLAP.detail, *detailed("classes"))
    rows = []
    for each in document["details"].get("per_class") or []:
        for name in names:
            if name in each:
                row = {"measure": name, "k": k, "metric": "cosine", "class": each["class"], "n": each["n"]}
                limits = {"low": each.get("low"), "high": each.get("high")} if name == OVERLAP.detail else {}
                rows.append({**row, **limits, "value": each[name]})
    return rows


def _account_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What each part of the account lost: "overlap:lost:linear_map", with what would win it back as note."""
    diagnosis, k = document.get("diagnosis") or {}, document["settings"]["k"]
    accounts = (("accounting", OVERLAP.detail, k), ("accounting_cka", DEBIASED_CKA.key, None))
    return [
        {
            "measure": f"{measure}:lost:{part['name']}",
            "k": neighbours,
            "value": part["share"],
            "low": part.get("low"),
            "high": part.get("high"),
            "note": part["sentence"],
        }
        for account, measure, neighbours in accounts
        for part in diagnosis.get(account, [])
    ]


def _at(values: list[Any] | None, place: int) -> Any:
    return values[place] if values and place < len(values) else None
