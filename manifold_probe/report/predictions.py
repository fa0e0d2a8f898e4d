"""What a measure says of a student's use: how well it orders students by what they do, from experiments/study.

The table is that of `results/answers.json`, the students of images; a test compares the two. A correlation over the
students of one study says nothing certain of another: read it as the best guess that there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manifold_probe.measures.catalogue import NORM_CORRELATION, OVERLAP, RANKME_STUDENT
from manifold_probe.report.document import students_of


@dataclass(frozen=True)
class Prediction:
    """Spearman's correlation of a measure at the backbone with a behaviour, over students."""

    measure: str
    behaviour: str
    words: str
    spearman: float


STUDENTS = 94
PREDICTIONS = (
    Prediction(OVERLAP.named(10), "knn_accuracy", "k-NN accuracy", 0.84),
    Prediction(OVERLAP.named(10), "knn_agreement", "agreement with the teacher's decisions", 0.92),
    Prediction(RANKME_STUDENT.key, "transfer_linear_accuracy", "accuracy on another task", 0.87),
    Prediction(NORM_CORRELATION.key, "ood_rank_usual_euclidean", "the teacher's order by Euclidean distance", 0.65),
)


def expectation(document: dict[str, Any]) -> str:
    """Which of the measures that a comparison has orders students by what, in a sentence; empty where none does."""
    known = next(iter(students_of(document).values()))["measures"]
    parts: dict[str, list[str]] = {}
    for prediction in PREDICTIONS:
        if known.get(prediction.measure, {}).get("value") is not None:
            parts.setdefault(prediction.measure, []).append(f"{prediction.words} ({prediction.spearman:.2f})")
    named = [f"{key} for {' and '.join(behaviours)}" for key, behaviours in parts.items()]
    if not named:
        return ""
    study = f"rank correlation over {STUDENTS} students of images, experiments/study"
    return f"What to compare students by ({study}): {'; '.join(named)}."
