"""What tells a bent space from a straight one, against known curves and distributions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from manifold_probe.diagnosis.causes.nonlinear_warp import Lift, by_ranks, by_ranks_of, kurtosis, link_gain
from manifold_probe.diagnosis.linear import main_axes

N, D = 4000, 10


def halves(n: int = N, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, 9]).permutation(n) < n // 2


@pytest.mark.parametrize("noise", [0.1, 0.5, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_noise_on_a_straight_image_is_no_curve(noise: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    image = draw.normal(size=(N, D)) * np.geomspace(3, 0.2, D) + draw.normal(size=D)
    student = 2 * image + noise * draw.normal(size=(N, D)) - 1
    gained, left = link_gain(student, image, halves(), np.ones(N, bool))
    assert -0.01 < gained < 0.01
    assert left == pytest.approx(D * noise**2 / np.square(student - student.mean(0)).sum(1).mean(), rel=0.05)


def test_a_rectified_image_is_a_curve() -> None:
    draw = np.random.default_rng(0)
    image = draw.normal(size=(N, D)) * np.geomspace(3, 0.2, D)
    gained, left = link_gain(np.maximum(image, 0), image, halves(), np.ones(N, bool))
    variance = 1 / 2 - 1 / (2 * np.pi)  # of max(0, x), a quarter of which a straight line has
    assert left == pytest.approx(1 - 0.25 / variance, abs=0.02)
    assert gained > 0.98
    noisy = np.maximum(image, 0) + 0.3 * image.std(0) * draw.normal(size=(N, D))
    bent, noise = variance - 0.25, 0.3**2
    found = link_gain(noisy, image, halves(), np.ones(N, bool))
    assert found[0] == pytest.approx(bent / (bent + noise), abs=0.04)


def test_only_rows_that_count_are_looked_at() -> None:
    draw = np.random.default_rng(0)
    image = draw.normal(size=(600, 4))
    student = np.maximum(image, 0) + 0.2 * draw.normal(size=(600, 4))
    keep = np.arange(600) % 5 != 0
    fold = halves(600)
    expected = link_gain(student[keep], image[keep], fold[keep], np.ones(keep.sum(), bool))
    student[~keep], image[~keep] = 1e4, -1e4
    assert link_gain(student, image, fold, keep) == pytest.approx(expected)


def test_kurtosis_of_known_distributions() -> None:
    places = (np.arange(400_000) + 0.5) / 400_000
    known = {scipy.stats.uniform: 1.8, scipy.stats.norm: 3.0, scipy.stats.logistic: 4.2, scipy.stats.laplace: 6.0}
    x = np.stack([10 + 3 * each.ppf(places) for each in known], axis=1)
    assert np.allclose(kurtosis(x), list(known.values()), rtol=0.01)
    assert kurtosis(np.array([[-1.0, 2.0], [1.0, 2.0]])) == pytest.approx([1, 0])
    skewed = np.random.default_rng(0).exponential(size=(500, 7))
    assert np.allclose(kurtosis(skewed), scipy.stats.kurtosis(skewed, fisher=False))


@pytest.mark.parametrize(("n", "d"), [(200, 12), (30, 80), (40, 40)])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_main_axes_are_those_of_the_decomposition(n: int, d: int, offset: float) -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(n, d)) * np.geomspace(5, 0.1, d) @ np.linalg.qr(draw.normal(size=(d, d)))[0] + offset
    _, _, axes = np.linalg.svd(x - x.mean(0), full_matrices=False)
    found = main_axes(x, 8)
    assert found.shape == (d, 8)
    assert np.allclose(found.T @ found, np.eye(8), atol=1e-8)
    assert np.allclose(np.abs(np.diag(axes[:8] @ found)), 1, atol=1e-8)
    spread = ((x - x.mean(0)) @ found).var(0)
    assert (np.diff(spread) < 0).all()


@pytest.mark.parametrize("size", [1, 7, 64])
def test_lifted_rows_do_not_depend_on_their_batch(size: int) -> None:
    x = np.random.default_rng(0).normal(size=(150, 9)).astype(np.float32) + 100
    made = Lift(x, 3)
    whole = made(x)
    assert whole.shape == (150, 9 + 512)
    batches = [made(x[start : start + size]) for start in range(0, 150, size)]
    assert np.allclose(np.concatenate(batches), whole, rtol=0, atol=1e-10)
    order = np.random.default_rng(1).permutation(150)
    assert np.allclose(made(x[order]), whole[order], rtol=0, atol=1e-10)


def test_a_lift_follows_its_seed_and_its_rows() -> None:
    x = np.random.default_rng(0).normal(size=(150, 9))
    assert np.array_equal(Lift(x, 3)(x), Lift(x, 3)(x))
    assert not np.allclose(Lift(x, 3)(x)[:, 9:], Lift(x, 4)(x)[:, 9:])
    assert np.allclose(Lift(x, 3)(x), Lift(50 * x + 7, 3)(50 * x + 7), atol=1e-8)
    straight = Lift(x, 3)(x)[:, :9]
    largest = np.linalg.svd(x - x.mean(0), compute_uv=False)[0] / np.sqrt(150)
    assert np.allclose(straight, (x - x.mean(0)) / largest)


def test_ranks_undo_a_rising_curve() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(500, 4)) * np.array([1, 2, 5, 0.1])
    keep = np.ones(500, bool)
    found = by_ranks(np.sinh(x / x.std(0)), keep)
    shape = by_ranks(x, keep)
    normal = [(each - each.mean(0)) / each.std(0) for each in (found, shape)]
    assert np.allclose(*normal, atol=1e-4)
    quantiles = scipy.stats.norm.ppf(np.arange(1, 501) / 501)[:, None]
    assert np.allclose(np.sort(shape, axis=0), quantiles * x.std(0) + x.mean(0), atol=1e-5)


def test_equal_values_share_their_mean_rank() -> None:
    x = np.random.default_rng(0).integers(0, 5, (60, 3)).astype(np.float32)
    quantiles = scipy.stats.norm.ppf(scipy.stats.rankdata(x, axis=0) / 61)
    assert np.array_equal(by_ranks(x, np.ones(60, bool)), (quantiles * x.std(0) + x.mean(0)).astype(np.float32))


def test_directions_get_the_images_distribution() -> None:
    draw = np.random.default_rng(0)
    image = draw.normal(size=(4000, 3)) * np.array([1, 2, 5])
    keep, fold = np.ones(4000, bool), halves()
    bent = np.sign(image) * np.abs(image) ** 2.5
    found = by_ranks_of(bent, image, fold, keep)
    assert kurtosis(bent).min() > 15
    assert (kurtosis(found) < kurtosis(bent) / 2).all()  # the few values beyond the last quantile stay as far out
    inner = np.abs(image) < 2 * image.std(0)
    for column in range(3):
        some = inner[:, column]
        assert np.corrcoef(found[some, column], image[some, column])[0, 1] > 0.999
    assert np.allclose(by_ranks_of(image, image, fold, keep), image, atol=0.5 * image.std(0).max())
