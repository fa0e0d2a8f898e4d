"""The verdict of a diagnosis: one sentence, of the comparison's measures."""

from __future__ import annotations

from typing import Any

from manifold_probe.measures.catalogue import OVERLAP
from manifold_probe.report.diagnosis.words import called, capital, explains, loss_in, lost, part, words_of
from manifold_probe.report.words import enumerated, number, percent

LEAST = 0.05  # of the loss: a cause that explains less is no headline
NEAR = 0.9  # of what lies between chance and the reference: from there on the student is faithful
MANY = 0.05  # copies, of the rows
NAMED = 3  # parts of the account in a sentence
MAPS = {  # the corrections, in their order, and what the student is faithful up to once they are made
    "rows_set_aside": "a few rows",
    "centre_scale_norms": "centre, scale and norms",
    "rotation": "a rotation",
    "linear_map": "a linear map",
}


def verdict(parts: dict[str, Any], measures: dict[str, Any], k: int, width: int | None = None) -> str:
    """What explains the loss; or that the student is faithful; or where the loss went, without a specific fault.

    ``width`` is the student's number of dimensions.

    >>> of = {"overlap@10": {"value": 0.97, "reference": 0.98}}
    >>> verdict({"causes": [], "accounting": [], "examined": {}}, of, 10, 64)
    "Faithful: 97% of each point's nearest neighbours are kept, as the teacher's first 64 components keep (98%)."
    """
    measured = measures.get(OVERLAP.named(k)) or {}
    value = measured.get("value")
    if value is None:
        return "Undetermined: the overlap of neighbourhoods could not be measured."
    causes, account = parts["causes"], parts["accounting"]
    kept = f"{percent(value)} of each point's nearest neighbours are kept{_copied(parts['examined'])}"
    if causes and causes[0]["name"] == "unaligned_rows":
        return f"{capital(words_of(causes[0]))}: {kept}{_in_order(causes[0])}."
    if first := explaining(causes):
        return f"{_causes(first)}: {kept}{_without(first[0])}."
    small = f"; also found, with little to explain: {', '.join(map(words_of, causes[:2]))}" if causes else ""
    if near(value, measured):
        return f"Faithful: {kept}{_as_components(measured.get('reference'), width)}{small}."
    map_ = _up_to(value, measured, account)
    if map_ is not None:
        name, then = map_
        return f"Faithful up to {MAPS[name]}: {kept}, {percent(then)} {_once(name)}{small}."
    fault = "No single fault explains the loss" if causes else "No specific fault found"
    lost_ = f"{percent(1 - value)} of each point's nearest neighbours are lost{_copied(parts['examined'])}"
    return f"{fault}: {lost_}{_of_which(account)}{small}."


def explaining(causes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The causes that explain something, or of which it is not known."""
    return [cause for cause in causes if cause["share"] is None or cause["share"] >= LEAST]


def near(value: float, measured: dict[str, Any]) -> bool:
    """Whether an overlap is near the reference: the teacher on as many principal components.

    >>> near(0.47, {"reference": 0.5, "chance": 0.01}), near(0.47, {"reference": None})
    (True, False)
    """
    chance = measured.get("chance") or 0.0
    reference = 1.0 if measured.get("reference") is None else max(measured["reference"], chance + 1e-9)
    return (value - chance) / (reference - chance) >= NEAR


def _causes(causes: list[dict[str, Any]]) -> str:
    """The first cause, what it explains, and the next two."""
    first, *others = causes
    unsure = "" if first["status"] == "proved" else "probably "
    share = f", which {text}" if (text := explains(first)) else ""
    also = [
        ("" if cause["status"] == "proved" else "probably ")
        + words_of(cause)
        + (f" ({percent(round(cause['share'], 2))}{loss_in(cause)})" if cause["share"] is not None else "")
        for cause in others[:2]
    ]
    return capital(f"{unsure}{words_of(first)}{share}{f'; also, {enumerated(also)}' if also else ''}")


def _as_components(reference: float | None, width: int | None) -> str:
    """What the first components of the teacher keep, where they are fewer than its dimensions."""
    if reference is None or reference >= 0.9995:
        return ""
    count = "leading" if width is None else f"{width:,}"
    return f", as the teacher's first {count} components keep ({percent(reference)})"


def _up_to(value: float, measured: dict[str, Any], account: list[dict[str, Any]]) -> tuple[str, float] | None:
    """The last correction that is needed to come near the reference, and what is kept then; None where none does."""
    won = {part["name"]: part["share"] for part in account}
    for name in MAPS:
        value += won.get(name, 0.0)
        if won.get(name, 0.0) > 0 and near(value, measured):
            return name, value
    return None


def _once(name: str) -> str:
    """After which correction."""
    corrections = {
        "rows_set_aside": "once they are set aside",
        "centre_scale_norms": "once these are corrected",
        "rotation": "once the student is rotated",
    }
    return corrections.get(name, "once the student is mapped (--save-repair)")


def _of_which(account: list[dict[str, Any]]) -> str:
    """ ", of which 38 points are information that the features do not hold and 15 are won back by a linear map"."""
    parts = sorted(lost(account), key=lambda part: -part["share"])[:NAMED]
    texts = [f"{100 * one['share']:.0f} are {part(one['name']).lost}" for one in parts if one["share"] >= 0.005]
    return f", of which {enumerated(texts).replace(' are', ' points are', 1)}" if texts else ""


def _without(cause: dict[str, Any]) -> str:
    """What a dimension that decides everything does to a measure; empty for other causes."""
    trial = cause["repair"]
    if cause["name"] != "dominating_dimension" or trial is None:
        return ""
    return f" ({called(trial['measure'])}: {number(trial['before'])} with it, {number(trial['after'])} without)"


def _in_order(cause: dict[str, Any]) -> str:
    """What is kept once rows are put in the order that was found; empty where none was."""
    trial = cause["repair"]
    return "" if trial is None else f", {percent(trial['after'])} once the rows are put in order"


def _copied(examined: dict[str, Any]) -> str:
    """How many rows are copies and were left out, where they are many; else empty."""
    copies, n = examined.get("copies") or 0, examined.get("of") or 0
    return f" ({copies / n:.0%} of the rows are copies of others)" if copies > MANY * n else ""
