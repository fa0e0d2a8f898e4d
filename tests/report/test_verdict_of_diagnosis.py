"""The one sentence of a diagnosis: near the reference, up to a map, by a cause, or where the loss went."""

from __future__ import annotations

from typing import Any

import pytest

from manifold_probe.report.diagnosis.verdict import near, verdict
from tests.report.diagnoses import (
    BROKEN,
    FAILED,
    FAITHFUL,
    MAPPED,
    OUTLIERS,
    ROUNDED,
    UNALIGNED,
    UNSPECIFIC,
    account,
    cause,
    document,
    measures,
)

KEPT = "of each point's nearest neighbours are kept"
SENTENCES = {
    "broken": (
        BROKEN,
        "Rows are paired with the wrong partner, which explains 40% of the loss; also, probably values are rounded to "
        f"few levels (11%) and a few rows are far out and decide the shape (93% in CKA): 39% {KEPT}.",
    ),
    "faithful": (FAITHFUL, f"Faithful: 81% {KEPT}, as the teacher's first 384 components keep (84%)."),
    "unspecific": (
        UNSPECIFIC,
        "No specific fault found: 61% of each point's nearest neighbours are lost, of which 20 points are lost even on "
        "rows that were trained on, 18 are information that the features do not hold and 15 are won back by a linear "
        "map.",
    ),
    "mapped": (
        MAPPED,
        f"Faithful up to a linear map: 41% {KEPT}, 81% once the student is mapped (--save-repair).",
    ),
    "unaligned": (
        UNALIGNED,
        f"The student's rows are shifted by 1 (off by one): 0.2% {KEPT}, 87% once the rows are put in order.",
    ),
    "suspected": (
        document(causes=[ROUNDED]),
        f"Probably values are rounded to few levels, which would explain 11% of the loss: 39% {KEPT}.",
    ),
    "outliers": (
        document(0.82, 0.26, causes=[OUTLIERS]),
        f"A few rows are far out and decide the shape, which explains 93% of the loss in CKA: 82% {KEPT}.",
    ),
    "little": (
        document(causes=[FAILED]),
        "No single fault explains the loss: 61% of each point's nearest neighbours are lost, of which 61 points are "
        "information that the features do not hold; also found, with little to explain: one slice failed alone.",
    ),
    "centred": (
        document(0.3, accounting=account(0.3, width=0.16, centre_scale_norms=0.5)),
        f"Faithful up to centre, scale and norms: 30% {KEPT}, 80% once these are corrected.",
    ),
    "copies": (
        document(0.82, examined={**document()["examined"], "copies": 1500}),
        f"Faithful: 82% {KEPT} (30% of the rows are copies of others), "
        "as the teacher's first 384 components keep (84%).",
    ),
    "wide": (document(0.97, reference=1.0), f"Faithful: 97% {KEPT}."),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_the_sentence(name: str) -> None:
    made, sentence = SENTENCES[name]
    assert made["verdict"] == sentence


@pytest.mark.parametrize("overlap", [0.05, 0.2, 0.39, 0.6, 0.7])
@pytest.mark.parametrize("reference", [0.84, 1.0])
def test_far_from_the_reference_nothing_is_faithful(overlap: float, reference: float) -> None:
    text = document(overlap, reference=reference)["verdict"]
    assert text.startswith("No specific fault found: ")
    assert "ealthy" not in text


def test_a_cause_that_explains_nothing_is_no_headline() -> None:
    offset = cause("offset", "a shared offset hides the differences", 0.0)
    assert document(0.18, causes=[offset])["verdict"].startswith("No single fault explains the loss: 82%")
    unknown = {**offset, "share": None}
    assert document(0.18, causes=[unknown])["verdict"] == f"A shared offset hides the differences: 18% {KEPT}."


def test_without_an_overlap_nothing_is_said() -> None:
    parts: dict[str, Any] = {"causes": [], "accounting": [], "examined": {}}
    undefined = {"overlap@10": {**measures(0.5, 0.5)["overlap@10"], "value": None}}
    assert verdict(parts, undefined, 10).startswith("Undetermined: ")
    assert verdict(parts, {}, 10).startswith("Undetermined: ")


def test_near() -> None:
    assert near(0.9, {"reference": 1.0, "chance": 0.0})
    assert not near(0.89, {"reference": 1.0, "chance": 0.0})
    assert not near(0.1, {"reference": 0.1, "chance": 0.1})  # at chance nothing is kept
