"""Class chance against simulated exchanges, chance of voting measures, and rows without a label or a second row."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from manifold_probe import measures as functions
from manifold_probe.engine.neighbours import Neighbours
from manifold_probe.engine.rows import cycled_within, has_company
from manifold_probe.errors import InputError
from manifold_probe.measures.classes import majority, vote_chance
from manifold_probe.measures.measure import measure_students
from manifold_probe.measures.overlap import class_overlap
from manifold_probe.measures.results import Measurement
from manifold_probe.spaces.labels import marked
from tests.measures import cases, naive

KNN = ("knn_agreement@10", "knn_kappa@10", "knn_accuracy_teacher@10", "knn_accuracy_student@10")


def measured(*arguments: np.ndarray | None, **options: int) -> Measurement:
    return measure_students(cases.paired(*arguments), **options)["student"]


def spaces(n: int, classes: int, seed: int, spread: float = 1.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    x = spread * rng.normal(size=(classes, 5))[labels] + rng.normal(size=(n, 5))
    return x, x @ rng.normal(size=(5, 4)) + 0.5 * rng.normal(size=(n, 4)), labels


def cycle(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One random cycle through each class, row by row."""
    order = np.arange(len(labels))
    for label in set(labels.tolist()):
        rows = rng.permutation(np.flatnonzero(labels == label)).tolist()
        for here, there in zip(rows, [*rows[1:], rows[0]], strict=True):
            order[here] = there
    return order


def test_every_row_moves_within_its_class() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 7, 60)
    codes[:2] = 7, 8  # classes of one row
    for _ in range(20):
        order = cycled_within(codes, rng)
        assert sorted(order.tolist()) == list(range(60))
        assert (codes[order] == codes).all()
        assert ((order == np.arange(60)) == ~has_company(codes)).all()
    ends = [cycled_within(np.zeros(4, dtype=int), rng)[0] for _ in range(3000)]
    assert np.bincount(ends).tolist() == pytest.approx([0, 1000, 1000, 1000], abs=100)  # every other row alike
    assert has_company(np.array([-1, -1, 0, 1, 1])).tolist() == [False, False, False, True, True]


@pytest.mark.parametrize("sizes", [[2] * 12, [3] * 8, [1, 2, 3, 6, 12], [24], [1, 1, 5, 5, 12]])
def test_class_overlap_is_the_mean_over_simulated_cycles(sizes: list[int]) -> None:
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    n, k = len(labels), 4
    rng = np.random.default_rng(2)
    x = rng.normal(size=(n, 3))
    y = x + 0.3 * rng.normal(size=(n, 3))
    y[5] = y[6]  # tied rows share a place
    a, b = naive.shares(x, k), naive.shares(y, k)
    draws = []
    for _ in range(4000):
        order = cycle(labels, rng)
        draws.append(np.minimum(a, b[np.ix_(order, order)]).sum(1) / k)
    found = class_overlap(Neighbours.search(x, k), Neighbours.search(y, k), labels)
    company = np.bincount(labels)[labels] > 1
    assert np.isnan(found[~company]).all()
    assert found[company] == pytest.approx(np.mean(draws, axis=0)[company], abs=0.02)
    assert np.nanmean(found) == pytest.approx(np.mean(draws, axis=0)[company].mean(), abs=0.004)


def test_rows_without_a_class_exchange_places_among_themselves() -> None:
    labels = np.repeat([-1, 0, 1, 2], 8)
    rng = np.random.default_rng(3)
    x = rng.normal(size=(32, 3))
    y = x + 0.3 * rng.normal(size=(32, 3))
    a, b = (Neighbours.search(z, 4) for z in (x, y))
    found, fourth = class_overlap(a, b, labels), class_overlap(a, b, labels % 4)
    assert np.isnan(found[:8]).all()
    assert found[8:] == pytest.approx(fourth[8:], abs=1e-12)


@pytest.mark.parametrize("per", [2, 3, 30])
def test_labels_that_have_nothing_to_do_with_the_data_explain_nothing(per: int) -> None:
    rng = np.random.default_rng(19)
    x = rng.normal(size=(600, 16))
    y = x @ rng.normal(size=(16, 12)) + 0.5 * rng.normal(size=(600, 12))
    found = measured(x, y, np.repeat(np.arange(600 // per), per)).measures
    assert found["overlap@10"].class_chance == pytest.approx(10 / 599, abs=0.004)
    assert found["linear_cka"].class_chance == pytest.approx(found["linear_cka"].chance, abs=0.03)
    assert found["debiased_linear_cka"].class_chance == pytest.approx(0, abs=0.03)
    assert found["knn_kappa@10"].class_chance == pytest.approx(0, abs=0.08)


def test_one_row_a_class_has_no_class_chance_and_no_votes() -> None:
    x, y, _ = spaces(300, 3, 0)
    found = measured(x, y, np.array([f"a photo of thing {i}" for i in range(300)]))
    for key, measure in found.measures.items():
        assert measure.class_chance is None, key
    assert found.measures["overlap@10"].note == ("no class chance: 300 of 300 rows are the only one of their class")
    assert "no class chance" in found.measures["linear_cka"].note
    for key in KNN:
        assert found.measures[key].value is None
        assert found.measures[key].note == "every class has one row, so that no other row can vote for it"
    assert found.details["class_rows"] == {"classes": 300, "labelled": 300, "unlabelled": 0, "alone": 300}


def test_classes_of_one_row_among_others_are_counted() -> None:
    x, y, labels = spaces(300, 3, 0)
    labels[:30] = 100 + np.arange(30)
    found = measured(x, y, labels).measures
    assert found["overlap@10"].note == "class chance without 30 rows that are the only one of their class"
    assert "30 rows are the only one of their class and count as wrong" in found["knn_accuracy_student@10"].note
    assert found["knn_accuracy_student@10"].value == pytest.approx(naive.knn_accuracy(y, labels))
    assert found["overlap@10"].class_chance is not None


# what voting gives by chance


@pytest.mark.parametrize(("n", "classes"), [(60, 10), (60, 3), (200, 2)])
def test_voting_chance_is_that_of_independent_spaces(n: int, classes: int) -> None:
    rng = np.random.default_rng(4)
    labels = np.repeat(np.arange(classes), n // classes)
    told, seen = [], []
    for _ in range(60):
        x, y = rng.normal(size=(n, 5)), rng.normal(size=(n, 5))
        first, second = naive.predicted(x, labels, 5), naive.predicted(y, labels, 5)
        accuracies = [(each == labels).mean() for each in (first, second)]
        seen.append([(first == second).mean(), cohen_kappa_score(first, second), *accuracies])
    for seed in range(3):
        x, y = rng.normal(size=(n, 5)), rng.normal(size=(n, 5))
        told.append(list(vote_chance(Neighbours.search(x, 5), Neighbours.search(y, 5), labels, seed)))
    error = np.std(seen, axis=0) / np.sqrt(60)
    assert (np.abs(np.mean(told, axis=0) - np.mean(seen, axis=0)) < 4 * error + 0.004).all()


def test_kappa_of_a_teacher_that_knows_its_classes_is_negative_by_chance() -> None:
    # a student at random votes least for the row's own class, of which a row is missing, and the teacher for just that
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(10), 6)
    x = np.eye(10)[labels] + 0.05 * rng.normal(size=(60, 10))
    first = naive.predicted(x, labels, 10)
    students = [naive.predicted(rng.normal(size=(60, 8)), labels, 10) for _ in range(150)]
    seen = [cohen_kappa_score(first, second) for second in students]
    chance = measured(x, rng.normal(size=(60, 8)), labels).measures["knn_kappa@10"].chance
    assert np.mean(seen) < -0.015
    assert chance == pytest.approx(np.mean(seen), abs=0.012)


def test_chance_from_some_queries_is_that_from_all() -> None:
    x, y, labels = spaces(600, 4, 6)
    asked = np.sort(np.random.default_rng(0).choice(600, 200, replace=False))
    some, every = (
        vote_chance(Neighbours.search(x, 5, queries=rows), Neighbours.search(y, 5, queries=rows), labels, 0)
        for rows in (asked, None)
    )
    for key, value in every._asdict().items():
        assert getattr(some, key) == pytest.approx(value, abs=0.03), key


def test_one_class_is_called_one_class() -> None:
    x, y, _ = spaces(100, 3, 0)
    found = measured(x, y, np.zeros(100, dtype=int)).measures
    assert found["knn_kappa@10"].value is None
    assert found["knn_kappa@10"].chance is None
    assert {found[key].note for key in KNN} == {"the labels hold one class"}


def test_many_classes_are_counted_like_few(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    query = np.sort(rng.integers(0, 40, 300))
    votes, weights = rng.integers(0, 12, 300), rng.choice([0.5, 1.0, 1 / 3], 300)
    for share in (None, weights):
        dense = majority(query, votes, share, 41, 12)
        monkeypatch.setattr("manifold_probe.measures.classes.MANY_CLASSES", 1)
        assert majority(query, votes, share, 41, 12).tolist() == dense.tolist()
        monkeypatch.undo()


# rows without a label


@pytest.mark.parametrize("queries", [5000, 120])
def test_class_measures_are_those_of_the_labelled_rows_alone(queries: int) -> None:
    x, y, labels = spaces(300, 4, 8)
    have = np.random.default_rng(9).random(300) > 0.3
    ids = np.arange(300)
    some = measured(x, y, marked(np.where(have, labels, -1)), ids, queries=queries)
    alone = measured(x[have], y[have], labels[have], ids[have], queries=queries)
    for key in KNN:
        here, there = some.measures[key], alone.measures[key]
        for part in ("value", "low", "high", "chance", "class_chance", "n"):
            assert getattr(here, part) == getattr(there, part), (key, part)
        assert f"{300 - have.sum()} rows without a label are left out" in here.note
    plain = measured(x, y, None, ids, queries=queries).measures
    for key, measure in plain.items():
        if not key.startswith("knn"):
            assert some.measures[key].value == measure.value, key  # all rows enter the others
            assert some.measures[key].low == measure.low, key
    assert [row["class"] for row in some.details["per_class"]] == [0, 1, 2, 3]
    for here, there in zip(some.details["per_class"], alone.details["per_class"], strict=True):
        assert here["knn_accuracy_student"] == there["knn_accuracy_student"]
    worst = [row["label"] for row in some.details["worst_rows"]]
    assert None in worst
    assert min(label for label in worst if label is not None) >= 0


def test_the_plain_functions_leave_unlabelled_rows_out() -> None:
    x, y, labels = spaces(120, 3, 10)
    have = np.arange(120) % 4 > 0
    gaps = [f"c{label}" if known else None for label, known in zip(labels, have, strict=True)]
    assert functions.knn_accuracy(x, gaps) == pytest.approx(naive.knn_accuracy(x[have], labels[have]))
    assert functions.knn_agreement(x, y, gaps) == pytest.approx(naive.knn_agreement(x[have], y[have], labels[have]))
    with pytest.raises(InputError, match="no row has a label"):
        functions.knn_accuracy(x, [None] * 120)


def test_too_few_labelled_rows_are_said() -> None:
    x, y, labels = spaces(100, 3, 11)
    found = measured(x, y, marked(np.where(np.arange(100) < 8, labels, -1))).measures
    assert found["knn_agreement@10"].value is None
    assert found["knn_agreement@10"].note == "8 rows with a label are too few for k = 10"
    assert found["overlap@10"].value is not None


def test_without_labels_the_interval_is_said_to_take_the_clusters_as_given() -> None:
    x, y, _ = spaces(200, 3, 12)
    for key in KNN:
        assert "k-means clusters, which the interval takes as given" in measured(x, y).measures[key].note
