"""One dimension that decides every measure is named, with what the rest says; a large dimension that is kept is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import manifold_probe as mp
from manifold_probe.measures import debiased_linear_cka, neighbourhood_overlap
from manifold_probe.measures.catalogue import DEBIASED_CKA

N = 500
DRAW = np.random.default_rng(0)
CLASSES = DRAW.integers(0, 6, N)
TEACHER = DRAW.normal(size=(6, 32))[CLASSES] + DRAW.normal(size=(N, 32))
STUDENT = TEACHER @ DRAW.normal(size=(32, 24)) / 6 + 0.2 * DRAW.normal(size=(N, 24))
OTHER = DRAW.normal(size=(N, 24))
ROW = np.arange(N)[:, None].astype(float)
TOKENS = DRAW.poisson(200, N)[:, None].astype(float)


def beside(x: np.ndarray, column: np.ndarray, place: int = 0) -> np.ndarray:
    return np.insert(x, place, column[:, 0], axis=1)


def cause(teacher: np.ndarray, student: np.ndarray) -> Any:
    found = mp.diagnose(teacher, student, labels=CLASSES).causes
    return found[0] if found and found[0].name == "dominating_dimension" else None


@pytest.mark.parametrize("column", [ROW, TOKENS, 1e4 * ROW])
def test_a_column_of_both_sides_hides_that_the_rest_is_unrelated(column: np.ndarray) -> None:
    found = cause(beside(TEACHER, column), beside(OTHER, column, 24))
    assert found.where["sides"] == ["teacher", "student"]
    assert found.where["dimensions"] == [0, 24]
    assert found.status == "proved"
    assert found.share == 1
    with_it = debiased_linear_cka(beside(TEACHER, column), beside(OTHER, column, 24))
    assert found.repair["after"] < 0.5 * found.repair["before"]
    if found.repair["measure"].endswith(DEBIASED_CKA.key):
        assert found.repair["before"] == pytest.approx(with_it, abs=1e-3)
        assert found.repair["after"] == pytest.approx(debiased_linear_cka(TEACHER, OTHER), abs=1e-3)
    share = found.evidence[0]["value"]
    variances = beside(TEACHER, column).var(0)
    assert share == pytest.approx(variances[0] / variances.sum(), rel=1e-4)


@pytest.mark.parametrize("side", ["teacher", "student"])
def test_a_column_of_one_side_hides_what_is_kept(side: str) -> None:
    pair = {"teacher": TEACHER, "student": STUDENT}
    pair[side] = beside(pair[side], TOKENS, 5)
    found = cause(pair["teacher"], pair["student"])
    assert found.where["sides"] == [side]
    assert found.where["dimensions"] == [5]
    assert found.repair["after"] > found.repair["before"] + 0.05
    assert found.repair["after"] == pytest.approx(debiased_linear_cka(TEACHER, STUDENT), abs=0.01)


def test_the_verdict_says_both_numbers() -> None:
    found = mp.diagnose(beside(TEACHER, ROW), beside(OTHER, ROW))
    assert found.verdict.startswith("One dimension decides the distances, ")
    assert "with it" in found.verdict
    assert "at the teacher and the student" in found.summary()


def test_a_large_dimension_that_is_no_fault_is_not_named() -> None:
    massive = beside(TEACHER, TOKENS)
    healthy = massive + 0.05 * DRAW.normal(size=massive.shape)
    assert neighbourhood_overlap(massive, healthy) > 0.8
    assert cause(massive, healthy) is None
    related = beside(STUDENT, TOKENS + DRAW.normal(size=TOKENS.shape))
    assert cause(massive, related) is None  # both keep it, and the rest is kept alike
    for plain in (STUDENT, TEACHER, TEACHER * np.exp(DRAW.normal(size=32))):
        assert cause(TEACHER, plain) is None
