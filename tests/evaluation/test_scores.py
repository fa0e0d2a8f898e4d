"""Retrieval, OOD scores, logits and fidelity against loops, scikit-learn and known values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import cohen_kappa_score, roc_auc_score, top_k_accuracy_score

from manifold_probe.errors import InputError
from manifold_probe.evaluation.fidelity import accuracy, agreement, rank_correlation
from manifold_probe.evaluation.knn import knn_predict
from manifold_probe.evaluation.linear import labelled_rows, linear_predict
from manifold_probe.evaluation.logits import top_k_accuracy
from manifold_probe.evaluation.ood import auroc, fpr_at_tpr, knn_scores, mahalanobis_scores
from manifold_probe.evaluation.retrieval import cross_recall, neighbour_recall, recall
from manifold_probe.measures import linear_r2
from tests.evaluation import naive

scores = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=20)


def rows(seed: int, n: int = 30, d: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 10]))
def test_retrieval_is_that_of_loops(seed: int, k: int) -> None:
    x, y, labels = rows(seed), rows(seed + 1), np.random.default_rng(seed).integers(0, 6, 30)
    x[4] = x[9]
    x[2] = 0
    assert recall(x, labels, k) == pytest.approx(naive.recall(x, labels, k))
    assert cross_recall(x, y, labels, k) == pytest.approx(naive.recall(y, labels, k, gallery=x))
    assert neighbour_recall(x, y, k) == pytest.approx(naive.neighbour_recall(x, y, k))


def test_a_space_finds_its_own_neighbours_and_lengths_do_not_matter() -> None:
    x, labels = rows(0), np.arange(30) % 3
    longer = x * np.random.default_rng(0).uniform(0.1, 9, (30, 1))
    assert neighbour_recall(x, longer, 1) == 1
    assert cross_recall(x, longer, labels, 1) == recall(x, labels, 1)


def test_lone_labels_are_left_out() -> None:
    x = np.array([[1.0, 0], [1, 0.1], [0, 1]])
    assert recall(x, ["a", "a", "lone"], 1) == 1
    with pytest.raises(InputError, match="no label occurs twice"):
        recall(x, ["a", "b", "c"], 1)
    with pytest.raises(InputError, match="k = 3"):
        recall(x, ["a", "a", "b"], 3)


@settings(max_examples=60, deadline=None)
@given(scores, scores)
def test_auroc_and_fpr_are_those_of_loops(inside: list[float], outside: list[float]) -> None:
    truth = [1] * len(inside) + [0] * len(outside)
    assert auroc(inside, outside) == pytest.approx(naive.auroc(np.array(inside), np.array(outside)))
    assert auroc(inside, outside) == pytest.approx(roc_auc_score(truth, inside + outside))
    assert fpr_at_tpr(inside, outside) == pytest.approx(naive.fpr(np.array(inside), np.array(outside), 0.95))


def test_the_threshold_is_strict_and_the_linear_quantile() -> None:
    inside = np.arange(21.0)  # the 5% quantile is 1
    assert fpr_at_tpr(inside, [0.9, 1.0, 1.1, 9.0]) == 0.5
    assert fpr_at_tpr(np.arange(11.0), [0.4, 0.5, 0.6]) == pytest.approx(1 / 3)
    assert fpr_at_tpr(np.ones(5), np.ones(3)) == 0
    assert auroc(np.ones(5), np.ones(3)) == 0.5
    with pytest.raises(InputError, match="outside"):
        auroc([1.0], [])
    with pytest.raises(InputError, match="tpr is 1"):
        fpr_at_tpr([1.0], [1.0], 1)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 3])
def test_knn_scores_are_those_of_loops(metric: str, k: int) -> None:
    bank, x = rows(0), rows(1, 12)
    expected = [naive.ranked(bank, row, metric)[k - 1][0] for row in x]
    np.testing.assert_allclose(knn_scores(bank, x, k, metric), expected, atol=1e-10)


def test_cosine_scores_are_blind_to_lengths_and_euclidean_ones_are_not() -> None:
    bank, x = rows(0), rows(1, 12)
    np.testing.assert_allclose(knn_scores(bank, 9 * x), knn_scores(bank, x), atol=1e-10)
    assert (knn_scores(bank, 9 * x, metric="euclidean") < knn_scores(bank, x, metric="euclidean")).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_mahalanobis_is_that_of_loops_and_invariant_to_linear_maps(seed: int) -> None:
    bank, x, labels = rows(seed, 40), rows(seed + 1, 12), np.arange(40) % 3
    found = mahalanobis_scores(bank, labels, x)
    np.testing.assert_allclose(found, naive.mahalanobis(bank, labels, x), rtol=1e-8)
    there = rows(seed + 2, 4) + 3 * np.eye(4)
    np.testing.assert_allclose(mahalanobis_scores(bank @ there + 7, labels, x @ there + 7), found, rtol=1e-4)


def test_a_singular_covariance_is_shrunk() -> None:
    bank, x, labels = rows(0, 12, 20), rows(1, 5, 20), np.arange(12) % 3
    bank[:, 4] = 0
    means = np.stack([bank[labels == name].mean(0) for name in range(3)])
    shrunk, weight = ledoit_wolf(bank - means[labels], assume_centered=True)
    assert 0 < weight <= 1
    inverse = np.linalg.inv(shrunk)
    expected = [-min((row - mean) @ inverse @ (row - mean) for mean in means) for row in x]
    np.testing.assert_allclose(mahalanobis_scores(bank, labels, x), expected, rtol=1e-8)
    with pytest.raises(InputError, match="every row is its class's mean"):
        mahalanobis_scores(np.eye(3), [0, 1, 2], x[:, :3])


def test_logits_are_judged_as_scikit_learn_does() -> None:
    logits, labels = rows(0, 50, 8), np.random.default_rng(1).integers(0, 8, 50)
    for k in (1, 5):
        expected = top_k_accuracy_score(labels, logits, k=k, labels=range(8))
        assert top_k_accuracy(logits, labels, k) == pytest.approx(expected)
    names = np.array(list("abcdefgh"))[labels]
    assert top_k_accuracy(logits, names) == top_k_accuracy(logits, labels)
    assert top_k_accuracy(np.zeros((4, 8)), [0, 1, 2, 3], 2) == 0.25  # equal logits know nothing
    with pytest.raises(InputError, match="8 is not a column"):
        top_k_accuracy(logits, labels + 1)
    with pytest.raises(InputError, match="2 names for logits of width 8"):
        top_k_accuracy(logits, np.where(labels > 3, "a", "b"))


@pytest.mark.parametrize(("a", "b", "classes"), [(0.9, 0.8, 10), (0.5, 0.3, 4), (0.6, 0.6, 2), (1.0, 0.4, 3)])
def test_expected_agreement_is_that_of_independent_classifiers(a: float, b: float, classes: int) -> None:
    n = 1000
    labels = np.zeros(n, dtype=int)
    first, second = (np.where(np.arange(n) < chance * n, 0, 1) for chance in (a, b))
    expected = agreement(first, second, labels, classes)["expected"]
    assert expected == pytest.approx(naive.simulated_agreement(a, b, classes), abs=0.005)


def test_agreement_at_its_ends() -> None:
    labels = np.arange(100) % 4
    wrong = np.where(np.arange(100) < 30, (labels + 1) % 4, labels)
    assert agreement(wrong, wrong, labels)["excess"] == 1
    assert agreement(labels, labels, labels) == {"agreement": 1.0, "expected": 1.0, "excess": None}
    two = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 0])
    balanced = np.array([0, 0, 0, 1, 1, 1])
    found = agreement(*two, balanced)["excess"]  # two classes: Cohen's kappa of being right
    assert found == pytest.approx(cohen_kappa_score(two[0] == balanced, two[1] == balanced, labels=[False, True]))


def test_rank_correlation_is_spearmans() -> None:
    a, b = np.random.default_rng(0).integers(0, 9, (2, 40)).astype(float)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert rank_correlation(a, np.ones(40)) is None


@pytest.mark.parametrize("factor", [1e-60, 1e-42, 1e38, 1e60])
@pytest.mark.parametrize("rows", [8, 60])  # with eight the covariance is singular and shrunk
def test_no_score_depends_on_a_scale(factor: float, rows: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, rows)
    labels[:3] = range(3)
    bank, x = rng.normal(size=(rows, 9)) + labels[:, None], rng.normal(size=(20, 9))
    assert mahalanobis_scores(factor * bank, labels, factor * x) == pytest.approx(
        mahalanobis_scores(bank, labels, x), rel=1e-9
    )
    assert knn_scores(factor * bank, factor * x) == pytest.approx(knn_scores(bank, x), rel=1e-9)
    distances = knn_scores(factor * bank, factor * x, metric="euclidean") / factor
    assert distances == pytest.approx(knn_scores(bank, x, metric="euclidean"), rel=1e-9)


ODD = {
    "none": None,
    "number": 3,
    "text": "ab",
    "empty": [],
    "mixed": [1, "a"] * 20,
    "matrix": np.zeros((40, 2)),
    "vectors": pd.Series(list(np.eye(40))),
    "objects": [object()] * 40,
    "complex": np.zeros(40) * 1j,
    "dates": np.zeros(40, "M8[s]"),
    "generator": (i for i in range(40)),
    "dict": {1: 2},
    "none inside": [None, 1] * 20,
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_columns_are_refused_in_one_line(odd: str) -> None:
    good, value = np.arange(40) % 3, ODD[odd]
    for call in (
        lambda: accuracy(value, good),
        lambda: accuracy(good, value),
        lambda: agreement(value, good, good),
        lambda: rank_correlation(good, value),
        lambda: auroc(value, good),
        lambda: fpr_at_tpr(good, value),
        lambda: labelled_rows(value, 0.5),
    ):
        with pytest.raises(InputError) as error:
            call()
        assert "\n" not in str(error.value)
        assert len(str(error.value)) <= 400


def test_odd_settings_are_refused() -> None:
    good, x = np.arange(40) % 3, np.eye(40)
    for call, words in [
        (lambda: fpr_at_tpr(good, good, None), "tpr is None"),
        (lambda: labelled_rows(good, "half"), "share of labels is 'half'"),
        (lambda: labelled_rows(good, 0.5, "a"), "seed is 'a'"),
        (lambda: top_k_accuracy(x, good, [1]), r"k is \[1\]"),
        (lambda: agreement(good, good, good, float("nan")), "classes is nan"),
        (lambda: linear_predict(x, good, x, seed=None), "seed is None"),
        (lambda: knn_predict(x, good, x, k=2, temperature="hot"), "temperature is 'hot'"),
        (lambda: linear_r2(x, x, seed=None), "seed is None"),
        (lambda: recall(x, good, np.zeros((9, 9))), "k = array"),
    ]:
        with pytest.raises(InputError, match=words) as error:
            call()
        assert "\n" not in str(error.value)


def test_columns_of_every_kind_are_read_alike() -> None:
    good = np.arange(40) % 3
    for same in (
        good.tolist(),
        tuple(good),
        torch.tensor(good),
        pd.Series(good),
        good.astype(np.float32),
        good[:, None],
    ):
        assert accuracy(same, good) == accuracy(good, same) == 1
        assert auroc(same, good) == pytest.approx(0.5)
    assert accuracy(["a", "b"], pd.Series(["a", "a"])) == 0.5


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_a_linear_probe_at_the_edge_of_the_range(scale: float) -> None:
    x = np.random.default_rng(0).normal(size=(60, 5))
    y = (x[:, 0] > 0).astype(int)
    for recipe in ("lbfgs", "sgd"):
        assert np.array_equal(linear_predict(x * scale, y, x * scale, recipe), linear_predict(x, y, x, recipe))
