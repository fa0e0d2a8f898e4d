"""Every layer of one model against every layer of another: CKA from one pass over the rows.

A block of rows is read once a layer and added to the sums of every pair that contains the layer. Sums of one layer
(X'X and the sums of its rows) are kept once; only X'Y and the other joint sums are kept for each pair.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from manifold_probe.engine.moments import Moments
from manifold_probe.engine.scale import divided, exponent_of, largest_of
from manifold_probe.errors import InputError
from manifold_probe.measures.alignment import cka, debiased_cka
from manifold_probe.measures.catalogue import DEBIASED_CKA, LINEAR_CKA
from manifold_probe.parts import Progress, silent
from manifold_probe.spaces.checks import check_finite
from manifold_probe.spaces.space import BLOCK_BYTES, Space

LARGEST = 1e70  # in units of the first rows' largest value: float64 holds its fourth power
MIN_BLOCK_ROWS = 256  # with fewer the products cost more to add up than to compute


def layer_matrix(
    teacher: dict[str, Space], student: dict[str, Space], progress: Progress | None = None
) -> dict[str, Any]:
    """Linear CKA, |X'Y|_F^2 / (|X'X|_F |Y'Y|_F) of centred X and Y, and its debiased form, for every two layers.

    One pass over the rows; in memory are 8 (sum of d1^2 + sum of d2^2 + sum of d1 d2 over all pairs) bytes, see
    `layer_bytes`, and one block of rows of all layers.

    Parameters
    ----------
    teacher, student : dict of Space, each (n, d)
        The layers by name, all of the same n rows in the same order. Widths may differ.
    progress : callable, optional
        Called as ``progress("comparing layers", rows done, n)``.

    Returns
    -------
    dict
        ``teacher``, ``student``: the layers' names; ``linear_cka`` (0 to 1), ``debiased_linear_cka`` (at most 1, 0 in
        expectation for independent layers): lists of rows, a row for each teacher layer and a column for each student
        layer, None where undefined (a constant layer; debiased also below four rows); ``n``.

    Raises
    ------
    InputError
        Where a side has no layers, row counts differ, a value is NaN, infinite or too large, or the sums need more
        memory than the machine has.

    References
    ----------
    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, eq. 5; Nguyen et al. 2021, Do Wide
    and Deep Networks Learn the Same Things?, eq. 3.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> matrix = layer_matrix({"a": Space(x)}, {"b": Space(3 * x[:, ::-1] + 7), "flat": Space(np.ones((50, 2)))})
    >>> [round(value, 6) if value is not None else None for value in matrix["linear_cka"][0]]
    [1.0, None]
    """
    spaces = [*teacher.values(), *student.values()]
    n = _rows(teacher, student)
    _check_memory(layer_bytes(teacher, student), len(teacher), len(student))
    size = max(MIN_BLOCK_ROWS, BLOCK_BYTES // (8 * sum(space.d for space in spaces)))
    left, right = [_Layer(space) for space in teacher.values()], [_Layer(space) for space in student.values()]
    pairs = [[_Products(x, y) for y in right] for x in left]
    report = silent if progress is None else progress
    with np.errstate(over="ignore", invalid="ignore"):  # values that are too large are refused below
        for start in range(0, n, size):
            for layer in (*left, *right):
                layer.read(start, start + size)
            for pair in (pair for row in pairs for pair in row):
                pair.add()
            report("comparing layers", min(start + size, n), n)
    for layer in (*left, *right):
        layer.check_size()
    both = [[pair.moments() for pair in row] for row in pairs]
    return {
        "teacher": list(teacher),
        "student": list(student),
        LINEAR_CKA.key: [[_known(cka(m)) for m in row] for row in both],
        DEBIASED_CKA.key: [[_known(debiased_cka(m)) for m in row] for row in both],
        "n": n,
    }


def layer_bytes(teacher: dict[str, Space], student: dict[str, Space]) -> int:
    """Bytes of the sums that `layer_matrix` keeps: float64 d x d for every layer and d1 x d2 for every pair.

    >>> layer_bytes({"a": Space(np.eye(3))}, {"b": Space(np.eye(3)), "c": Space(np.eye(3)[:, :2])})
    296
    """
    left, right = [space.d for space in teacher.values()], [space.d for space in student.values()]
    return 8 * (sum(d * d for d in (*left, *right)) + sum(left) * sum(right))


class _Layer:
    """One layer: the sums that need no other layer, and its rows of the current block.

    ``z`` (m, d) are the block's rows, divided by a power of two (see scale.py), less a fixed shift near the mean;
    ``a`` (m,) are their squared lengths.
    """

    def __init__(self, space: Space) -> None:
        d = space.d
        self.space = space
        self.shift, self.s = np.zeros(d), np.zeros(d)
        self.xx, self.ax, self.aa = np.zeros((d, d)), np.zeros(d), 0.0
        self.z, self.a = np.empty((0, d)), np.empty(0)
        self.largest, self.exponent = 0.0, 0

    def read(self, start: int, stop: int) -> None:
        """Fetch the rows start..stop and add them up."""
        block = self.space.read(start, stop)
        check_finite(block, start, self.space)
        if not self.largest:  # all earlier rows were zero
            self.exponent = exponent_of(largest_of(block))
        block = divided(block, self.exponent)
        self.largest = max(self.largest, largest_of(block))
        if not start:
            # The mean of equal numbers may differ from them in its last digit: a constant column must become all 0.
            flat = block.min(0) == block.max(0)
            self.shift = np.where(flat, block[0], block.mean(0, dtype=np.float64)).astype(np.float64)
        self.z = block - self.shift
        self.a = np.einsum("ij,ij->i", self.z, self.z)
        self.s += self.z.sum(0)
        self.xx += self.z.T @ self.z
        self.ax += self.a @ self.z
        self.aa += float(self.a @ self.a)

    def check_size(self) -> None:
        """Refuse values whose fourth power float64 cannot hold."""
        if self.largest > LARGEST:
            raise InputError(
                f"{self.space.name}: the largest absolute value is {self.largest:.3g} times those of the first rows; "
                "float64 cannot hold the fourth powers of both. Drop the rows that are out of scale"
            )


class _Products:
    """The joint sums of one pair of layers."""

    def __init__(self, x: _Layer, y: _Layer) -> None:
        self.x, self.y = x, y
        self.xy, self.ab = np.zeros((x.space.d, y.space.d)), 0.0
        self.bx, self.ay = np.zeros(x.space.d), np.zeros(y.space.d)

    def add(self) -> None:
        """Add the current block of both layers."""
        x, y = self.x, self.y
        self.xy += x.z.T @ y.z
        self.ab += float(x.a @ y.a)
        self.bx += y.a @ x.z
        self.ay += x.a @ y.z

    def moments(self) -> Moments:
        """The pair's moments; the sums of single layers are shared."""
        x, y, m = self.x, self.y, Moments()
        m.shift_x, m.shift_y, m.n = x.shift, y.shift, x.space.n
        m.sx, m.xx, m.ax, m.aa = x.s, x.xx, x.ax, x.aa
        m.sy, m.yy, m.by, m.bb = y.s, y.xx, y.ax, y.aa
        m.xy, m.ab, m.bx, m.ay = self.xy, self.ab, self.bx, self.ay
        return m


def _rows(teacher: dict[str, Space], student: dict[str, Space]) -> int:
    """The number of rows, the same in every layer."""
    if not teacher or not student:
        raise InputError(f"{'student' if teacher else 'teacher'}: has no layers; give at least one on each side")
    first, *rest = [*teacher.values(), *student.values()]
    for space in rest:
        if space.n != first.n:
            raise InputError(
                f"{space.name}: has {space.n:,} rows and {first.name} has {first.n:,}; pair the rows of all layers"
            )
    return first.n


def _check_memory(wanted: int, teachers: int, students: int) -> None:
    # numpy would allocate the memory, and the process would be killed when it writes to it
    if hasattr(os, "sysconf") and wanted > (available := os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")):
        raise InputError(
            f"{teachers} x {students} layers: their sums take {wanted / 2**30:,.1f} GiB and this machine has "
            f"{available / 2**30:,.1f}; compare fewer layers at a time, or pool them to fewer dimensions"
        )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
