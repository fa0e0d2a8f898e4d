"""Chance, class chance and reference say what they claim: independent data, class means, principal components."""

import numpy as np
import pytest

from manifold_probe.measures.measure import measure_students
from manifold_probe.measures.results import Measured
from tests.measures import cases

WITH_CLASS_CHANCE = ("linear_cka", "debiased_linear_cka", "procrustes", "linear_r2", "norm_correlation")
WITH_CLASS_CHANCE += ("overlap@10", "overlap@10:euclidean", "knn_agreement@10", "knn_kappa@10")
WITH_CLASS_CHANCE += tuple(f"per_dimension_correlation:{kind}" for kind in ("permutation", "orthogonal", "ridge"))


def measured(x: np.ndarray, y: np.ndarray, labels: np.ndarray | None = None, **options: int) -> dict[str, Measured]:
    return measure_students(cases.paired(x, y, labels), **options)["student"].measures


def within(measure: Measured, expected: float | None, errors: float = 4.0) -> bool:
    assert measure.value is not None
    assert expected is not None
    assert measure.estimate.standard_error is not None
    return abs(measure.value - expected) <= errors * measure.estimate.standard_error + 1e-12


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("n", "widths"), [(300, (8, 8)), (500, (24, 10)), (800, (6, 30)), (1500, (12, 12))])
def test_independent_spaces_score_chance(n: int, widths: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (rng.normal(size=(n, d)) + 0.3 for d in widths)
    found = measured(x, y, rng.integers(0, 5, n))
    checked = {key: within(m, m.chance) for key, m in found.items() if m.chance is not None}
    assert {key for key, fine in checked.items() if not fine} == set()
    assert len(checked) >= (18 if widths[0] == widths[1] else 16)
    assert found["linear_cka"].chance > 5e-3  # biased: its chance is far from 0
    assert found["procrustes"].chance > 0.05


def test_chance_of_sampled_queries() -> None:
    rng = np.random.default_rng(3)
    found = measured(rng.normal(size=(2000, 10)), rng.normal(size=(2000, 8)), rng.integers(0, 4, 2000), queries=300)
    wrong = [key for key, m in found.items() if m.chance is not None and not within(m, m.chance)]
    assert wrong == []


@pytest.mark.parametrize("seed", [0, 1])
def test_a_student_of_the_classes_alone_scores_class_chance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, 900)
    x = 2 * rng.normal(size=(5, 8))[labels] + rng.normal(size=(900, 8))
    y = 2 * rng.normal(size=(5, 6))[labels] + rng.normal(size=(900, 6))
    found = measured(x, y, labels)
    wrong = [key for key in WITH_CLASS_CHANCE if not within(found[key], found[key].class_chance)]
    assert wrong == []
    for key in ("debiased_linear_cka", "overlap@10", "knn_agreement@10"):
        assert found[key].class_chance > found[key].chance + 4 * found[key].estimate.standard_error, key


def test_a_faithful_student_is_far_above_class_chance() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 500)
    x = 2 * rng.normal(size=(5, 8))[labels] + rng.normal(size=(500, 8))
    found = measured(x, x @ cases.rotation(8), labels)
    assert found["overlap@10"].value == 1.0
    assert found["overlap@10"].class_chance < 0.2


@pytest.mark.parametrize("mean", [0.0, 2.0])
def test_the_first_principal_components_score_the_reference(mean: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 10)) * np.linspace(3, 0.5, 10)
    x -= x.mean(0)
    directions = np.linalg.svd(x, full_matrices=False)[2][:4].T
    x += mean * directions.sum(1)  # the mean lies in the span, so that four columns hold it
    found = measured(x, x @ directions, rng.integers(0, 3, 400))
    # the reference is turned back into the teacher's axes, which a permutation cannot do for a student
    axes = ("per_dimension_correlation:permutation", "space_similarity", "per_dimension_correlation")
    checked = [key for key, m in found.items() if m.reference is not None and key not in axes]
    for key in checked:
        # the reference keeps empty columns: they enter the ridge's strength and RankMe's epsilon
        tolerance = 1e-3 if key in ("linear_r2", "per_dimension_correlation:ridge", "rankme_student") else 1e-6
        assert found[key].value == pytest.approx(found[key].reference, abs=tolerance), key
    assert {"linear_cka", "debiased_linear_cka", "linear_r2", "overlap@10", "knn_agreement@10"} <= set(checked)
    assert found["overlap@10"].reference < 0.95


@pytest.mark.parametrize("width", [2, 5])
def test_no_student_of_that_width_beats_the_reference_cka(width: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 8)) * np.linspace(2, 1, 8)
    for seed in range(3):
        found = measured(x, cases.student_of(x, width, noise=0.0, seed=seed))
        assert found["linear_cka"].value < found["linear_cka"].reference
