"""What repairs are judged by, against plain loops and against the measures."""

from __future__ import annotations

import numpy as np
import pytest
from manifold_probe.diagnosis.faithfulness import Yardstick, evened, gain, nearest, shape_likeness
from sklearn.linear_model import Ridge

from manifold_probe.diagnosis.linear import cross_fitted, explained, fit_ridge
from manifold_probe.measures import debiased_linear_cka


def pair(n: int = 60, d: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    teacher = draw.normal(size=(n, d))
    return teacher, teacher @ draw.normal(size=(d, d)) + 0.3 * draw.normal(size=(n, d))


def naive_nearest(x: np.ndarray, row: int, k: int, metric: str, among: np.ndarray) -> set[int]:
    if metric == "cosine":
        scores = {j: x[row] @ x[j] / np.linalg.norm(x[row]) / np.linalg.norm(x[j]) for j in among if j != row}
    else:
        scores = {j: -np.linalg.norm(x[row] - x[j]) for j in among if j != row}
    return set(sorted(scores, key=lambda j: -scores[j])[:k])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_overlap_is_that_of_each_half(metric: str) -> None:
    teacher, student = pair()
    fold = np.arange(60) % 3 == 0
    keep = np.arange(60) % 7 != 0
    found = Yardstick(teacher, fold, 5, np.arange(60)).of(student, keep).overlap[metric]
    for row in range(60):
        among = np.flatnonzero((fold == fold[row]) & keep)
        if not keep[row]:
            assert np.isnan(found[row])
            continue
        both = [naive_nearest(x, row, 5, metric, among) for x in (teacher, student)]
        assert found[row] == pytest.approx(len(both[0] & both[1]) / 5)


@pytest.mark.parametrize(("n", "d"), [(40, 60), (200, 10)])
def test_likeness_is_debiased_cka(n: int, d: int) -> None:
    teacher, student = pair(n, d)
    assert shape_likeness(teacher, student) == pytest.approx(debiased_linear_cka(teacher, student), abs=1e-5)


def test_gains_are_paired() -> None:
    teacher, student = pair()
    yardstick = Yardstick(teacher, np.arange(60) < 30, 5, np.arange(60))
    before, after = yardstick.of(student), yardstick.of(teacher)
    moved = gain(before, after)
    assert moved.after == 1
    assert moved.value == pytest.approx(1 - before.mean())
    assert moved.error == pytest.approx(1.25 * np.std(1 - before.overlap["cosine"], ddof=1) / np.sqrt(60))


def test_a_row_is_never_its_own_neighbour() -> None:
    x = np.repeat(np.random.default_rng(0).normal(size=(10, 4)), 3, axis=0)
    for lists in (nearest(x, np.arange(30), 5, "cosine"), nearest(x, np.arange(30), 5, "euclidean")):
        assert not (lists == np.arange(30)[:, None]).any()
    assert not (evened(x, np.arange(30), 5) == np.arange(30)[:, None]).any()


def test_ridge_is_scikit_learns_at_the_strength_it_chose() -> None:
    x, y = pair(200, 12)
    found = fit_ridge(x, y)
    errors = []
    for strength in np.logspace(-6, 1, 22):
        values = np.linalg.svd(x - x.mean(0), compute_uv=False)[0] ** 2
        other = Ridge(alpha=strength * values).fit(x, y)
        errors.append(np.abs(other.predict(x) - found(x)).max())
    assert min(errors) < 1e-6


def test_cross_fitted_rows_never_see_themselves() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(100, 30)), draw.normal(size=(100, 3))
    fold = np.arange(100) % 2 == 0
    assert explained(y, cross_fitted(x, y, fold)) < 0.1
    assert explained(y, fit_ridge(x, y)(x)) > explained(y, cross_fitted(x, y, fold))
    changed = y.copy()
    changed[fold] += 100
    assert np.allclose(cross_fitted(x, y, fold)[fold], cross_fitted(x, changed, fold)[fold])


def test_constant_spaces_give_constant_maps() -> None:
    found = fit_ridge(np.ones((20, 3)), np.arange(20.0)[:, None])
    assert np.allclose(found(np.ones((2, 3))), 9.5)
