"""A pair in two random halves, read block by block: every repair is fitted on one half and read on the other.

Neighbours are looked up within each half, for sampled queries against all of its rows; the database is never sampled.
CKA is read on at most 2,500 rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np

from manifold_probe.diagnosis.faithfulness import (
    METRICS,
    MOST,
    Faithfulness,
    largest,
    scored,
    seen_by,
    shape_likeness,
    shared,
)
from manifold_probe.engine.moments import Moments
from manifold_probe.engine.rows import sample
from manifold_probe.engine.scale import space_exponent
from manifold_probe.engine.view import space_divided
from manifold_probe.spaces.pairing import Pair

Step = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (student rows, teacher rows) -> the student's, repaired
QUERIES = 1000
BLOCK = 8192


class Halves:
    """The halves of a pair, both spaces at unit scale; ``without`` are rows that nothing is fitted on or judged by."""

    def __init__(self, pair: Pair, k: int, seed: int, without: np.ndarray | None = None) -> None:
        self.k, self.seed = k, seed
        self.exponents = space_exponent(pair.teacher), space_exponent(pair.student)
        self.teacher, self.student = map(space_divided, (pair.teacher, pair.student), self.exponents)
        n = pair.teacher.n
        self.fold = np.zeros(n, bool)
        self.fold[np.random.default_rng([seed, 1]).permutation(n)[: n // 2]] = True
        self.keep = np.ones(n, bool)
        if without is not None:
            self.keep[without] = False
        queries = np.sort(sample(n, QUERIES if n > 2 * QUERIES else n, seed))
        self.queries = queries[self.keep[queries]]
        rows = np.flatnonzero(self.keep)
        self.some = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST)).round().astype(int)]

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(row numbers, student rows, teacher rows) of the rows that count."""
        pairs = zip(self.student.blocks(BLOCK), self.teacher.blocks(BLOCK), strict=True)
        for (start, student), (_, teacher) in pairs:
            kept = self.keep[start : start + len(student)]
            yield np.arange(start, start + len(student))[kept], student[kept], teacher[kept]

    def moments(self, of: Callable[[np.ndarray], np.ndarray] | None = None) -> dict[bool, Moments]:
        """Of each half, the moments of its student rows, or of a function of them, and teacher rows."""
        found = {side: Moments() for side in (False, True)}
        for rows, student, teacher in self.blocks():
            for side, moments in found.items():
                chosen = self.fold[rows] == side
                moments.update(student[chosen] if of is None else of(student[chosen]), teacher[chosen])
        return found

    @cached_property
    def whole(self) -> dict[bool, Moments]:
        """The moments of each half as it is."""
        return self.moments()

    def judge(self, steps: dict[bool, Step], cka: bool = True) -> Faithfulness:
        """How faithful the student is, rows of each half repaired by that half's step."""
        near = self._near(lambda side, student, teacher: steps[side](student, teacher))
        overlap = {metric: shared(self._theirs[metric], near[metric]) for metric in METRICS}
        if not cka:
            return Faithfulness(overlap, float("nan"))
        teacher, student = self.sampled(steps)
        return Faithfulness(overlap, shape_likeness(teacher, student))

    def sampled(self, steps: dict[bool, Step]) -> tuple[np.ndarray, np.ndarray]:
        """(teacher rows, repaired student rows) of the rows that CKA is read on."""
        student, teacher = self.student.take(self.some), self.teacher.take(self.some)
        return teacher, self._by_side(self.some, lambda side, rows: steps[side](student[rows], teacher[rows]))

    def _by_side(self, rows: np.ndarray, made: Callable[[bool, np.ndarray], np.ndarray]) -> np.ndarray:
        parts = {side: np.flatnonzero(self.fold[rows] == side) for side in (False, True)}
        found = {side: made(side, part) for side, part in parts.items()}
        out = np.empty((len(rows), found[False].shape[1]), found[False].dtype)
        for side, part in parts.items():
            out[part] = found[side]
        return out

    @cached_property
    def _theirs(self) -> dict[str, np.ndarray]:
        return self._near(lambda side, student, teacher: teacher)

    def _near(self, made: Callable[[bool, np.ndarray, np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
        """(q, k) row numbers of each query's nearest in its half, by metric."""
        student, teacher = self.student.take(self.queries), self.teacher.take(self.queries)
        asked = self._by_side(self.queries, lambda side, rows: made(side, student[rows], teacher[rows]))
        centres = {metric: seen_by(asked, metric).mean(0) for metric in METRICS}
        wanted = {metric: scored(asked, metric, centres[metric])[0] for metric in METRICS}
        asked_by = {side: np.flatnonzero(self.fold[self.queries] == side) for side in (False, True)}
        shape = (len(self.queries), self.k)
        best = {metric: (np.full(shape, -np.inf, np.float32), np.full(shape, -1)) for metric in METRICS}
        for rows, own, theirs in self.blocks():
            for side, queries in asked_by.items():
                chosen = self.fold[rows] == side
                numbers = rows[chosen]
                if not len(numbers):
                    continue
                block = made(side, own[chosen], theirs[chosen])
                selves = self.queries[queries][:, None] == numbers
                for metric, (scores, places) in best.items():
                    near, bias = scored(block, metric, centres[metric])
                    found = wanted[metric][queries] @ near.T
                    found += bias
                    found[selves] = -np.inf
                    both = np.concatenate([scores[queries], found], axis=1)
                    where = np.concatenate([places[queries], np.broadcast_to(numbers, found.shape)], axis=1)
                    top = largest(both, self.k)
                    scores[queries], places[queries] = (np.take_along_axis(each, top, 1) for each in (both, where))
        alone = np.arange(len(self.queries))[:, None]  # where a half holds fewer: a place that nobody shares
        return {
            metric: np.where(np.isneginf(scores), -1 - self.k * alone - np.arange(self.k), places)
            for metric, (scores, places) in best.items()
        }
