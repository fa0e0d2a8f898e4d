"""Affine repairs, fitted from moments, against plain float64 transcriptions from the rows."""

from __future__ import annotations

from itertools import permutations

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
def test_global_scale(offset: float) -> None:
    x, y = rows(offset)
    sizes = [np.sqrt(np.square(each - each.mean(0)).sum()) for each in (x, y)]
    found = applied(repairs.global_scale, x, y)
    assert np.allclose(found, x * sizes[1] / sizes[0])
    assert np.square(found - found.mean(0)).sum() == pytest.approx(sizes[1] ** 2)


@OFFSETS
def test_top_components_removed(offset: float) -> None:
    x, y = rows(offset)
    centred = x - x.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    expected = centred - centred @ axes[:3].T @ axes[:3]
    found = applied(repairs.top_components_removed, x, y)
    assert np.allclose(found, expected, atol=1e-8)
    assert np.allclose(found @ axes[:3].T, 0, atol=1e-8)
    assert np.allclose(found @ axes[3:].T, centred @ axes[3:].T, atol=1e-8)


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
def test_a_planted_permutation_is_recovered(offset: float) -> None:
    draw = np.random.default_rng(1)
    x = draw.normal(size=(N, D)) * np.geomspace(0.1, 10, D) + offset
    planted = np.zeros((D, D))
    planted[np.arange(D), draw.permutation(D)] = np.where(np.arange(D) % 3, 1, -1) * draw.uniform(0.2, 5, D)
    y = (x - offset) @ planted + draw.normal(size=D) - offset
    weights, _ = repairs.permutation(moments_of(x, y))
    assert np.allclose(weights, planted, rtol=1e-8, atol=1e-10)
    assert np.allclose(applied(repairs.permutation, x, y), y, atol=1e-7)


@OFFSETS
@pytest.mark.parametrize("wide", [4, 6])
def test_permutation_has_the_most_correlation(offset: float, wide: int) -> None:
    x, y = rows(offset, wide)
    x = x[:, :5]
    correlation = np.corrcoef(x.T, y.T)[:5, 5:]
    if wide < 5:
        best = max(permutations(range(5), wide), key=lambda at: sum(abs(correlation[at[j], j]) for j in range(wide)))
        matched = {row: column for column, row in enumerate(best)}
    else:
        best = max(permutations(range(wide), 5), key=lambda at: sum(abs(correlation[i, at[i]]) for i in range(5)))
        matched = dict(enumerate(best))
    expected = np.tile(y.mean(0), (N, 1))
    for row, column in matched.items():
        z = (x[:, row] - x[:, row].mean()) / x[:, row].std()
        expected[:, column] += z * y[:, column].std() * np.sign(correlation[row, column])
    assert np.allclose(applied(repairs.permutation, x, y), expected, atol=1e-8)


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
@pytest.mark.parametrize("wide", [D, 3])
def test_direction_removed(offset: float, wide: int) -> None:
    x, y = rows(offset, wide)
    untold = x - fit_ridge(y, x)(y)
    _, _, axes = np.linalg.svd(untold - untold.mean(0), full_matrices=False)
    centred = x - x.mean(0)
    expected = centred - np.outer(centred @ axes[0], axes[0])
    assert np.allclose(applied(repairs.direction_removed, x, y), expected, atol=1e-6)


@OFFSETS
def test_a_planted_direction_is_removed(offset: float) -> None:
    draw = np.random.default_rng(2)
    y = draw.normal(size=(N, D))
    direction = draw.normal(size=D)
    direction /= np.linalg.norm(direction)
    x = y + 0.01 * draw.normal(size=(N, D)) + np.outer(20 * draw.normal(size=N), direction) + offset
    weights, _ = repairs.direction_removed(moments_of(x, y))
    assert np.allclose(weights, np.eye(D) - np.outer(direction, direction), atol=0.01)
    found = applied(repairs.direction_removed, x, y)
    left = y - y.mean(0) - np.outer((y - y.mean(0)) @ direction, direction)
    assert np.abs(found - left).max() < 0.5
    assert np.abs((x - x.mean(0)) - left).max() > 10


@OFFSETS
def test_deviations(offset: float) -> None:
    x, y = rows(offset, 4)
    for found, side in zip(repairs.deviations(moments_of(x, y)), (x, y), strict=True):
        assert np.allclose(found, side.std(0), rtol=1e-9)
