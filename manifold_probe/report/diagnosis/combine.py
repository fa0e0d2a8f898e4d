"""A diagnosis with what was found beside it: in slices, in rows that were trained on, at the head."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from manifold_probe.diagnosis.advice import WORDS
from manifold_probe.report.words import shown

NOTHING_ELSE = "diffuse_loss"  # a cause only where there is no other
SURE, SHARE, CLEAR = 0.7, 0.05, 0.8


def with_causes(parts: dict[str, Any], causes: list[dict[str, Any]]) -> dict[str, Any]:
    """The parts with further causes, those that explain most first, and a verdict that knows them."""
    if not causes:
        return parts
    every = [cause for cause in parts["causes"] if cause["name"] != NOTHING_ELSE] + causes
    every.sort(key=lambda cause: -(cause["share"] or 0) * cause["confidence"])
    return {**parts, "causes": every, "verdict": verdict(every, parts["examined"]["overlap"])}


def assessed(parts: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The parts where these causes were looked for after all."""
    left = [each for each in parts["not_assessed"] if each["name"] not in set(names)]
    return {**parts, "not_assessed": left}


def slice_causes(parts: dict[str, Any]) -> list[dict[str, Any]]:
    """Of a diagnosis with slices for labels, the slices that failed."""
    found = []
    for cause in parts["causes"]:
        if cause["name"] == "slice_failure" and cause["where"]:
            where = {"slices" if kind == "classes" else kind: values for kind, values in cause["where"].items()}
            found.append({**cause, "where": where})
    return found


def words_of(cause: dict[str, Any]) -> str:
    """A cause in words."""
    where = cause["where"] or {}
    if cause["name"] == "slice_failure" and "slices" in where:
        return "one slice failed alone"
    if cause["name"] == "misaligned_head" and where.get("sides") == ["backbone"]:
        return "the backbone keeps less than the head"
    return WORDS.get(cause["name"]) or shown(cause["name"]).replace("_", " ")


def verdict(causes: list[dict[str, Any]], overlap: float) -> str:
    """One sentence about what was found."""
    first = causes[0]
    others = [words_of(cause) for cause in causes[1:3] if cause["confidence"] > SURE and (cause["share"] or 0) > SHARE]
    also = f"; also, {' and '.join(others)}" if others else ""
    unsure = "Probably " if first["confidence"] < CLEAR else ""
    sentence = f"{unsure}{words_of(first)}{also}: {overlap:.0%} of each point's nearest neighbours are kept."
    return sentence[0].upper() + sentence[1:]
