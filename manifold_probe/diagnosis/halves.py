"""A pair in two random halves: every correction of the student is fitted on one half and evaluated on the other.

    overlap     of sampled queries, neighbours searched among all rows of their half, never among a sample
    CKA         debiased, of up to 1,000 rows of each half, with a jackknife over groups of them

A half holds n / 2 of the n rows, so that k n_half / n of its rows lie as near as k of all rows: that is the number of
neighbours used. Both spaces are read side by side, block by block, once for all corrections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

import numpy as np

from manifold_probe.diagnosis.lab import METRICS, QUERY_ERROR_FACTOR
from manifold_probe.engine.cloud import BLOCK, Cloud
from manifold_probe.engine.moments import Moments
from manifold_probe.engine.neighbours import Candidates, Neighbours
from manifold_probe.engine.passes import Pass, in_this_process, read
from manifold_probe.engine.rows import evenly, sample
from manifold_probe.engine.scale import space_exponent
from manifold_probe.engine.threads import threads
from manifold_probe.engine.view import space_divided
from manifold_probe.errors import InputError
from manifold_probe.measures.overlap import intersections
from manifold_probe.measures.uncertainty import Estimate, jackknife, over_queries
from manifold_probe.parts import Progress, silent
from manifold_probe.spaces.pairing import Pair
from manifold_probe.spaces.space import Space

Step = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (student rows, teacher rows) -> the student's rows, corrected
Correction = Mapping[bool, Step]  # of the rows of each half, fitted on the other
Reading = tuple[Estimate, Estimate]  # of each half

SIDES = (False, True)
TEACHER = "teacher"
QUERIES_A_HALF = 500
CKA_ROWS = 1000  # of each half
NONLINEAR_ROWS = 50_000  # on which a nonlinear map is fitted
JACKKNIFE_GROUPS = 20
MIN_HALF_ROWS = 6


class Halves:
    """The halves of a pair, both spaces at unit scale.

    Parameters
    ----------
    pair : Pair
    k : int
        Neighbours among all rows; ``self.k`` is the number used in a half.
    seed : int
    without : np.ndarray of int, optional
        Rows that are left out of fits and evaluations.

    Raises
    ------
    InputError
        Where a half has fewer than six rows left.
    """

    def __init__(self, pair: Pair, k: int, seed: int, without: np.ndarray | None = None) -> None:
        self.seed, self.n = seed, pair.teacher.n
        self.exponents = space_exponent(pair.teacher), space_exponent(pair.student)
        teacher, student = map(space_divided, (pair.teacher, pair.student), self.exponents)
        self.widths = student.d, teacher.d
        self.joint = Space(_SideBySide(student, teacher), name=f"{pair.student.name}, {pair.teacher.name}")
        self.fold = np.zeros(self.n, bool)
        self.fold[np.random.default_rng([seed, 1]).permutation(self.n)[: self.n // 2]] = True
        self.keep = np.ones(self.n, bool)
        if without is not None:
            self.keep[without] = False
        self.rows, self.excluded = (
            [np.flatnonzero(mask & (self.fold == side)) for side in SIDES] for mask in (self.keep, ~self.keep)
        )
        smallest = min(map(len, self.rows))
        if smallest < MIN_HALF_ROWS:
            raise InputError(
                f"{pair.student.name}: {self.keep.sum()} of {self.n} rows are left once the others are set aside; "
                "too few for two halves, give more rows"
            )
        self.k, self.k_of_all = (max(1, min(round(k * rows / self.n), rows - 1)) for rows in (smallest, self.n // 2))
        self.query_places = [sample(len(rows), QUERIES_A_HALF, seed) for rows in self.rows]
        self.queries = np.concatenate([rows[asked] for rows, asked in zip(self.rows, self.query_places, strict=True)])
        self.compared = [rows[evenly(len(rows), CKA_ROWS)] for rows in self.rows]

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(row numbers, student rows, teacher rows) of the kept rows, block by block."""
        for start, block in self.joint.blocks(BLOCK):
            kept = self.keep[start : start + len(block)]
            block = block if kept.all() else block[kept]
            yield start + np.flatnonzero(kept), *self._apart(block)

    def _apart(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        student_width = self.widths[0]
        return rows[:, :student_width], rows[:, student_width:]

    def moments(
        self, function: Callable[[np.ndarray], np.ndarray] | None = None, limit: int | None = None
    ) -> dict[bool, Moments]:
        """For each half, the moments of its student rows, or of a ``function`` of them, and teacher rows; with
        ``limit``, of that many rows of the pair, drawn at random."""
        drawn = np.ones(self.n, bool)
        if limit is not None and limit < self.n:
            drawn = np.zeros(self.n, bool)
            drawn[sample(self.n, limit, self.seed)] = True
        by_half = {side: Moments() for side in SIDES}
        for rows, student, teacher in self.blocks():
            for side, moments in by_half.items():
                chosen = (self.fold[rows] == side) & drawn[rows]
                moments.update(student[chosen] if function is None else function(student[chosen]), teacher[chosen])
        return by_half

    @cached_property
    def half_moments(self) -> dict[bool, Moments]:
        """The moments of each half, without a correction."""
        return self.moments()

    def overlaps(
        self, corrections: Mapping[str, Correction], progress: Progress = silent
    ) -> dict[str, dict[str, list[np.ndarray]]]:
        """By correction and metric, the overlap of every query of each half, (q,) in 0..1."""
        return self._overlaps(corrections, self.rows, self.query_places, self.k, progress)

    def of_all(
        self, corrections: Mapping[str, Correction], queries: list[np.ndarray], progress: Progress = silent
    ) -> dict[str, dict[str, list[np.ndarray]]]:
        """The same for some rows (q,) of each half, among all rows including those that were left out."""
        rows = [np.flatnonzero(self.fold == side) for side in SIDES]
        places = [
            np.searchsorted(half_rows, half_queries) for half_rows, half_queries in zip(rows, queries, strict=True)
        ]
        return self._overlaps(corrections, rows, places, self.k_of_all, progress)

    def _overlaps(
        self,
        corrections: Mapping[str, Correction],
        rows: list[np.ndarray],
        places: list[np.ndarray],
        k: int,
        progress: Progress,
    ) -> dict[str, dict[str, list[np.ndarray]]]:
        wanted: dict[str, Correction] = {**corrections, TEACHER: dict.fromkeys(SIDES, the_teacher)}
        lists = self.neighbours(wanted, rows, places, k, progress)
        teacher_lists = lists.pop(TEACHER)
        return {
            name: {
                metric: [
                    intersections(a[metric], b[metric]) / k for a, b in zip(teacher_lists, student_lists, strict=True)
                ]
                for metric in METRICS
            }
            for name, student_lists in lists.items()
        }

    def neighbours(
        self,
        corrections: Mapping[str, Correction],
        rows: list[np.ndarray],
        places: list[np.ndarray],
        k: int,
        progress: Progress = silent,
    ) -> dict[str, list[dict[str, Neighbours]]]:
        """By correction, for each half, the neighbours by metric of its rows at the ``places``, in one pass."""
        summaries = {
            f"{name} {side}": Candidates(
                _Half(self.joint, rows[side], self._made(correction[side])),
                places[side],
                k,
                dict.fromkeys(METRICS, k),
                distances=False,
            )
            for name, correction in corrections.items()
            for side in SIDES
        }
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            progress("reading corrections", done, self.n)

        with threads() as parallel:
            states = read(Pass({_Half.name: self.joint}, summaries), in_this_process(parallel), advance)
            settled = {key: summary.settled(states[key], parallel) for key, summary in summaries.items()}
        return {name: [settled[f"{name} {side}"] for side in SIDES] for name in corrections}

    def _made(self, step: Step) -> Callable[[np.ndarray], np.ndarray]:
        return lambda rows: step(*self._apart(rows))

    def corrected(self, correction: Correction, rows: list[np.ndarray]) -> list[np.ndarray]:
        """Some rows of each half after a correction."""
        return [
            correction[side](*self._apart(self.joint.take(chosen))) for side, chosen in zip(SIDES, rows, strict=True)
        ]

    def likeness(self, correction: Correction) -> Reading:
        """Debiased linear CKA of each half."""
        first, second = self.corrected(correction, self.compared)
        return self._likeness[0].of(first), self._likeness[1].of(second)

    @cached_property
    def _likeness(self) -> list[Likeness]:
        return [Likeness(rows) for rows in self.corrected(dict.fromkeys(SIDES, the_teacher), self.compared)]


def as_it_is(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """The student's rows."""
    return student


def the_teacher(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """The teacher's rows."""
    return teacher


def error_of(values: np.ndarray) -> float:
    """The standard error of the mean of one value a query, for queries that share neighbours."""
    return QUERY_ERROR_FACTOR * float(values.std(ddof=1)) / float(np.sqrt(len(values))) if len(values) > 1 else 0.0


def mean_of_halves(values: list[np.ndarray]) -> Reading:
    """The mean of one value a query in each half, with the same errors."""
    first, second = (
        over_queries(float(half_values.mean()), half_values, (0.0, 1.0)).widened(QUERY_ERROR_FACTOR)
        for half_values in values
    )
    return first, second


def joined(reading: Reading) -> Estimate:
    """The mean of both halves."""
    first, second = reading
    if first.value is None or second.value is None or first.deviations is None or second.deviations is None:
        return Estimate(None)
    together = np.concatenate([first.deviations, second.deviations]) / 2
    return Estimate((first.value + second.value) / 2, together, first.degrees + second.degrees, first.bounds)


def chosen(readings: Mapping[str, Reading], names: list[tuple[str, ...]]) -> tuple[str, str]:
    """For each half the best of its ``names`` by the value on the other half, so that the choice is unbiased."""

    def value_in_other_half(side: bool) -> Callable[[str], float]:
        return lambda name: -np.inf if (value := readings[name][not side].value) is None else value

    return max(names[0], key=value_in_other_half(False)), max(names[1], key=value_in_other_half(True))


class _SideBySide:
    """The rows of two spaces side by side, (n, ds + dt)."""

    def __init__(self, *spaces: Space) -> None:
        self.spaces = spaces
        self.shape = spaces[0].n, sum(space.d for space in spaces)
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        if isinstance(index, slice):
            return np.concatenate([space.read(index.start, index.stop) for space in self.spaces], axis=1)
        return np.concatenate([space.take(index) for space in self.spaces], axis=1)


class _FunctionOfRows:
    """A function of the rows of a space."""

    def __init__(self, space: Space, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self.space, self.function = space, function
        first = function(space.read(0, 1))
        self.shape, self.dtype = (space.n, first.shape[1]), first.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        rows = self.space.read(index.start, index.stop) if isinstance(index, slice) else self.space.take(index)
        return self.function(rows)


class _Half(Cloud):
    """A function of some rows of both spaces, computed from the blocks of a pass over both."""

    name = "pair"

    def __init__(self, joint: Space, rows: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__(Space(_FunctionOfRows(joint, function), name=joint.name), self.name, rows=rows)
        self.function = function

    def part(self, start: int, block: np.ndarray) -> tuple[int, np.ndarray]:
        """The function of the rows in a block, and the number of the first."""
        assert self.rows is not None
        first, last = np.searchsorted(self.rows, [start, start + len(block)])
        return int(first), self.view(self.function(block[self.rows[first:last] - start]))


class Likeness:
    """Debiased linear CKA with the rows of a teacher (n, d), and without each of 20 groups of rows, from products.

    With K = XX' and L = YY' of the centred rows, without their diagonals, k = K1 and l = L1,

        HSIC = [<K, L> + (1'k)(1'l) / ((n - 1)(n - 2)) - 2 k'l / (n - 2)] / (n (n - 3))

    (Song et al. 2012). `measures.debiased_linear_cka` computes it from moments; for few rows of many dimensions
    products are faster, and a mask leaves out rows.
    """

    def __init__(self, teacher: np.ndarray) -> None:
        n = len(teacher)
        groups = min(JACKKNIFE_GROUPS, n // 2)
        without = np.arange(n)[:, None] % groups != np.arange(groups)
        self.masks = np.column_stack([np.ones(n), without])
        self.teacher_products = self._products(teacher)
        self.square = self._hsic(self.teacher_products, self.teacher_products)

    def of(self, student: np.ndarray) -> Estimate:
        """The CKA of rows (n, d') with its interval; undefined where a space does not vary."""
        student_products = self._products(student)
        squares = self.square * self._hsic(student_products, student_products)
        if not (squares > 0).all():
            return Estimate(None)
        values = self._hsic(self.teacher_products, student_products) / np.sqrt(squares)
        return jackknife(values[0], values[1:], (-1.0, 1.0))

    def _products(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """K (n, n), and its sums over the rows that each mask keeps (n, masks)."""
        x = rows.astype(np.float64)
        x -= x.mean(0)
        x /= np.sqrt(np.square(x).sum(1).mean()) or 1.0
        products = x @ x.T
        np.fill_diagonal(products, 0)
        return products, products @ self.masks * self.masks

    def _hsic(self, left: tuple[np.ndarray, np.ndarray], right: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        (first, left_sums), (second, right_sums) = left, right
        n = self.masks.sum(0)
        together = ((first * second) @ self.masks * self.masks).sum(0)
        sums = left_sums.sum(0) * right_sums.sum(0) / ((n - 1) * (n - 2)) - 2 * (left_sums * right_sums).sum(0) / (
            n - 2
        )
        return (together + sums) / (n * (n - 3))
