"""The evaluations written out as loops in float64, straight from their formulas."""

from __future__ import annotations

import math

import numpy as np


def cosine(u: np.ndarray, v: np.ndarray) -> float:
    size = math.sqrt(sum(a * a for a in u)) * math.sqrt(sum(b * b for b in v))
    return sum(a * b for a, b in zip(u, v, strict=True)) / size if size else 0.0


def distance(u: np.ndarray, v: np.ndarray) -> float:
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(u, v, strict=True)))


def ranked(bank: np.ndarray, query: np.ndarray, metric: str = "cosine", without: int = -1) -> list[tuple[float, int]]:
    near = cosine if metric == "cosine" else lambda u, v: -distance(u, v)
    found = [(round(near(row, query), 11), -place) for place, row in enumerate(bank) if place != without]
    return [(value, -place) for value, place in sorted(found, reverse=True)]


def vote(bank: np.ndarray, labels: np.ndarray, query: np.ndarray, k: int, temperature: float) -> object:
    votes = dict.fromkeys(sorted(set(labels.tolist())), 0.0)
    for value, place in ranked(bank, query)[:k]:
        votes[labels[place]] += math.exp((value - 1) / temperature)
    best = max(votes.values())
    return next(name for name, weight in votes.items() if weight >= best * (1 - 1e-9))


def recall(x: np.ndarray, labels: np.ndarray, k: int, gallery: np.ndarray | None = None) -> float:
    hits = []
    for place, query in enumerate(x):
        if (labels == labels[place]).sum() > 1:
            others = ranked(x if gallery is None else gallery, query, without=place)[:k]
            hits.append(any(labels[other] == labels[place] for _, other in others))
    return sum(hits) / len(hits)


def neighbour_recall(x: np.ndarray, y: np.ndarray, k: int) -> float:
    hits = [
        ranked(x, x[place], without=place)[0][1] in [other for _, other in ranked(y, y[place], without=place)[:k]]
        for place in range(len(x))
    ]
    return sum(hits) / len(hits)


def mahalanobis(bank: np.ndarray, labels: np.ndarray, x: np.ndarray) -> list[float]:
    means = {name: bank[labels == name].mean(0) for name in set(labels.tolist())}
    covariance = np.zeros((bank.shape[1],) * 2)
    for row, name in zip(bank, labels.tolist(), strict=True):
        covariance += np.outer(row - means[name], row - means[name]) / len(bank)
    inverse = np.linalg.inv(covariance)
    return [-min((row - mean) @ inverse @ (row - mean) for mean in means.values()) for row in x]


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in inside for b in outside]
    return sum(wins) / len(wins)


def fpr(inside: np.ndarray, outside: np.ndarray, tpr: float) -> float:
    ordered, place = sorted(inside), (len(inside) - 1) * (1 - tpr)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    threshold = ordered[low] + (ordered[high] - ordered[low]) * (place - low)
    return sum(score > threshold for score in outside) / len(outside)


def simulated_agreement(a: float, b: float, classes: int, rows: int = 200_000) -> float:
    """Two classifiers that are right with chances a and b, and else any wrong class."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, classes, rows)
    guesses = []
    for chance in (a, b):
        wrong = (truth + rng.integers(1, classes, rows)) % classes
        guesses.append(np.where(rng.random(rows) < chance, truth, wrong))
    return float((guesses[0] == guesses[1]).mean())
