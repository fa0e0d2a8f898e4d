"""Grouped moments of a teacher and its students in one pass: the sums of every space, and those of every pair.

With x the teacher's rows and y a student's, shifted to near their means, a = |x|^2 and b = |y|^2, of every group:

    space   n, sum x, X'X, sum a x, sum a^2              (and the same for y)
    pair    X'Y, sum ab, sum b x, sum a y

X'X is symmetric: only one triangle of a finished span is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.exact import parts
from manifold_probe.engine.moments import Moments
from manifold_probe.engine.passes import State
from manifold_probe.engine.threads import Mapper

ROWS_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class GroupedMoments:
    """The summary of moments of every group about ``shifts``; ``clouds`` are that of the teacher, then the students.

    ``groups`` (n,) are numbers below ``count``; rows with other numbers are left out.
    """

    clouds: tuple[Cloud, ...]
    groups: np.ndarray = field(repr=False)
    count: int
    shifts: tuple[np.ndarray, ...] = field(repr=False)

    @property
    def spaces(self) -> tuple[str, ...]:
        """The teacher and its students."""
        return tuple(cloud.name for cloud in self.clouds)

    def start(self, first: int, last: int) -> _Sums:
        """No rows yet."""
        return _Sums(self, first, last)

    def merge(self, one: State, other: State) -> State:
        """The sums of both, added into the first, because they are large."""
        for name, value in one.items():
            if name.startswith("squares"):
                one[name] = np.concatenate([value, other[name]])
            else:
                value += other[name]
        return one

    def result(self, state: State) -> list[tuple[list[Moments], np.ndarray]]:
        """For every student the moments of the groups, and the squared distances of rows from the shifts, (2, n)."""
        full = [_unpacked(state[f"products{i}"], len(shift)) for i, shift in enumerate(self.shifts)]
        return [self._of(state, full, student) for student in range(1, len(self.clouds))]

    def _of(self, state: State, full: list[np.ndarray], student: int) -> tuple[list[Moments], np.ndarray]:
        parts = []
        for group in range(self.count):
            m = Moments.__new__(Moments)
            m.shift_x, m.shift_y, m.n = self.shifts[0], self.shifts[student], int(state["n"][group])
            m.sx, m.xx, m.ax, m.aa = self._of_space(state, full, 0, group)
            m.sy, m.yy, m.by, m.bb = self._of_space(state, full, student, group)
            m.xy, m.ab = state[f"cross{student}"][group], float(state[f"ab{student}"][group])
            m.bx, m.ay = state[f"bx{student}"][group], state[f"ay{student}"][group]
            parts.append(m)
        return parts, np.stack([state["squares0"], state[f"squares{student}"]])

    def _of_space(
        self, state: State, full: list[np.ndarray], space: int, group: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        sums, weighted = state[f"sums{space}"][group], state[f"weighted{space}"][group]
        return sums, full[space][group], weighted, float(state[f"fourth{space}"][group])


class _Sums:
    """The sums of a span."""

    def __init__(self, summary: GroupedMoments, first: int, last: int) -> None:
        self.summary, self.first = summary, first
        widths, count = [len(shift) for shift in summary.shifts], summary.count
        self.sums: State = {"n": np.zeros(count, dtype=np.int64)}
        for i, d in enumerate(widths):
            shapes = {"products": (count, d, d), "sums": (count, d), "weighted": (count, d), "fourth": (count,)}
            self.sums |= {f"{name}{i}": np.zeros(shape) for name, shape in shapes.items()}
            self.sums[f"squares{i}"] = np.zeros(last - first)
            if i:
                shapes = {"cross": (count, widths[0], d), "ab": (count,), "bx": (count, widths[0]), "ay": (count, d)}
                self.sums |= {f"{name}{i}": np.zeros(shape) for name, shape in shapes.items()}

    def add(self, start: int, blocks: tuple[np.ndarray, ...], mapper: Mapper) -> None:
        """Add a block to the sums of its rows' groups."""
        count = len(blocks[0])
        groups = self.summary.groups[start : start + count]
        order = np.argsort(groups, kind="stable")
        edges = np.searchsorted(groups[order], np.arange(self.summary.count + 1))
        shifted, squares = [], []
        for i, (cloud, shift, block) in enumerate(zip(self.summary.clouds, self.summary.shifts, blocks, strict=True)):
            z = np.empty((count, len(shift)))

            def subtract(some: slice, cloud: Cloud = cloud, at: np.ndarray = shift, block: np.ndarray = block) -> None:
                np.subtract(cloud.view(block[order[some]]), at, out=z[some])  # noqa: B023, done before the next

            mapper(subtract, parts(count, ROWS_AT_ONCE))
            square = np.einsum("ij,ij->i", z, z)
            self.sums[f"squares{i}"][start - self.first + order] = square
            shifted.append(z)
            squares.append(square)
        self.sums["n"] += np.diff(edges)
        spaces = range(len(shifted))
        tasks = [
            (g, i, j) for g in range(self.summary.count) for i in spaces for j in spaces if j == i or (not i and j)
        ]

        def add(task: tuple[int, int, int]) -> None:
            g, i, j = task
            some = slice(edges[g], edges[g + 1])
            x, y, a, b = shifted[i][some], shifted[j][some], squares[i][some], squares[j][some]
            if not len(x):
                return
            if i == j:
                self.sums[f"products{i}"][g] += x.T @ x
                self.sums[f"sums{i}"][g] += x.sum(0)
                self.sums[f"weighted{i}"][g] += a @ x
                self.sums[f"fourth{i}"][g] += a @ a
                return
            self.sums[f"cross{j}"][g] += x.T @ y
            self.sums[f"ab{j}"][g] += a @ b
            self.sums[f"bx{j}"][g] += b @ x
            self.sums[f"ay{j}"][g] += a @ y

        mapper(add, tasks)

    def state(self) -> State:
        """The sums, with one triangle of the symmetric ones."""
        packed = {name: _packed(value) for name, value in self.sums.items() if name.startswith("products")}
        return self.sums | packed


def _packed(full: np.ndarray) -> np.ndarray:
    """The lower triangles (g, d (d + 1) / 2) of symmetric matrices (g, d, d)."""
    rows, columns = np.tril_indices(full.shape[1])
    return full[:, rows, columns]


def _unpacked(triangles: np.ndarray, d: int) -> np.ndarray:
    rows, columns = np.tril_indices(d)
    full = np.empty((len(triangles), d, d))
    full[:, rows, columns] = triangles
    full[:, columns, rows] = triangles
    return full
