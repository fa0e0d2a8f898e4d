"""A diagnosis with what was found beside it: in slices, in rows that were trained on, at the head."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from manifold_probe.diagnosis.examine import precedence
from manifold_probe.report.diagnosis.verdict import verdict

NOTHING_ELSE = "diffuse_loss"  # a cause only where there is no other


def with_causes(parts: dict[str, Any], causes: list[dict[str, Any]]) -> dict[str, Any]:
    """The parts with further causes, those that explain most first, and the verdict."""
    if not causes and "verdict" in parts:
        return parts
    if not causes:
        return {**parts, "verdict": verdict(parts["causes"], parts["examined"], parts.get("ladder", ()))}
    every = [cause for cause in parts["causes"] if cause["name"] != NOTHING_ELSE] + causes
    every.sort(key=lambda cause: precedence(cause["name"], cause["share"], cause["confidence"]))
    return {**parts, "causes": every, "verdict": verdict(every, parts["examined"], parts.get("ladder", ()))}


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
