"""Corrections, fitted from moments, against plain float64 transcriptions from the rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from manifold_probe.diagnosis import repairs
from manifold_probe.diagnosis.linear import fit_ridge
from manifold_probe.engine.moments import Moments, moments_of

OFFSETS = pytest.mark.parametrize("offset", [0.0, 1e3])
N, D = 150, 9


def rows(offset: float = 0.0, wide: int = D, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(N, D)) @ draw.normal(size=(D, D)) + draw.normal(size=D) + offset
    y = (x - offset) @ draw.normal(size=(D, wide)) + 2 * draw.normal(size=(N, wide)) + draw.normal(size=wide) - offset
    return x, y


def applied(fit: repairs.Fit, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The rows as a repair has them, its moments read in three blocks."""
    moments = Moments()
    for part in np.array_split(np.arange(N), 3):
        moments.update(x[part], y[part])
    weights, offset = fit(moments)
    return x @ weights + offset


def procrustes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The rows turned onto the teacher; scipy wants equal widths, so that the narrower side is filled with zeros."""
    centred, target = x - x.mean(0), y - y.mean(0)
    wide = max(x.shape[1], y.shape[1])
    padded = [np.pad(each, ((0, 0), (0, wide - each.shape[1]))) for each in (centred, target)]
    turn, size = orthogonal_procrustes(*padded)
    return (padded[0] @ turn * size / np.square(centred).sum())[:, : y.shape[1]] + y.mean(0)


@OFFSETS
def test_centring(offset: float) -> None:
    x, y = rows(offset)
    assert np.allclose(applied(repairs.centring, x, y), x - x.mean(0), atol=1e-9)


@OFFSETS
def test_unit_deviation(offset: float) -> None:
    x, y = rows(offset)
    x = x - x.mean(0)
    x = x / x.std(0) * np.array([0.01, 0, 0.2, *np.geomspace(0.5, 20, D - 3)]) + offset
    spread = x.std(0)
    floor = 0.05 * np.median(spread)
    assert (spread < floor).sum() == 2
    found = applied(repairs.unit_deviation, x, y)
    assert np.allclose(found, (x - x.mean(0)) / np.maximum(spread, floor), atol=1e-8)
    assert np.allclose(found[:, spread > floor].std(0), 1)
    assert np.allclose(found[:, :2].std(0), [0.01 / floor, 0])


@OFFSETS
@pytest.mark.parametrize("wide", [D, D + 4, D - 4])
def test_orthogonal_is_scipys_procrustes(offset: float, wide: int) -> None:
    x, y = rows(offset, wide)
    assert np.allclose(applied(repairs.orthogonal, x, y), procrustes(x, y), atol=1e-8)


@OFFSETS
def test_a_planted_turn_is_undone(offset: float) -> None:
    x, _ = rows(offset)
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(D, D)))
    y = 0.3 * (x - offset) @ turn - offset
    weights, _ = repairs.orthogonal(moments_of(x, y))
    assert np.allclose(weights, 0.3 * turn, atol=1e-10)
    assert np.allclose(applied(repairs.orthogonal, x, y), y, atol=1e-8)


@OFFSETS
@pytest.mark.parametrize("wide", [D, 3])
def test_ridge(offset: float, wide: int) -> None:
    x, y = rows(offset, wide)
    assert np.allclose(applied(repairs.ridge, x, y), fit_ridge(x - offset, y)(x - offset), atol=1e-7)


@OFFSETS
def test_deviations(offset: float) -> None:
    x, y = rows(offset, 4)
    for found, side in zip(repairs.deviations(moments_of(x, y)), (x, y), strict=True):
        assert np.allclose(found, side.std(0), rtol=1e-9)


@OFFSETS
def test_the_teachers_mean_size_and_deviations(offset: float) -> None:
    x, y = rows(offset)
    size = np.sqrt(y.var(0).sum() / x.var(0).sum())
    moved = applied(repairs.teacher_mean, x, y)
    assert np.allclose(moved, size * (x - x.mean(0)) + y.mean(0), atol=1e-8)
    assert np.allclose(applied(repairs.teacher_mean, 1e3 * x, y), moved, atol=1e-6)  # the student's scale is no matter
    found = applied(repairs.teacher_deviations, x, y)
    assert np.allclose(found, (x - x.mean(0)) / x.std(0) * y.std(0) + y.mean(0), atol=1e-8)
    assert np.allclose(found.std(0), y.std(0))


def test_dimensions_that_do_not_vary_are_not_blown_up() -> None:
    x, y = rows()
    x[:, 2:] = 3.3
    assert np.abs(applied(repairs.unit_deviation, x, y)).max() < 10


@OFFSETS
@pytest.mark.parametrize("fit", [repairs.teacher_deviations, repairs.ridge])
def test_a_step_is_its_map_in_single_precision(offset: float, fit: repairs.Fit) -> None:
    x, y = rows(1e3 * offset)
    moments = moments_of(x / 2**20, y / 2**20)
    step = repairs.affine_step(fit(moments), moments.means[0])
    weights, offset = fit(moments)
    expected = x / 2**20 @ weights + offset
    assert np.abs(step(x / 2**20, y) - expected).max() < 3e-6 * np.abs(expected - expected.mean(0)).max()


@pytest.mark.parametrize("curve", [np.sinh, np.cbrt, np.exp, lambda x: x**3])
def test_normal_scores_undo_a_rising_curve(curve: Callable[[np.ndarray], np.ndarray]) -> None:
    x = np.random.default_rng(0).normal(size=(4000, 3)) * np.array([1, 0.5, 2])
    bent = curve(x)
    made = repairs.Scores(bent[:1000])(bent)
    assert made.shape == (4000, 3)
    for column in range(3):
        assert np.corrcoef(x[:, column], made[:, column])[0, 1] > 0.99


def test_normal_scores_of_constant_rows_are_finite() -> None:
    assert np.isfinite(repairs.Scores(np.ones((20, 3)))(np.ones((5, 3)))).all()


@pytest.mark.parametrize("size", [1, 7])
def test_scored_rows_do_not_depend_on_their_batch(size: int) -> None:
    x = np.random.default_rng(0).normal(size=(50, 4)) + 100
    made = repairs.Scores(x)
    batches = [made(x[start : start + size]) for start in range(0, 50, size)]
    assert np.array_equal(np.concatenate(batches), made(x))
