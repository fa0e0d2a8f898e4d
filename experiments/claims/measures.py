"""Every measure of a student on test images against its teacher, at the backbone and at the head."""

from __future__ import annotations

from functools import lru_cache

import data
import numpy as np
from sizes import QUERIES, TEST

import manifold_probe as mp
from manifold_probe.evaluation import accuracy, agreement, knn_predict
from manifold_probe.measures import (
    Neighbours,
    debiased_linear_cka,
    norm_correlation,
    per_dimension_correlation,
    space_similarity,
)

K = 10
METRICS = ("cosine", "euclidean")


@lru_cache
def images(name: str = "test", count: int | None = TEST) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, H, W) and labels (n,) of data/NAME.npz."""
    with np.load(data.DATA / f"{name}.npz") as file:
        return file["images"][:count], file["labels"][:count]


@lru_cache
def teacher(store: str, name: str, count: int | None = None) -> np.ndarray:
    """The teacher's rows (n, 1280) for the images of data/NAME.npz, float32, from data/STORE."""
    space = mp.load(data.DATA / store)
    with np.load(data.DATA / f"{name}.npz") as file:
        ids = file["ids"][:count]
    place = {id: row for row, id in enumerate(space.ids.tolist())}
    return np.asarray(space.take(np.array([place[id] for id in ids.tolist()])), dtype=np.float32)


def queries() -> np.ndarray:
    """The test rows whose neighbours are searched among all test rows."""
    return np.arange(0, TEST)[:: TEST // QUERIES][:QUERIES]


@lru_cache
def teacher_neighbours(metric: str) -> Neighbours:
    """The teacher's neighbours of the queries."""
    return Neighbours.search(teacher("lite2-test", "test", TEST), K, metric=metric, queries=queries())


@lru_cache
def teacher_votes(name: str) -> np.ndarray:
    """What the teacher's k-NN vote says of the test images, with the bank of data/NAME.npz."""
    bank, test = teacher("lite2-train", name), teacher("lite2-test", "test", TEST)
    return knn_predict(bank, images(name, None)[1], test, K)


def overlap(one: Neighbours, other: Neighbours) -> float:
    """The share of the queries' K nearest rows that two spaces have in common."""
    return float((one.nearest[:, :, None] == other.nearest[:, None, :]).sum() / one.nearest.size)


def votes_among(near: Neighbours, labels: np.ndarray) -> np.ndarray:
    """The class that most of each query's K nearest rows have, the lowest where several have it."""
    return np.eye(labels.max() + 1)[labels[near.nearest]].sum(1).argmax(1)


def without_bank(test: np.ndarray) -> dict[str, float]:
    """A student's features of the test images against the teacher's."""
    theirs, labels = teacher("lite2-test", "test", TEST), images()[1].astype(np.int64)
    near = {metric: Neighbours.search(test, K, metric=metric, queries=queries()) for metric in METRICS}
    values = {f"overlap@{K} {metric}": overlap(teacher_neighbours(metric), near[metric]) for metric in METRICS}
    student_votes, teacher_vote = votes_among(near["cosine"], labels), votes_among(teacher_neighbours("cosine"), labels)
    values["k-NN accuracy, among test"] = float((student_votes == labels[queries()]).mean())
    values["k-NN agreement, among test"] = float((student_votes == teacher_vote).mean())
    values["debiased CKA"] = debiased_linear_cka(theirs, test)
    values["norm correlation"] = norm_correlation(theirs, test)
    if theirs.shape[1] == test.shape[1]:
        values["per-dimension correlation"] = float(np.nanmedian(per_dimension_correlation(theirs, test)))
        values["space similarity"] = float(np.nanmedian(space_similarity(theirs, test)))
    return values


def all_measures(name: str, bank: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """The same, and how the test images are classified by a student's features of data/NAME.npz."""
    values, labels = without_bank(test), images()[1]
    votes = knn_predict(bank, images(name, None)[1], test, K)
    values["k-NN accuracy"] = accuracy(votes, labels)
    agreed = agreement(teacher_votes(name), votes, labels)
    values["k-NN agreement"] = agreed["agreement"]
    values["k-NN agreement, excess"] = agreed["excess"]
    return values


def at_both(name: str, bank: dict[str, np.ndarray], test: dict[str, np.ndarray], head: bool) -> dict[str, float]:
    """At the backbone and, where there is one on the student's side, at the head."""
    places = ("backbone", "head") if head else ("backbone",)
    return {
        f"{place}: {key}": value
        for place in places
        for key, value in all_measures(name, bank[place], test[place]).items()
    }
