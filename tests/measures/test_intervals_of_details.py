"""Intervals of the overlap at every k and of agreement within a class, against plain transcriptions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from manifold_probe.engine.cloud import Cloud
from manifold_probe.measures.details import overlap_by_k
from manifold_probe.measures.from_neighbours import Lists
from manifold_probe.measures.halving import SPLITS_BY_K, Deep, deepest_in_half, differences_by_k, halvings
from manifold_probe.measures.measure import measure_students
from manifold_probe.measures.results import Measurement
from manifold_probe.measures.sides import DEEPEST, search_side
from manifold_probe.measures.uncertainty import wilson
from manifold_probe.spaces.space import Space
from tests.measures import cases

KS = [1, 2, 5, 10]


def spaces(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, n)
    x = rng.normal(size=(3, 6))[labels] + rng.normal(size=(n, 6))
    return x, x[:, :4] + 0.4 * rng.normal(size=(n, 4)), labels


def measured(n: int, **options: int) -> Measurement:
    return measure_students(cases.paired(*spaces(n)), **options)["student"]


def kept(x: np.ndarray, y: np.ndarray, ks: list[int]) -> np.ndarray:
    """The share (n, len(ks)) of its k nearest that each row keeps among these rows; cosine, no ties."""
    near = []
    for rows in (x, y):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        cosines = unit @ unit.T
        np.fill_diagonal(cosines, -2)
        near.append(np.argsort(-cosines, axis=1))
    return np.array([[len({*a[:k]} & {*b[:k]}) / k for k in ks] for a, b in zip(*near, strict=True)])


def lists(n: int, queries: np.ndarray, k: int = 10) -> Lists:
    x, y, _ = spaces(n)
    return Lists(*(search_side(Cloud(Space(rows)), queries, k) for rows in (x, y)), seed=4)


def test_halves_give_the_differences_of_searches_within_them() -> None:
    x, y, _ = spaces(120)
    of, terms, expected = lists(120, np.arange(120)), kept(x, y, KS), []
    for half in halvings(of.n, of.seed):
        inside = np.zeros((120, len(KS)))
        inside[half], inside[~half] = kept(x[half], y[half], KS), kept(x[~half], y[~half], KS)
        ratio = np.clip(terms.std(0) / inside.std(0), 0.5, 2)
        expected.append((inside[half].mean(0) - inside[~half].mean(0)) * ratio)
    found = differences_by_k(Deep(of, DEEPEST), terms, KS)
    np.testing.assert_allclose(found, expected[:SPLITS_BY_K], atol=1e-12)


def test_intervals_of_the_curve_are_those_of_halves_and_at_k_the_measure_s() -> None:
    found = measured(300, k=7)
    table, overlap = found.details["overlap_by_k"], found.measures["overlap@7"]
    at = table["k"].index(7)
    assert (table["low"][at], table["high"][at]) == (overlap.low, overlap.high)
    for k, value, low, high in zip(*(table[name] for name in ("k", "cosine", "low", "high")), strict=True):
        if k > deepest_in_half(DEEPEST):
            assert low is high is None
        else:
            assert 0 <= low < value < high <= 1
            assert high - low < 0.15


def test_intervals_of_few_queries_are_those_of_their_mean() -> None:
    queries = np.arange(0, 300, 5)
    table = overlap_by_k(lists(300, queries), None, None)
    terms = kept(*spaces(300)[:2], table["k"])[queries]
    assert table["cosine"] == pytest.approx(terms.mean(0))
    half = stats.t.ppf(0.975, len(queries) - 1) * stats.sem(terms)
    assert table["low"] == pytest.approx(np.maximum(terms.mean(0) - half, 0))
    assert table["high"] == pytest.approx(np.minimum(terms.mean(0) + half, 1))


@pytest.mark.parametrize(("right", "n"), [(0, 5), (3, 7), (50, 50), (831, 1000)])
def test_wilson_against_scipy(right: int, n: int) -> None:
    expected = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_agreement_within_a_class_has_the_interval_of_a_share_of_its_rows() -> None:
    for row in measured(300, k=7).details["per_class"]:
        expected = stats.binomtest(round(row["knn_agreement"] * row["n"]), row["n"]).proportion_ci(method="wilson")
        assert (row["agreement_low"], row["agreement_high"]) == pytest.approx((expected.low, expected.high))
