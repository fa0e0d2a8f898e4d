"""The two sides of a measurement: a space, its neighbour lists, and the teacher's results that all students share."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.neighbours import Candidates, Neighbours
from manifold_probe.engine.passes import Pass, State, in_this_process, joined, read, unwatched
from manifold_probe.engine.rows import SAMPLING, sample
from manifold_probe.engine.threads import Mapper, one_by_one
from manifold_probe.measures.catalogue import MEASURES, Measure

DEPTH_FACTOR, EXTRA_DEPTH = 3, 12  # see `half_depth`
DEEPEST = 200  # the largest k of the overlap curve
NULL_ROWS = 2_000
CLUSTER_COUNT = 20
CLUSTERED_ROWS = 2_000  # on which the clusters are fitted


@dataclass(frozen=True)
class Settings:
    """The user's settings: neighbours k, rows sampled as queries, the seed of every random choice, and the measures."""

    k: int = 10
    queries: int = 5_000
    seed: int = 0
    measures: tuple[Measure, ...] = MEASURES

    @property
    def keys(self) -> frozenset[str]:
        """The measures' keys for this k."""
        return frozenset(measure.named(self.k) for measure in self.measures)

    def asks(self, *needs: str) -> bool:
        """Whether a built-in measure among them needs one of these summaries: "moments", "neighbours", ..."""
        return any(measure.function is None and measure.needs in needs for measure in self.measures)

    @property
    def searches(self) -> bool:
        """Whether a measure needs neighbours."""
        return self.asks("neighbours", "ranks", "classes")


@dataclass(frozen=True)
class Side:
    """The neighbours of one space's queries in both metrics."""

    cosine: Neighbours
    euclidean: Neighbours

    @property
    def k(self) -> int:
        """Neighbours a query."""
        return self.cosine.k

    @property
    def n(self) -> int:
        """Rows searched."""
        return self.cosine.n

    @property
    def queries(self) -> np.ndarray:
        """Row numbers of the queries."""
        return self.cosine.queries

    def only(self, kept: np.ndarray) -> Side:
        """The same for some of the queries, by mask or position."""
        return Side(self.cosine.only(kept), self.euclidean.only(kept))


@dataclass(frozen=True)
class Voters:
    """The rows that have a class: ``rows`` (m,) are their numbers, ``codes`` (m,) their classes.

    ``side`` holds the neighbours of queries among these rows alone, by their places in ``rows``; None where there are
    at most k of them.
    """

    rows: np.ndarray
    codes: np.ndarray
    side: Side | None


@dataclass(frozen=True)
class Teacher:
    """The teacher's side of every pair: read, searched and labelled once.

    ``queries`` (q,) are the rows sampled as queries; ``side`` their neighbours, None where no measure needs them.
    ``codes`` (n,) index ``class_names``, -1 for rows without a label; ``class_source``: "labels" or "k-means";
    ``voters`` the rows with a class; ``groups`` (n,) the jackknife's; ``made`` the results from its moments alone.
    """

    cloud: Cloud
    queries: np.ndarray
    side: Side | None
    codes: np.ndarray
    class_names: np.ndarray
    class_source: str
    voters: Voters
    groups: np.ndarray
    group_count: int
    made: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def quarters(self, rows: np.ndarray) -> tuple[np.ndarray, int]:
        """The jackknife's groups of some rows, joined to at most four: enough for values without intervals."""
        count = min(4, self.group_count)
        return self.groups[rows] * count // self.group_count, count


def half_depth(k: int) -> int:
    """List depth at which k rows lie in a random half, with a probability above 1 - 1 / 2,000."""
    return DEPTH_FACTOR * k + EXTRA_DEPTH


def candidates(cloud: Cloud, queries: np.ndarray, k: int) -> Candidates:
    """Neighbours in both metrics, as deep as half-splits and, for the cosine, the overlap curve need."""
    return Candidates(cloud, queries, k, {"cosine": max(DEEPEST, half_depth(k)), "euclidean": half_depth(k)})


def settled(summary: Candidates, state: State, parallel: Mapper = one_by_one) -> Side:
    """The neighbours of a pass's candidates."""
    return Side(**summary.settled(state, parallel))


def search_side(cloud: Cloud, queries: np.ndarray, k: int, parallel: Mapper = one_by_one) -> Side:
    """Neighbours in both metrics, from a separate pass."""
    summary = candidates(cloud, queries, k)
    states = read(Pass({cloud.name: cloud.stored}, {"best": summary}), in_this_process(parallel), unwatched)
    return settled(summary, states["best"], parallel)


@dataclass(frozen=True, eq=False)
class Clusters:
    """The summary that assigns each row of a cloud, at unit length, to a k-means cluster; ``centres`` (c, d)."""

    cloud: Cloud
    centres: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, cloud: Cloud, seed: int) -> Clusters:
        """Clusters fitted on at most 2,000 rows."""
        from scipy.cluster.vq import kmeans2

        n = cloud.space.n
        count = max(2, min(CLUSTER_COUNT, n // 50))
        rows = cloud.points(cloud.space.take(sample(n, CLUSTERED_ROWS, seed, SAMPLING)), "cosine")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an empty cluster among repeated rows means one class fewer
            centres, _ = kmeans2(rows, count, minit="++", seed=seed, missing="warn")
        return cls(cloud, centres)

    @property
    def spaces(self) -> tuple[str, ...]:
        """The space whose rows are read."""
        return (self.cloud.name,)

    def start(self, first: int, last: int) -> _Assigned:
        """No rows yet."""
        return _Assigned(self)

    def merge(self, one: State, other: State) -> State:
        """The rows of both."""
        return joined(one, other, rows=("codes",))

    def result(self, state: State) -> np.ndarray:
        """The cluster (n,) of every row, numbered 0..C-1."""
        return np.unique(state["codes"], return_inverse=True)[1]


class _Assigned:
    """The clusters of a span's rows."""

    def __init__(self, clusters: Clusters) -> None:
        self.clusters = clusters
        self.halves = (clusters.centres**2).sum(1) / 2
        self.codes: list[np.ndarray] = []

    def add(self, start: int, blocks: tuple[np.ndarray, ...], parallel: Mapper) -> None:
        """Find the nearest centres of a block."""
        points = self.clusters.cloud.points(self.clusters.cloud.part(start, blocks[0])[1], "cosine")
        self.codes.append((points @ self.clusters.centres.T - self.halves).argmax(1))

    def state(self) -> State:
        """The clusters in row order."""
        return {"codes": np.concatenate(self.codes)}


def stand_in_classes(cloud: Cloud, seed: int) -> np.ndarray:
    """k-means clusters (n,) of a cloud's rows, from a separate pass."""
    clusters = Clusters.of(cloud, seed)
    states = read(Pass({cloud.name: cloud.stored}, {"classes": clusters}), in_this_process(one_by_one), unwatched)
    return clusters.result(states["classes"])
