"""The two sides of a measurement: a space, its neighbour lists, and what the teacher's side is asked once for all."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.inputs import codes_of
from manifold_probe.engine.neighbours import Neighbours, search
from manifold_probe.engine.profile import profile
from manifold_probe.engine.rows import SAMPLING, groups_of, hash_ids, sample
from manifold_probe.measures.catalogue import MEASURES, Measure
from manifold_probe.spaces.pairing import Pair

Progress = Callable[[str, int, int], None]
DEPTH, DEPTH_MORE = 3, 12
DEEPEST = 200
NULL_ROWS = 2_000
STAND_IN_CLASSES = 20
STAND_IN_ROWS = 2_000


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Settings:
    """What the user chose: neighbours k, rows sampled as queries, the seed of every random choice, and the measures."""

    k: int = 10
    queries: int = 5_000
    seed: int = 0
    measures: tuple[Measure, ...] = MEASURES

    @property
    def keys(self) -> frozenset[str]:
        """The measures' keys for this k."""
        return frozenset(each.named(self.k) for each in self.measures)

    def asks(self, *needs: str) -> bool:
        """Whether a built-in measure among them is made from one of these: "moments", "neighbours", ..."""
        return any(each.function is None and each.needs in needs for each in self.measures)

    @property
    def searches(self) -> bool:
        """Whether neighbours have to be searched."""
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
        return Side(_only(self.cosine, kept), _only(self.euclidean, kept))


def _only(found: Neighbours, kept: np.ndarray) -> Neighbours:
    lists = (found.members[kept], found.weights[kept], found.distances[kept], found.deep[kept])
    return Neighbours(found.queries[kept], found.n, found.k, found.metric, *lists)


@dataclass(frozen=True)
class Voters:
    """The rows that have a class, all others left out: ``rows`` (m,) are their numbers, ``codes`` (m,) their classes.

    ``side`` holds the neighbours of queries among these rows alone, by their places in ``rows``; None where there are
    no more than k of them.
    """

    rows: np.ndarray
    codes: np.ndarray
    side: Side | None

    def side_of(self, cloud: Cloud, side: Side, name: str, report: Progress = silent) -> Side | None:
        """The neighbours of the same queries in another space, of whose rows ``side`` holds the neighbours."""
        if self.side is None or len(self.rows) == side.n:
            return side if self.side is not None else None
        return search_side(Cloud(cloud.space.select(self.rows)), self.side.queries, side.k, name, report)


@dataclass(frozen=True)
class Teacher:
    """The teacher's side of every pair: read, searched and labelled once.

    ``queries`` (q,) are the rows sampled as queries; ``side`` their neighbours, None where no measure needs them.
    ``codes`` (n,) index ``class_names``, -1 for rows without a label; ``class_source``: "labels" or "k-means";
    ``voters`` the rows with a class; ``groups`` (n,) the jackknife's.
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

    def quarters(self, rows: np.ndarray) -> tuple[np.ndarray, int]:
        """The jackknife's groups of some rows, joined to at most four: enough for values without intervals."""
        count = min(4, self.group_count)
        return self.groups[rows] * count // self.group_count, count


def read_teacher(pair: Pair, settings: Settings, report: Progress) -> Teacher:
    """Profile, group, label and search the teacher of a pair."""
    space = pair.teacher
    cloud = Cloud(space, profile(space, lambda done, n: report("reading teacher", done, n)))
    known = np.arange(space.n) if pair.ids is None else pair.ids
    groups, count = groups_of(hash_ids(known), settings.seed)
    if pair.labels is None:
        codes, source = stand_in_classes(cloud, settings.seed), "k-means"
        names = np.unique(codes)
    else:
        (codes, names), source = codes_of(pair.labels), "labels"
    queries = sample(space.n, settings.queries, settings.seed)
    side = search_side(cloud, queries, settings.k, "teacher", report) if settings.searches else None
    voters = _voters(cloud, side, codes, settings, report)
    return Teacher(cloud, queries, side, codes, names, source, voters, groups, count)


def _voters(cloud: Cloud, side: Side | None, codes: np.ndarray, settings: Settings, report: Progress) -> Voters:
    rows = np.flatnonzero(codes >= 0)
    if len(rows) == len(codes):
        return Voters(rows, codes, side)
    if len(rows) <= settings.k or not settings.asks("classes"):
        return Voters(rows, codes[rows], None)
    queries = sample(len(rows), settings.queries, settings.seed)
    found = search_side(Cloud(cloud.space.select(rows)), queries, settings.k, "labelled teacher", report)
    return Voters(rows, codes[rows], found)


def half_depth(k: int) -> int:
    """How deep lists must go for k of their rows to lie in a random half, but for a chance below one in 2,000."""
    return DEPTH * k + DEPTH_MORE


def search_side(cloud: Cloud, queries: np.ndarray, k: int, name: str, report: Progress = silent) -> Side:
    """Neighbours in both metrics, as deep as half-splits and, for the cosine, the overlap curve need."""
    depths = {"cosine": max(DEEPEST, half_depth(k)), "euclidean": half_depth(k)}
    found = search(cloud, queries, k, depths, lambda _, done, n: report(f"neighbours of {name}", done, n))
    return Side(found["cosine"], found["euclidean"])


def stand_in_classes(cloud: Cloud, seed: int) -> np.ndarray:
    """k-means clusters (n,) of the teacher's unit rows, fitted on at most 2,000 of them, numbered 0..C-1."""
    from scipy.cluster.vq import kmeans2

    n = cloud.space.n
    count = max(2, min(STAND_IN_CLASSES, n // 50))
    rows = cloud.points(cloud.space.take(sample(n, STAND_IN_ROWS, seed, SAMPLING)), "cosine")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty cluster among repeated rows is only one class fewer
        centres, _ = kmeans2(rows, count, minit="++", seed=seed, missing="warn")
    halves = (centres**2).sum(1) / 2
    parts = [(cloud.points(block, "cosine") @ centres.T - halves).argmax(1) for _, block in cloud.space.blocks()]
    return np.unique(np.concatenate(parts), return_inverse=True)[1]
