"""Documents made by hand, so that reports are tested without measuring anything."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.text import Text

from manifold_probe.api.documents import comparison_document, comparisons_document
from manifold_probe.measures.results import Alarm, Measured, Measurement
from manifold_probe.measures.uncertainty import Estimate
from manifold_probe.report.comparison import comparison_blocks
from manifold_probe.report.render.terminal import lines, plain_text
from manifold_probe.spaces.pairing import Pair
from manifold_probe.spaces.space import Space

DIGEST = "0" * 64
DEFAULTS = {
    "overlap@10": 0.161,
    "overlap@10:euclidean": 0.15,
    "trustworthiness@10": 0.97,
    "debiased_linear_cka": 0.772,
    "per_dimension_correlation": 0.4,
    "per_dimension_correlation:orthogonal": 0.5,
    "norm_correlation": 0.9,
    "knn_agreement@10": 0.836,
    "rankme_teacher": 124.0,
}
CLASSES = [
    {"class": name, "n": 20, "overlap": overlap, "low": overlap - 0.02, "high": overlap + 0.02, "knn_agreement": 0.9}
    for name, overlap in (("bag", 0.3), ("boot", 0.28), ("shirt", 0.05))
]


def measurement(
    values: dict[str, float | None] | None = None,
    *,
    error: float = 0.003,
    alarms: tuple[tuple[str, str], ...] = (),
    details: dict[str, Any] | None = None,
    classes: str | None = "labels",
    note: str | None = None,
    **yardsticks: float | None,
) -> Measurement:
    """A measurement of these values, each with one deviation and the same yardsticks."""
    beside = {"chance": 0.001, "class_chance": 0.009, "reference": 0.84} | yardsticks
    measures = {
        key: Measured(Estimate(value, np.array([error, 0.0])), 500, metric="cosine", note=note, **beside)
        for key, value in (DEFAULTS | (values or {})).items()
    }
    return Measurement(measures, details or {}, [Alarm(*alarm) for alarm in alarms], classes)


def document(made: Measurement | None = None, name: str = "s", **pairing: Any) -> dict[str, Any]:
    """The document of one student."""
    rows = Space(np.zeros((500, 4)))
    pair = Pair(rows, rows, None, None, **({"by": "id", "coverage": 1.0, "verified": True} | pairing))
    inputs = {
        side: {"name": who, "path": f"{who}.pt", "sha256": DIGEST, "shape": [500, d], "dtype": "float32", "key": None}
        for side, who, d in (("teacher", "t", 512), ("student", name, 384))
    }
    settings = {"k": 10, "queries": 5000, "seed": 0}
    return comparison_document(pair, made or measurement(), inputs, settings, {"versions": {}, "when": "now"})


def report_lines(made: dict[str, Any], width: int | None = None) -> list[Text]:
    """The report as styled lines."""
    return lines(comparison_blocks(made), width)


def plain_report(made: dict[str, Any], width: int | None = None) -> str:
    """The report as plain text."""
    return plain_text(comparison_blocks(made), width)


def documents(**made: Measurement) -> dict[str, Any]:
    """The document of several students."""
    return comparisons_document({name: document(each, name) for name, each in made.items()}, made)
