"""The neighbour search is exact: against brute force in extended precision, on data that break fast searches."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.neighbours import search
from manifold_probe.errors import InputError
from manifold_probe.measures import Neighbours
from manifold_probe.spaces.space import Space
from tests.measures import naive


def dense(found: Neighbours) -> np.ndarray:
    """Membership weights (q, n) with everything spelt out."""
    weights = np.zeros((len(found.queries), found.n))
    for i, (rows, shares) in enumerate(zip(found.members, found.weights, strict=True)):
        for row, share in zip(rows, shares, strict=True):
            if row >= 0:
                weights[i, row] += share
    return weights


def gaussian(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(80, 5))


def outliers(rng: np.random.Generator) -> np.ndarray:
    x = rng.normal(size=(80, 5))
    x[[3, 60, 61]] *= 1e6
    return x


def half_precision(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(80, 3)).astype(np.float16)


def copies(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(20, 4))[rng.integers(0, 20, 80)]


def zeros_and_constants(rng: np.random.Generator) -> np.ndarray:
    x = rng.normal(size=(80, 4))
    x[10:13], x[40:60] = 0, 2.5
    return x


CLOUDS: dict[str, Callable] = {
    "gaussian": gaussian,
    "grid": lambda rng: rng.integers(1, 4, size=(80, 3)),
    "copies": copies,
    "zeros_and_constants": zeros_and_constants,
    "outliers": outliers,
    "offset": lambda rng: rng.normal(size=(80, 5)) + 1e6,
    "float16": half_precision,
    "one_column": lambda rng: rng.normal(size=(80, 1)),
    "all_equal": lambda rng: np.full((80, 3), 0.1),
    "tiny": lambda rng: rng.normal(size=(80, 4)) * 1e-30,
    "huge": lambda rng: rng.normal(size=(80, 4)) * 1e30,
    "wide": lambda rng: rng.normal(size=(60, 200)),
}


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("name", CLOUDS)
def test_equals_brute_force(name: str, metric: str) -> None:
    x = CLOUDS[name](np.random.default_rng(1))
    for k in (1, 10, len(x) - 1):
        found = Neighbours.search(x, k, metric)
        np.testing.assert_allclose(dense(found), naive.shares(x.astype(float), k, metric), atol=1e-9, err_msg=str(k))
        np.testing.assert_allclose(found.weights.sum(1), k, atol=1e-9)
        assert not (found.members == found.queries[:, None]).any()
        exact = np.sort(naive.distances(x.astype(float), metric), axis=1)[:, :k].astype(float)
        np.testing.assert_allclose(found.distances[:, :k], exact, rtol=1e-7, atol=1e-12 * (1 + exact.max()))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("name", ["gaussian", "grid", "copies", "outliers"])
def test_sampled_queries_see_every_row(name: str, metric: str) -> None:
    x = CLOUDS[name](np.random.default_rng(2))
    queries = np.array([0, 7, 60, 79])
    found = Neighbours.search(x, 6, metric, queries)
    np.testing.assert_allclose(dense(found), naive.shares(x.astype(float), 6, metric)[queries], atol=1e-9)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("name", CLOUDS)
def test_queries_beside_a_bank_find_its_rows_and_no_query(name: str, metric: str) -> None:
    x = CLOUDS[name](np.random.default_rng(6))
    bank, asked = x[:50], x[40:]  # some queries are copies of rows of the bank, which they find
    exact = naive.distances(np.concatenate([bank, asked]).astype(float), metric)[50:, :50]
    for k in (1, 7, 50):
        cloud = Cloud(Space(bank), asked=Space(asked))
        found = search(cloud, 50 + np.arange(len(asked)), k, {metric: k})[metric]
        distances = found.distances[:, :k] * (4.0**cloud.exponent if metric == "euclidean" else 1)
        nearest = np.sort(exact, axis=1)[:, :k].astype(float)
        np.testing.assert_allclose(distances, nearest, rtol=1e-7, atol=1e-12 * (1 + nearest.max()))
        np.testing.assert_allclose(found.weights.sum(1), k)
        there = np.take_along_axis(exact, found.nearest, 1).astype(float)
        np.testing.assert_allclose(np.sort(there, 1), nearest, rtol=1e-7, atol=1e-12 * (1 + nearest.max()))
        assert all(len(set(rows)) == k for rows in found.nearest.tolist())


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("name", CLOUDS)
def test_without_distances_the_neighbours_are_the_same(name: str, metric: str) -> None:
    x = CLOUDS[name](np.random.default_rng(7))
    for k in (1, 10, len(x) - 1):
        full, quick = (Neighbours.search(x, k, metric, distances=distances) for distances in (True, False))
        assert quick.distances.shape == (len(x), 0)
        np.testing.assert_allclose(dense(quick), dense(full), atol=1e-12)
        np.testing.assert_array_equal(np.sort(quick.nearest, 1), np.sort(full.nearest, 1))


def test_of_more_ties_than_are_measured_the_first_rows_are_nearest() -> None:
    x = np.tile([[3.0, 4.0], [4.0, 3.0]], (100, 1))
    x[150] = [3.0, 4.1]
    for distances in (True, False):
        found = Neighbours.search(x, 3, "euclidean", np.array([0, 2, 1, 150]), distances=distances)
        assert found.nearest.tolist() == [[2, 4, 6], [0, 4, 6], [3, 5, 7], [0, 2, 4]]
        assert (found.members[:, : found.k] >= 0).all()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("name", CLOUDS)
def test_the_order_of_the_file_only_renumbers(name: str, metric: str) -> None:
    x = CLOUDS[name](np.random.default_rng(3))
    order = np.random.default_rng(4).permutation(len(x))
    plain, shuffled = (dense(Neighbours.search(z, 8, metric)) for z in (x, x[order]))
    np.testing.assert_allclose(shuffled, plain[np.ix_(order, order)], atol=1e-9)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    n=st.integers(2, 40),
    d=st.integers(1, 6),
    seed=st.integers(0, 10_000),
    levels=st.sampled_from([2, 5, 0]),
    metric=st.sampled_from(["cosine", "euclidean"]),
    share=st.floats(0, 1),
)
def test_any_cloud(n: int, d: int, seed: int, levels: int, metric: str, share: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-levels, levels + 1, size=(n, d)) if levels else rng.standard_cauchy(size=(n, d))
    k = 1 + int(share * (n - 2))
    np.testing.assert_allclose(dense(Neighbours.search(x, k, metric)), naive.shares(x + 0.0, k, metric), atol=1e-9)


@pytest.mark.parametrize("scale", [1e6, 1e8])
def test_a_row_far_beyond_all_others_leaves_their_neighbours_alone(scale: float) -> None:
    x = np.random.default_rng(0).normal(size=(200, 5))
    x[0] *= scale
    found = Neighbours.search(x, 10, "euclidean")
    np.testing.assert_allclose(dense(found), naive.shares(x, 10, "euclidean"), atol=1e-9)


def test_more_rows_than_a_block_holds() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9000, 3)).astype(np.float32)
    x[8500] = x[20]
    queries = np.array([20, 8500, 8999, 5000])
    away = ((x[queries, None].astype(float) - x[None].astype(float)) ** 2).sum(2)
    away[np.arange(4), queries] = np.inf
    found = Neighbours.search(Space(x), 5, "euclidean", queries)
    np.testing.assert_array_equal(found.members[:, :5], np.argsort(away, axis=1)[:, :5])
    assert found.members[0, 0] == 8500
    assert found.members[1, 0] == 20


def test_neighbours_are_listed_nearest_first_and_deep_agrees() -> None:
    x = gaussian(np.random.default_rng(5))
    found = Neighbours.search(x, 10, "euclidean")
    assert (np.diff(found.distances, axis=1) >= 0).all()
    np.testing.assert_array_equal(found.members[:, :10], found.deep[:, :10])


@pytest.mark.parametrize(("k", "metric"), [(0, "cosine"), (80, "cosine"), (5, "manhattan")])
def test_what_cannot_be_searched_is_refused(k: int, metric: str) -> None:
    with pytest.raises(InputError):
        Neighbours.search(gaussian(np.random.default_rng(0)), k, metric)


@pytest.mark.parametrize("make", [gaussian, half_precision])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_deep_lists_are_in_the_order_of_distance(make: Callable, metric: str) -> None:
    x = np.concatenate([make(np.random.default_rng(seed)) for seed in range(8)]).astype(np.float64)
    x[50:60] = x[40]  # rows that tie
    cloud, queries = Cloud(Space(x)), np.arange(0, len(x), 7)
    found = search(cloud, queries, 5, {metric: 200})[metric]
    distances = naive.distances(x, metric)[queries]
    np.put_along_axis(distances, queries[:, None], np.inf, 1)
    ours = np.take_along_axis(distances, found.deep, 1)
    np.testing.assert_allclose(ours, np.sort(distances, 1)[:, : found.deep.shape[1]], atol=1e-12)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_rows_far_beyond_float32_are_neighbours_all_the_same(metric: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    x[:6] *= 1e40
    found = Neighbours.search(x, 4, metric)
    assert (found.deep >= 0).all()
    if metric == "cosine":
        np.testing.assert_allclose(dense(found), naive.shares(x, 4, metric), atol=1e-9)
    else:  # the others are as near to each other as without these
        np.testing.assert_allclose(dense(found)[6:, 6:], naive.shares(x[6:], 4, metric), atol=1e-9)
