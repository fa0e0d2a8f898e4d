"""k-NN and linear classification against loops, scikit-learn and known values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from manifold_probe.errors import InputError
from manifold_probe.evaluation import linear
from manifold_probe.evaluation.knn import knn_predict
from manifold_probe.evaluation.linear import labelled_rows, linear_predict
from manifold_probe.evaluation.nearest import nearest
from tests.evaluation import naive

DIGITS, DIGIT_LABELS = load_digits(return_X_y=True)


def clouds(seed: int, m: int = 40, q: int = 15, d: int = 5, classes: int = 4) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, d))
    labels = rng.integers(0, classes, m)
    return centres[labels] + rng.normal(size=(m, d)), labels, rng.normal(size=(q, d))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.sampled_from([0.01, 0.07, 1.0]))
def test_the_vote_is_that_of_loops(seed: int, k: int, temperature: float) -> None:
    bank, labels, queries = clouds(seed)
    bank[3], labels[3] = bank[5], labels[5]  # a tie; which of two labels it gives would be the rounding's choice
    bank[7] = queries[2] = 0  # rows of zeros
    expected = [naive.vote(bank, labels, query, k, temperature) for query in queries]
    assert knn_predict(bank, labels, queries, k, temperature).tolist() == expected


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("offset", [0, 1e4])
def test_nearest_is_exact_even_far_from_the_origin(metric: str, offset: float) -> None:
    bank, _, queries = clouds(1, m=300, d=8)
    bank, queries = bank + offset, queries + offset
    rows, nearness = nearest(bank, queries, 7, metric)
    distances, expected = (
        NearestNeighbors(n_neighbors=7, metric=metric, algorithm="brute").fit(bank).kneighbors(queries)
    )
    if metric == "euclidean" or not offset:
        np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(nearness, 1 - distances if metric == "cosine" else -distances, atol=1e-7)


def test_nearest_takes_the_first_of_equals_and_knows_rows_of_zeros() -> None:
    bank = np.array([[0.0, 0.0], [1, 0], [2, 0], [1, 0], [-1, 0]])
    rows, cosines = nearest(bank, [[3.0, 0.0], [0.0, 0.0]], 5)
    assert rows.tolist() == [[1, 2, 3, 0, 4], [0, 1, 2, 3, 4]]
    assert cosines.tolist() == [[1, 1, 1, 0, -1], [0, 0, 0, 0, 0]]


def test_many_rows_of_zeros_hide_nobody() -> None:
    bank = np.concatenate([np.zeros((60, 2)), [[1.0, 3.0], [1.0, 4.0], [-1.0, 0.0]]])
    rows, cosines = nearest(bank, [[1.0, 0.0]], 3)
    assert rows.tolist() == [[60, 61, 0]]
    assert cosines[0, 0] == pytest.approx(10**-0.5)


def test_more_ties_than_the_margin_holds() -> None:
    bank = np.tile([[3.0, 4.0], [4.0, 3.0]], (100, 1))
    rows, _ = nearest(bank, [[3.0, 4.0], [0.0, 0.0]], 3)
    assert rows.tolist() == [[0, 2, 4], [0, 1, 2]]
    assert nearest(bank, [[3.0, 4.0]], 3, "euclidean")[0].tolist() == [[0, 2, 4]]


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e200])
def test_nearest_at_the_edge_of_the_range(scale: float) -> None:
    bank, _, queries = clouds(4, m=200)
    for metric in ("cosine", "euclidean"):
        expected, nearness = nearest(bank, queries, 6, metric)
        rows, scaled = nearest(bank * scale, queries * scale, 6, metric)
        np.testing.assert_array_equal(rows, expected)
        np.testing.assert_allclose(scaled, nearness if metric == "cosine" else nearness * scale, rtol=1e-9)


def test_a_query_far_beyond_the_bank_leaves_the_others_alone() -> None:
    bank, _, queries = clouds(5, m=200)
    expected, nearness = nearest(bank, queries, 6, "euclidean")
    queries[3] *= 1e300
    rows, changed = nearest(bank, queries, 6, "euclidean")
    others = np.arange(len(queries)) != 3
    np.testing.assert_array_equal(rows[others], expected[others])
    np.testing.assert_array_equal(changed[others], nearness[others])
    assert rows[3].tolist() == list(range(6))  # all are as far


def test_the_vote_is_scikit_learns() -> None:
    bank, test = DIGITS[:900], DIGITS[900:]
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (bank, test)]
    model = KNeighborsClassifier(10, weights=lambda d: np.exp((1 - d**2 / 2) / 0.07), algorithm="brute")
    expected = model.fit(unit[0], DIGIT_LABELS[:900]).predict(unit[1])
    assert (knn_predict(bank, DIGIT_LABELS[:900], test) == expected).mean() > 0.998  # votes nearly equal may differ


def test_the_vote_by_hand() -> None:
    bank = np.array([[math.cos(angle), math.sin(angle)] for angle in (0.0, 0.5, 0.5)])
    lone, pair = 1.0, 2 * math.exp((math.cos(0.5) - 1) / 0.07)
    assert pair < lone
    assert knn_predict(bank, ["a", "b", "b"], [[5.0, 0.0]], k=3).tolist() == ["a"]
    assert knn_predict(bank, ["a", "b", "b"], [[5.0, 0.0]], k=3, temperature=1.0).tolist() == ["b"]


def test_the_vote_sees_neither_lengths_nor_rotations() -> None:
    bank, labels, queries = clouds(3)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    longer = np.random.default_rng(1).uniform(0.1, 10, (40, 1))
    before = knn_predict(bank, labels, queries)
    assert (knn_predict(bank * longer @ rotation, labels, 3 * queries @ rotation) == before).all()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_of_any_precision(kind: torch.dtype) -> None:
    bank = torch.eye(4, dtype=kind, requires_grad=True)
    assert knn_predict(bank, torch.arange(4), bank[[2, 0]], k=1).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (lambda b, y, q: knn_predict(b, y, q, k=41), "k = 41 does not fit a bank of 40 rows"),
        (lambda b, y, q: knn_predict(b, y, q, k=0), "k = 0"),
        (lambda b, y, q: knn_predict(b, y, q[:, :4]), "bank has 5 dimensions and queries have 4"),
        (lambda b, y, q: knn_predict(b, y[:-1], q), "labels have shape"),
        (lambda b, y, q: knn_predict(b, y, q * np.nan), "queries: holds 75 NaN"),
        (lambda b, y, q: knn_predict(b, y, q, temperature=0), "temperature is 0"),
        (lambda b, y, q: linear_predict(b, y * 0, q), "one class only"),
        (lambda b, y, q: linear_predict(b, y, q, recipe="adam"), "recipe 'adam' is not known"),
        (lambda b, y, q: labelled_rows(y, 0), "share of labels is 0"),
    ],
)
def test_what_cannot_be_used(problem, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message) as caught:
        problem(*clouds(0))
    assert "\n" not in str(caught.value)


def test_the_quick_probe_is_scikit_learns() -> None:
    bank, test = DIGITS[:600] + 5, DIGITS[600:900] + 5
    spread = bank.std(0)
    scaled = [(part - bank.mean(0)) / np.where(spread > 0, spread, 1) for part in (bank, test)]
    model = LogisticRegression(C=0.01, max_iter=1000).fit(scaled[0], DIGIT_LABELS[:600])
    assert (linear_predict(bank, DIGIT_LABELS[:600], test) == model.predict(scaled[1])).all()


@pytest.mark.parametrize("recipe", ["lbfgs", "sgd"])
def test_a_probe_ignores_the_unit_and_repeats_itself(recipe: str) -> None:
    bank, test = DIGITS[:400].astype(np.float32), DIGITS[400:600].astype(np.float32)
    names = np.array(list("abcdefghij"))[DIGIT_LABELS]
    first, again, scaled = (linear_predict(bank * f, names[:400], test * f, recipe, seed=3) for f in (1, 1, 64))
    assert (first == again).all()
    assert (first == scaled).mean() > 0.99
    assert (first == names[400:600]).mean() > 0.8


def test_the_papers_recipe_follows_its_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transcribed: momentum, falling rates, weights of deviation 0.01, batches of a seeded permutation.

    At a tenth of the rate: 30 is beyond stability, where two ways of rounding part.
    """
    assert (linear.EPOCHS, linear.BATCH, linear.RATE, linear.MOMENTUM, linear.STEPS) == (100, 256, 30, 0.9, (60, 80))
    monkeypatch.setattr(linear, "RATE", 3.0)
    bank, labels, queries = clouds(5, m=300, q=5000, d=3, classes=3)
    draw = torch.Generator().manual_seed(7)
    rows = torch.from_numpy(bank / np.linalg.norm(bank, axis=1).mean()).float()
    weight, bias = 0.01 * torch.randn(3, 3, generator=draw), torch.zeros(3)
    moved = [torch.zeros(3, 3), torch.zeros(3)]
    target = torch.nn.functional.one_hot(torch.from_numpy(labels), 3).float()
    for epoch in range(100):
        rate = 3 * 0.1 ** ((epoch >= 60) + (epoch >= 80))
        for batch in torch.randperm(300, generator=draw).split(256):
            error = ((rows[batch] @ weight.T + bias).softmax(1) - target[batch]) / len(batch)
            for place, gradient in enumerate((error.T @ rows[batch], error.sum(0))):
                moved[place] = 0.9 * moved[place] + gradient
            weight, bias = weight - rate * moved[0], bias - rate * moved[1]
    expected = (torch.from_numpy(queries).float() @ weight.T / np.linalg.norm(bank, axis=1).mean() + bias).argmax(1)
    assert (linear_predict(bank, labels, queries, "sgd", seed=7) != expected.numpy()).sum() <= 2


def test_few_labels_are_stratified_nested_and_never_none() -> None:
    labels = np.repeat(["a", "b", "c"], [200, 50, 1])
    some = {share: labelled_rows(labels, share, seed=1) for share in (1.0, 0.1, 0.01)}
    assert {share: np.unique(labels[rows], return_counts=True)[1].tolist() for share, rows in some.items()} == {
        1.0: [200, 50, 1],
        0.1: [20, 5, 1],
        0.01: [2, 1, 1],
    }
    assert set(some[0.01]) < set(some[0.1]) < set(some[1.0])
    assert (labelled_rows(labels, 0.1, seed=1) == some[0.1]).all()
    assert set(labelled_rows(labels, 0.1, seed=2)) != set(some[0.1])
