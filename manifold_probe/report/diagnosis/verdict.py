"""The verdict of a diagnosis: one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from manifold_probe.diagnosis.advice import WORDS
from manifold_probe.report.words import number, shown

SURE, SHARE, CLEAR = 0.7, 0.05, 0.8
MAPPED = 0.15  # of the neighbours
MANY = 0.05  # copies, of the rows
UNEXPLAINED, LOW = 0.1, 0.6  # of the gap; of the neighbours


def verdict(causes: list[dict[str, Any]], examined: dict[str, Any], ladder: Sequence[dict[str, Any]] = ()) -> str:
    """What was found, or that the student is healthy, or that it is not known what ails it.

    >>> verdict([], {"overlap": 0.97})
    "Healthy: 97% of each point's nearest neighbours are kept, and no cause of loss stands out."
    """
    kept = f"{examined['overlap']:.0%} of each point's nearest neighbours are kept{copied(examined)}"
    unproved = [WORDS[name] for name in dict.fromkeys(examined.get("causes", {}).get("unproved", []))]
    if not causes and unproved:
        return f"Undetermined: {kept}; there are signs ({'; '.join(unproved[:2])}), but none that is proved."
    if not causes and (mapped := by_a_map(ladder)) is not None:
        return f"Healthy up to a linear map: {kept}, {mapped:.0%} once the student is mapped (--save-repair)."
    if not causes:
        return f"Healthy: {kept}, and no cause of loss stands out."
    first = causes[0]
    if first["name"] == "unaligned_rows":
        return f"{sentence_case(words_of(first))}: {kept}{in_order(first)}."
    if first["name"] == "diffuse_loss":
        return f"Diffuse loss: {kept}, everywhere alike, and no single cause stands out."
    others = [words_of(cause) for cause in causes[1:3] if cause["confidence"] > SURE and (cause["share"] or 0) > SHARE]
    also = f"; also, {' and '.join(others)}" if others else ""
    unsure = "probably " if first["confidence"] < CLEAR else ""
    named = f"{unsure}{words_of(first)}{also}"
    shares = [cause["share"] for cause in causes]
    if None not in shares and sum(shares) < UNEXPLAINED and examined["overlap"] < LOW:
        return f"Most of what is lost has no single cause: {kept}{without(first)}. Also found: {named}."
    return sentence_case(f"{named}: {kept}{without(first)}.")


def sentence_case(text: str) -> str:
    """The text with a capital at its start."""
    return text[0].upper() + text[1:]


def without(cause: dict[str, Any]) -> str:
    """What a dimension that decides everything does to a measure; empty for other causes."""
    repair = cause["repair"]
    if cause["name"] != "dominating_dimension" or repair is None:
        return ""
    measure = "CKA" if "cka" in repair["measure"] else repair["measure"]
    return f" ({measure} {number(repair['before'])} with it, {number(repair['after'])} without)"


def in_order(cause: dict[str, Any]) -> str:
    """What is kept once rows are put in the order that was found; empty where none was."""
    repair = cause["repair"]
    return "" if repair is None else f", {repair['after']:.0%} once the rows are put in order"


def copied(examined: dict[str, Any]) -> str:
    """How many rows are copies and were left out, where they are many; else empty."""
    copies, n = examined.get("copies", 0), examined.get("of", 0)
    return f" ({copies / n:.0%} of the rows are copies of others and are left out)" if copies > MANY * n else ""


def by_a_map(ladder: Sequence[dict[str, Any]]) -> float | None:
    """The overlap after a linear map, where that is much more than without."""
    rungs: dict[str, Any] = {step["repair"]: next(iter(step["measures"].values()), {}) for step in ladder}
    found = rungs.get("ridge", {})
    return found.get("value") if (found.get("gain") or 0) > MAPPED else None


def words_of(cause: dict[str, Any]) -> str:
    """A cause in words."""
    where = cause["where"] or {}
    if where.get("orders"):
        return shown(where["orders"][0], 200)
    if cause["name"] == "slice_failure" and "slices" in where:
        return "one slice failed alone"
    if cause["name"] == "misaligned_head" and where.get("sides") == ["backbone"]:
        return "the backbone keeps less than the head"
    return WORDS.get(cause["name"]) or shown(cause["name"]).replace("_", " ")
