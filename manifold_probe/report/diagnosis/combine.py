"""A diagnosis with what was found beside it, as by extracting the features again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from manifold_probe.report.diagnosis.verdict import verdict


def with_causes(document: dict[str, Any], causes: list[dict[str, Any]]) -> dict[str, Any]:
    """The document with further causes, those that explain most first, and its verdict."""
    if not causes:
        return document
    every = sorted([*document["causes"], *causes], key=lambda cause: -(cause["share"] or 0.0))
    found = {**document, "causes": every}
    width = document["inputs"]["student"]["shape"][1]
    return {**found, "verdict": verdict(found, document["measures"], document["settings"]["k"], width)}


def assessed(document: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The document where these causes were looked for after all."""
    left = [each for each in document["not_assessed"] if each["name"] not in set(names)]
    return {**document, "not_assessed": left}
