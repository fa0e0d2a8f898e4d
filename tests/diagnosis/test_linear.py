"""Ridge maps against plain float64 transcriptions from the rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from manifold_probe.diagnosis.linear import cross_fitted, explained, fit_ridge, predicted_by_others
from manifold_probe.measures.linear_maps import GENERALISED_STRENGTHS, MIN_FREE_SHARE


def rows(n: int, p: int, q: int = 5, seed: int = 0, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n, p)) * np.geomspace(3, 0.1, p) + draw.normal(size=p)
    return x, x @ draw.normal(size=(p, q)) + noise * draw.normal(size=(n, q)) + draw.normal(size=q)


def naive_weights(x: np.ndarray, y: np.ndarray, strength: float) -> np.ndarray:
    centred = x - x.mean(0)
    return np.linalg.solve(centred.T @ centred + strength * np.eye(x.shape[1]), centred.T @ (y - y.mean(0)))


def naive_strength(x: np.ndarray, y: np.ndarray) -> float:
    centred, target = x - x.mean(0), y - y.mean(0)
    products = centred.T @ centred
    largest = np.linalg.eigvalsh(products)[-1]
    scores = []
    for strength in GENERALISED_STRENGTHS * largest:
        hat = centred @ np.linalg.solve(products + strength * np.eye(x.shape[1]), centred.T)
        free = 1 - (np.trace(hat) + 1) / len(x)
        scores.append(np.square(target - hat @ target).sum() / free**2 if free > MIN_FREE_SHARE else np.inf)
    return float(GENERALISED_STRENGTHS[np.argmin(scores)] * largest)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "p"), [(200, 12), (90, 40), (40, 60), (14, 8), (20, 30)])
def test_the_strength_has_the_least_generalised_cross_validation(n: int, p: int, seed: int) -> None:
    x, y = rows(n, p, seed=seed, noise=3.0)
    found = fit_ridge(x, y)
    assert found.strength == pytest.approx(naive_strength(x, y), rel=1e-8)
    assert np.allclose(found.weights, naive_weights(x, y, found.strength), rtol=1e-6, atol=1e-8)
    assert np.allclose(found.mean_in, x.mean(0))
    assert np.allclose(found.mean_out, y.mean(0))


@pytest.mark.parametrize(("n", "p"), [(200, 10), (60, 30), (40, 60), (50, 50)])
@pytest.mark.parametrize("seed", range(3))
def test_groups_are_told_by_the_others(n: int, p: int, seed: int) -> None:
    x, y = rows(n, p, seed=seed)
    groups = np.random.default_rng(seed).choice([0, 2, 3, 9], n)
    found = predicted_by_others(x, y, groups)
    strength = fit_ridge(x, y).strength
    for group in (0, 2, 3, 9):
        out = groups == group
        learn, target = x[~out], y[~out]
        expected = (x[out] - learn.mean(0)) @ naive_weights(learn, target, strength) + target.mean(0)
        assert np.allclose(found[out], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_an_exact_relation_is_recovered(offset: float) -> None:
    draw = np.random.default_rng(0)
    x, weights = draw.normal(size=(300, 8)) + offset, draw.normal(size=(8, 6))
    y = x @ weights + 5
    found = fit_ridge(x, y)
    assert np.allclose(found.weights, weights, atol=1e-4)
    fresh = draw.normal(size=(50, 8)) + offset
    assert np.allclose(found(fresh), fresh @ weights + 5, atol=1e-4)


def test_many_rows_are_fitted_on_an_even_sample() -> None:
    x, y = rows(6000, 6)
    chosen = np.linspace(0, 5999, 2500).astype(int)
    assert np.allclose(fit_ridge(x, y).weights, fit_ridge(x[chosen], y[chosen]).weights)


@pytest.mark.parametrize("p", [3, 40])
def test_nothing_varies(p: int) -> None:
    x, y = np.full((20, p), 7.0), np.arange(40.0).reshape(20, 2)
    found = fit_ridge(x, y)
    assert not found.weights.any()
    assert found.strength == 0
    groups = np.arange(20) % 2
    told = predicted_by_others(x, y, groups)
    assert np.allclose(told[groups == 0], y[groups == 1].mean(0))
    assert np.allclose(told[groups == 1], y[groups == 0].mean(0))


def test_the_strength_is_that_of_scikit_learn() -> None:
    x, y = rows(200, 12)
    found = fit_ridge(x, y)
    assert np.allclose(found(x), Ridge(alpha=found.strength).fit(x, y).predict(x), atol=1e-6)


def test_cross_fitted_rows_never_see_themselves() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(100, 30)), draw.normal(size=(100, 3))
    fold = np.arange(100) % 2 == 0
    assert explained(y, cross_fitted(x, y, fold)) < 0.1
    assert explained(y, fit_ridge(x, y)(x)) > explained(y, cross_fitted(x, y, fold))
    changed = y.copy()
    changed[fold] += 100
    assert np.allclose(cross_fitted(x, y, fold)[fold], cross_fitted(x, changed, fold)[fold])
