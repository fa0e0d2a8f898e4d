"""What to compare students by: a measure that orders them well by what they do in every setting of experiments/study.

The numbers are those of `results/answers.json` there; a test compares the two. A correlation over the students of one
study says nothing certain of another: read it as the best guess that there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manifold_probe.measures.catalogue import OVERLAP
from manifold_probe.report.document import students_of
from manifold_probe.report.words import enumerated


@dataclass(frozen=True)
class Prediction:
    """Spearman's correlations of `PREDICTING` at the backbone with a behaviour, over the students of each setting."""

    behaviour: str
    words: str
    spearman: tuple[float, float, float]


PREDICTING, NEIGHBOURS = OVERLAP, 10
SETTINGS = {"fashion": "images", "composite": "two-part images", "text": "texts"}
STUDENTS = 342
PREDICTIONS = (
    Prediction("knn_accuracy", "k-NN accuracy", (0.93, 0.96, 0.86)),
    Prediction("knn_agreement", "agreement with the teacher's decisions", (0.97, 0.95, 0.95)),
)


def expectation(document: dict[str, Any]) -> str:
    """What to compare students by, in a sentence; empty where the comparison does not have this measure."""
    first = next(iter(students_of(document).values()))
    key, studied = (PREDICTING.named(k) for k in (first["settings"]["k"], NEIGHBOURS))
    if first["measures"].get(key, {}).get("value") is None:
        return ""
    whose = "its" if key == studied else f"{studied}'s"
    numbers = "; ".join(f"{enumerated([f'{r:.2f}' for r in one.spearman])} with {one.words}" for one in PREDICTIONS)
    return (
        f"Compare students of one teacher by {key}, on the same rows: over {STUDENTS} small students of "
        f"{enumerated(list(SETTINGS.values()))} {whose} rank correlation was {numbers}. Differences of less than a "
        'point say little, and students that learned from labels are another matter: see "Which number should I '
        'trust?" in the documentation.'
    )
