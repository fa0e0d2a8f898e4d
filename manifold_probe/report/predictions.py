"""What a measure says of a student's use: how well it orders students by what they do, from experiments/study.

The table is that of `results/answers.json`, the students of images; a test compares the two. A correlation over the
students of one study says nothing certain of another: read it as the best guess that there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manifold_probe.measures.catalogue import NORM_CORRELATION, OVERLAP, RANKME_STUDENT, Measure
from manifold_probe.report.document import students_of


@dataclass(frozen=True)
class Prediction:
    """Spearman's correlation of a measure at the backbone, at `NEIGHBOURS`, with a behaviour, over students."""

    measure: Measure
    behaviour: str
    words: str
    spearman: float


STUDENTS = 191
NEIGHBOURS = 10
PREDICTIONS = (
    Prediction(OVERLAP, "knn_accuracy", "k-NN accuracy", 0.86),
    Prediction(OVERLAP, "knn_agreement", "agreement with the teacher's decisions", 0.95),
    Prediction(RANKME_STUDENT, "transfer_linear_accuracy", "accuracy on another task", 0.91),
    Prediction(NORM_CORRELATION, "ood_rank_usual_euclidean", "the teacher's order by Euclidean distance", 0.74),
)


def expectation(document: dict[str, Any]) -> str:
    """Which of the measures that a comparison has orders students by what, in a sentence; empty where none does."""
    first = next(iter(students_of(document).values()))
    parts: dict[str, list[str]] = {}
    for prediction in PREDICTIONS:
        key, studied = (prediction.measure.named(k) for k in (first["settings"]["k"], NEIGHBOURS))
        if first["measures"].get(key, {}).get("value") is not None:
            name = key if key == studied else f"{key} ({studied} in the study)"
            parts.setdefault(name, []).append(f"{prediction.words} ({prediction.spearman:.2f})")
    named = [f"{name} for {' and '.join(behaviours)}" for name, behaviours in parts.items()]
    if not named:
        return ""
    study = f"rank correlation over {STUDENTS} students of images, experiments/study"
    return f"What to compare students by ({study}): {'; '.join(named)}."
