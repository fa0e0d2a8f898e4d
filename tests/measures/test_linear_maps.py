"""Maps fitted from moments against plain float64 transcriptions from the rows, and what is read with parts left out."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.optimize import linear_sum_assignment

from manifold_probe.diagnosis.linear import fit_ridge
from manifold_probe.engine.moments import Moments, grouped, total
from manifold_probe.measures import alignment, dimensions
from manifold_probe.measures.linear_maps import (
    HELD_OUT_STRENGTHS,
    RidgePath,
    generalised_ridge,
    halves,
    held_out_strength,
    orthogonal,
    partners,
    ridge,
    turn_of,
)
from tests.measures.naive import centred, mean_power, ridge_predict

OFFSETS = pytest.mark.parametrize("offset", [0.0, 1e3])
WIDTHS = pytest.mark.parametrize(("dx", "dy"), [(6, 6), (9, 4), (4, 9)])
N = 200


def spaces(dx: int, dy: int, offset: float = 0.0, n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    y = draw.normal(size=(n, dy)) * np.geomspace(3, 0.1, dy) + draw.normal(size=dy)
    x = y @ draw.normal(size=(dy, dx)) + 2 * draw.normal(size=(n, dx)) + draw.normal(size=dx)
    return x + offset, y - offset


def moments(x: np.ndarray, y: np.ndarray) -> Moments:
    """In three blocks."""
    found = Moments()
    for rows in np.array_split(np.arange(len(x)), 3):
        found.update(x[rows], y[rows])
    return found


def in_groups(x: np.ndarray, y: np.ndarray, count: int) -> tuple[list[Moments], np.ndarray]:
    groups = np.random.default_rng(1).permutation(len(x)) % count
    return grouped(x, y, groups, count), groups


def naive_ridge(x: np.ndarray, y: np.ndarray, strength: float) -> np.ndarray:
    a = np.vstack([centred(y), np.sqrt(strength) * np.eye(y.shape[1])])
    found: np.ndarray = np.linalg.lstsq(a, np.vstack([centred(x), np.zeros((y.shape[1], x.shape[1]))]), rcond=None)[0]
    return found


@OFFSETS
@WIDTHS
@pytest.mark.parametrize("strength", [1e-3, 10.0, 1e5])
def test_ridge_is_least_squares_with_extra_rows(dx: int, dy: int, offset: float, strength: float) -> None:
    x, y = spaces(dx, dy, offset)
    m, expected = moments(x, y), naive_ridge(x, y, strength)
    paths = (RidgePath.of(m), RidgePath.of_rows(centred(x), centred(y)))
    for found in (ridge(m, strength), *(path.weights(strength) for path in paths)):
        assert np.allclose(found, expected, rtol=1e-9, atol=1e-11)


def test_a_path_of_fewer_rows_than_dimensions() -> None:
    x, y = spaces(5, 40, n=25)
    path = RidgePath.of_rows(centred(x), centred(y))
    assert path.vectors.shape == (40, 24)
    for strength in (1e-3, 1.0):
        assert np.allclose(path.weights(strength), naive_ridge(x, y, strength), rtol=1e-8, atol=1e-10)
    assert np.allclose(path.vectors.T @ path.vectors, np.eye(24), atol=1e-10)


@OFFSETS
@pytest.mark.parametrize("count", [2, 4, 5, 20])
@pytest.mark.parametrize("noise", [0.0, 1.0, 30.0])
def test_the_strength_predicts_held_out_groups_best(offset: float, count: int, noise: float) -> None:
    x, y = spaces(4, 6, offset)
    x = x + noise * np.random.default_rng(5).normal(size=x.shape)
    parts, groups = in_groups(x, y, count)
    train = groups < (count + 1) // 2
    losses = [
        np.square(x[~train] - ridge_predict(y[train], x[train], y[~train], grid * mean_power(y[train]))).sum()
        for grid in HELD_OUT_STRENGTHS
    ]
    assert held_out_strength(parts) == pytest.approx(HELD_OUT_STRENGTHS[np.argmin(losses)] * mean_power(y), rel=1e-9)


def test_one_group_cannot_choose_a_strength() -> None:
    x, y = spaces(4, 6)
    assert held_out_strength(in_groups(x, y, 1)[0]) == pytest.approx(1e-6 * mean_power(y))


@OFFSETS
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rows", [slice(None), slice(26)])
def test_generalised_ridge_is_that_of_the_rows(offset: float, seed: int, rows: slice) -> None:
    x, y = (each[rows] for each in spaces(5, 20, offset, seed=seed))
    assert np.allclose(generalised_ridge(moments(x, y)), fit_ridge(y, x).weights, rtol=1e-6, atol=1e-8)


def test_generalised_ridge_where_dimensions_repeat_or_nothing_varies() -> None:
    x, y = spaces(5, 12)
    y = np.concatenate([y, y[:, :5]], axis=1)
    found = generalised_ridge(moments(x, y))
    assert np.allclose(found, fit_ridge(y, x).weights, rtol=1e-6, atol=1e-8)
    assert np.allclose(found[:5], found[12:])
    assert not generalised_ridge(moments(x, np.full(y.shape, 7.0))).any()


@OFFSETS
@WIDTHS
def test_orthogonal_is_scipys_procrustes(dx: int, dy: int, offset: float) -> None:
    x, y = spaces(dx, dy, offset)
    wide = max(dx, dy)  # scipy wants equal widths: the narrower side is filled with zeros
    padded = [np.pad(centred(each), ((0, 0), (0, wide - each.shape[1]))) for each in (y, x)]
    turn, reached = orthogonal_procrustes(*padded)
    found = orthogonal(moments(x, y))
    assert np.allclose(centred(y) @ found, (padded[0] @ turn)[:, :dx], atol=1e-8)
    assert turn_of(moments(x, y))[1] == pytest.approx(reached, rel=1e-9)
    assert np.vdot(centred(x), centred(y) @ found) == pytest.approx(reached, rel=1e-9)
    assert np.allclose(found.T @ found if dx <= dy else found @ found.T, np.eye(min(dx, dy)), atol=1e-12)


@OFFSETS
@WIDTHS
@pytest.mark.parametrize("mirrored", [False, True])
def test_partners_correlate_most(dx: int, dy: int, offset: float, mirrored: bool) -> None:
    x, y = spaces(dx, dy, offset, seed=3)
    correlation = np.corrcoef(x.T, y.T)[:dx, dx:]
    counted = np.abs(correlation) if mirrored else correlation
    rows, columns = linear_sum_assignment(-counted)
    found, reached = partners(moments(x, y), mirrored)
    expected = np.full(dx, -1)
    expected[rows] = columns
    assert found.tolist() == expected.tolist()
    there = found >= 0
    assert np.allclose(reached[there], correlation[there, found[there]], atol=1e-9)
    assert not reached[~there].any()
    few, many = counted if dx <= dy else counted.T, max(dx, dy)
    if many < 8:
        best = max(sum(few[i, j] for i, j in enumerate(order)) for order in permutations(range(many), len(few)))
        assert counted[there, found[there]].sum() == pytest.approx(best)


def test_what_does_not_vary_has_no_correlation() -> None:
    x, y = spaces(4, 4)
    x[:, 1], y[:, 2] = 0.1, 0.1 * (1 + 1e-15 * np.arange(N))  # the second varies by rounding alone
    found, reached = partners(moments(x, y))
    assert reached[1] == 0
    assert not reached[found == 2].any()
    assert sorted(found.tolist()) == [0, 1, 2, 3]


@OFFSETS
@WIDTHS
def test_errors_and_squares_are_those_of_the_rows(dx: int, dy: int, offset: float) -> None:
    x, y = spaces(dx, dy, offset)
    parts, groups = in_groups(x, y, 5)
    for half, fitted in zip(halves(parts), (groups < 3, groups >= 3), strict=True):
        predicted = ridge_predict(y[fitted], x[fitted], y, half.strength)
        for m, rows in ((half.read_total, ~fitted), (parts[4], groups == 4), (half.fit_total, fitted)):
            assert half.errors(m) == pytest.approx(np.square(x[rows] - predicted[rows]).sum(), rel=1e-9)
            assert half.squares(m) == pytest.approx(np.square(x[rows] - x[fitted].mean(0)).sum(), rel=1e-9)
        assert np.allclose(half.ridge, naive_ridge(x[fitted], y[fitted], half.strength), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("seed", range(100))
def test_a_map_without_errors_has_none_below_zero(seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(46, 1)) + 0.3
    both = halves(in_groups(x, x, 20)[0])
    assert all(half.errors(half.read_total) >= 0 for half in both)
    assert alignment.ridge_r2(both) <= 1


@OFFSETS
def test_leaving_a_group_out_is_right_to_first_order(offset: float) -> None:
    x, y = spaces(5, 7, offset, n=4000)
    parts, groups = in_groups(x, y, 20)
    both = halves(parts)
    first = groups < 10
    expected = []
    for group in range(20):
        kept, errors, squares = groups != group, 0.0, 0.0
        for half, fitted in zip(both, (first, ~first), strict=True):
            fit, read = kept & fitted, kept & ~fitted
            errors += np.square(x[read] - ridge_predict(y[fit], x[fit], y[read], half.strength)).sum()
            squares += np.square(x[read] - x[fit].mean(0)).sum()
        expected.append(1 - errors / squares)
    found = alignment.ridge_r2_without(both)
    assert np.abs(found - expected).max() < 0.1 * np.std(expected)
    m = total(parts)
    value, without = alignment.procrustes_jackknifed(m, parts)
    exact = np.array([alignment.procrustes(m - part) for part in parts])
    assert value == pytest.approx(alignment.procrustes(m), rel=1e-12)
    assert np.abs(without - exact).max() < 0.05 * exact.std()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    offset=st.floats(-1e3, 1e3),
    scale=st.floats(1e-6, 1e6),
    far=st.sampled_from([1.0, 5.0, 30.0]),
    widths=st.tuples(st.integers(2, 6), st.integers(2, 6)),
)
def test_measures_without_a_part_are_those_of_the_rest(
    seed: int, offset: float, scale: float, far: float, widths: tuple[int, int]
) -> None:
    x, y = spaces(*widths, seed=seed)
    x[7] *= far
    x, y = scale * (x + offset), y + offset
    parts, _ = in_groups(x, y, 6)
    m = total(parts)
    rest = [m - part for part in parts]
    biased, debiased = alignment.ckas_without(m, parts)
    assert np.allclose(biased, [alignment.cka(each) for each in rest], rtol=1e-12, atol=1e-12)
    assert np.allclose(debiased, [alignment.debiased_cka(each) for each in rest], rtol=1e-12, atol=1e-12)
    if widths[0] == widths[1]:
        for found, measure in zip(
            dimensions.each_without(m, parts), (dimensions.correlations, dimensions.column_cosines), strict=True
        ):
            assert np.array_equal(found, [measure(each) for each in rest])


@pytest.mark.parametrize("far", [1e2, 1e3, 1e4])
def test_the_rest_of_a_part_that_decides_everything(far: float) -> None:
    x, y = spaces(4, 3)
    x[7], y[7] = far * x[7], far * y[7]
    groups = np.arange(N) % 4
    parts = [Moments(np.zeros(4), np.zeros(3)).update(x[groups == part], y[groups == part]) for part in range(4)]
    rest = Moments(np.zeros(4), np.zeros(3)).update(x[groups != 3], y[groups != 3])
    biased, debiased = alignment.ckas_without(total(parts), parts)
    assert biased[3] == pytest.approx(alignment.cka(rest), abs=1e-16 * far**2)
    assert debiased[3] == pytest.approx(alignment.debiased_cka(rest), abs=1e-19 * far**4 + 1e-13)


@OFFSETS
def test_effective_ranks_without_a_part_keep_the_eigenvectors(offset: float) -> None:
    x, y = spaces(9, 4, offset)
    parts, groups = in_groups(x, y, 5)
    values, vectors = np.linalg.eigh(x.T @ x)
    value, without = dimensions.effective_ranks(total(parts), parts)
    assert value == pytest.approx(dimensions.rankme(x), rel=1e-7)
    for part, found in enumerate(without):
        left = values - np.square(x[groups == part] @ vectors).sum(0)
        assert found == pytest.approx(dimensions.effective_rank(np.sqrt(np.maximum(left, 0))), rel=1e-7)


@OFFSETS
@WIDTHS
@pytest.mark.parametrize("kind", dimensions.MAPS)
def test_correlations_after_a_map_are_those_of_the_rows_it_was_not_fitted_on(
    dx: int, dy: int, offset: float, kind: str
) -> None:
    x, y = spaces(dx, dy, offset)
    parts, groups = in_groups(x, y, 6)
    both = halves(parts)
    found, without = dimensions.held_out_correlations(both, kind, leave_out=True)
    assert np.allclose(dimensions.held_out_correlations(both, kind, leave_out=False)[0], found, equal_nan=True)

    def read(half: int, kept: np.ndarray) -> list[float]:
        m, rows = both[half].fit_total, kept & ((groups < 3) != (half == 0))
        partner = partners(m)[0]
        weights = both[half].ridge if kind == "ridge" else orthogonal(m)
        mapped = y[:, partner] if kind == "permutation" else y @ weights
        lone = [kind == "permutation" and partner[i] < 0 for i in range(dx)]
        return [np.nan if lone[i] else np.corrcoef(x[rows, i], mapped[rows, i])[0, 1] for i in range(dx)]

    for kept, values in ((groups >= 0, found), *((groups != part, without[part]) for part in range(6))):
        each = np.array([read(half, kept) for half in (0, 1)])
        expected = [np.mean(column[~np.isnan(column)]) if not np.isnan(column).all() else np.nan for column in each.T]
        assert np.allclose(values, expected, atol=1e-8, equal_nan=True)
