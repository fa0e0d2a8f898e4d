"""The watch gives what the measures of their names give, and no more than a None where one is undefined."""

from __future__ import annotations

import time

import numpy as np
import pytest

from manifold_probe import measures
from manifold_probe.errors import InputError
from manifold_probe.evaluation.watch import watched

RNG = np.random.default_rng(0)
TEACHER = RNG.normal(size=(120, 6))
STUDENT = TEACHER + 0.4 * RNG.normal(size=(120, 6))
LABELS = RNG.integers(0, 3, 120)


def test_the_values_are_the_measures() -> None:
    found = watched(STUDENT, TEACHER, LABELS, k=5)
    assert found == pytest.approx(
        {
            "overlap@5": measures.neighbourhood_overlap(TEACHER, STUDENT, 5),
            "debiased_linear_cka": measures.debiased_linear_cka(TEACHER, STUDENT),
            "norm_correlation": measures.norm_correlation(TEACHER, STUDENT),
            "per_dimension_correlation": np.median(measures.per_dimension_correlation(TEACHER, STUDENT)),
            "space_similarity": np.median(measures.space_similarity(TEACHER, STUDENT)),
            "knn_agreement@5": measures.knn_agreement(TEACHER, STUDENT, LABELS, 5),
            "knn_accuracy_teacher@5": measures.knn_accuracy(TEACHER, LABELS, 5),
            "knn_accuracy_student@5": measures.knn_accuracy(STUDENT, LABELS, 5),
        }
    )
    assert watched(STUDENT, TEACHER, LABELS, k=5) == found


def test_widths_may_differ_and_a_collapsed_student_is_no_crash() -> None:
    assert watched(STUDENT[:, :3], TEACHER)["per_dimension_correlation"] is None
    flat = watched(np.ones((120, 6)), TEACHER, LABELS)
    assert flat["debiased_linear_cka"] is None
    assert flat["norm_correlation"] is None
    assert 0 <= (flat["overlap@10"] or 0) < 0.2


def test_rows_of_one_length_have_no_correlation_of_norms() -> None:
    unit = (TEACHER / np.linalg.norm(TEACHER, axis=1, keepdims=True)).astype(np.float32)
    assert watched(STUDENT, unit)["norm_correlation"] is None
    assert watched(unit, TEACHER)["norm_correlation"] is None


def test_what_cannot_be_watched() -> None:
    with pytest.raises(InputError, match="NaN"):
        watched(STUDENT * np.nan, TEACHER)
    with pytest.raises(InputError, match="k = 200"):
        watched(STUDENT, TEACHER, k=200)


def test_it_is_quick_enough_for_every_epoch() -> None:
    teacher, student = RNG.normal(size=(2000, 1280)), RNG.normal(size=(2000, 128))
    start = time.process_time()
    watched(student, teacher, RNG.integers(0, 10, 2000))
    assert time.process_time() - start < 3  # half a second on a quiet core
