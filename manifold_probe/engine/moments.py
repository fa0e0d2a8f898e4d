"""Second-order moments of a pair: one pass, mergeable, d x d.

With x' = x - shift_x, y' = y - shift_y (fixed shifts near the means, so that nothing cancels), a = |x'|^2, b = |y'|^2:

    n,  sum x', sum y',  X'X, X'Y, Y'Y,  sum a^2, sum ab, sum b^2,  sum a x', sum b x', sum a y', sum b y'

are enough for linear CKA (biased and debiased), Procrustes, ridge maps, spectra and per-dimension correlations. The
sums are in float64 and additive, so moments of blocks, groups or machines merge, and a group can be subtracted.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from manifold_probe.engine.inputs import as_matrices
from manifold_probe.engine.scale import at_unit_scale
from manifold_probe.errors import InputError

_SUMS = ("n", "sx", "sy", "xx", "xy", "yy", "aa", "ab", "bb", "ax", "bx", "ay", "by")


class Moments:
    """Streaming moments of paired rows (n, dx) and (n, dy).

    Parameters
    ----------
    shift_x, shift_y : np.ndarray, shape (dx,) and (dy,), optional
        Points near the means; by default the means of the first block.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(100, 5)), rng.normal(size=(100, 3))
    >>> first, second = Moments().update(x[:40], y[:40]), Moments().update(x[40:], y[40:])
    >>> together = Moments().update(x, y)
    >>> bool(np.allclose(first.merge(second).covariance[1], together.covariance[1]))
    True
    """

    def __init__(self, shift_x: np.ndarray | None = None, shift_y: np.ndarray | None = None) -> None:
        self.n = 0
        self.shift_x = self.shift_y = np.empty(0)
        if shift_x is not None and shift_y is not None:
            self._allocate(shift_x, shift_y)

    def _allocate(self, shift_x: np.ndarray, shift_y: np.ndarray) -> None:
        self.shift_x, self.shift_y = shift_x, shift_y
        dx, dy = len(shift_x), len(shift_y)
        self.sx, self.sy = np.zeros(dx), np.zeros(dy)
        self.xx, self.xy, self.yy = np.zeros((dx, dx)), np.zeros((dx, dy)), np.zeros((dy, dy))
        self.aa = self.ab = self.bb = 0.0
        self.ax, self.bx, self.ay, self.by = np.zeros(dx), np.zeros(dx), np.zeros(dy), np.zeros(dy)

    def update(self, x: np.ndarray, y: np.ndarray) -> Moments:
        """Add a block of paired rows (m, dx) and (m, dy); returns itself."""
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
            raise InputError(f"moments need paired blocks (m, dx) and (m, dy), not {x.shape} and {y.shape}")
        if not len(x):
            return self
        if not len(self.shift_x):
            self._allocate(x.mean(0), y.mean(0))
        if x.shape[1] != len(self.sx) or y.shape[1] != len(self.sy):
            raise InputError(
                f"block widths {x.shape[1]} and {y.shape[1]} differ from {len(self.sx)} and {len(self.sy)}"
            )
        return self.add(np.concatenate([x - self.shift_x, y - self.shift_y], axis=1))

    def add(self, z: np.ndarray) -> Moments:
        """Add rows that are shifted and concatenated, z = [x', y'] (m, dx + dy), with one symmetric product."""
        dx = len(self.sx)
        x, y = z[:, :dx], z[:, dx:]
        products = z.T @ z
        a, b = np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", y, y)
        self.n += len(z)
        self.sx += x.sum(0)
        self.sy += y.sum(0)
        self.xx += products[:dx, :dx]
        self.xy += products[:dx, dx:]
        self.yy += products[dx:, dx:]
        self.aa, self.ab, self.bb = self.aa + float(a @ a), self.ab + float(a @ b), self.bb + float(b @ b)
        self.ax += a @ x
        self.bx += b @ x
        self.ay += a @ y
        self.by += b @ y
        return self

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets of rows, about the shifts of this one."""
        if not other.n:
            return self
        if not self.n:
            return other + Moments(other.shift_x, other.shift_y)
        if len(self.sx) != len(other.sx) or len(self.sy) != len(other.sy):
            raise InputError("moments of spaces of different widths do not merge; give the same pair of models")
        return self + other.shifted(self.shift_x, self.shift_y)

    def shifted(self, shift_x: np.ndarray, shift_y: np.ndarray) -> Moments:
        """The moments of the same rows about other shifts."""
        if np.array_equal(shift_x, self.shift_x) and np.array_equal(shift_y, self.shift_y):
            return self
        n, u, v = self.n, self.shift_x - shift_x, self.shift_y - shift_y
        c, e = u @ u, v @ v
        a, b = np.trace(self.xx), np.trace(self.yy)
        ux, vy = u @ self.sx, v @ self.sy
        new = Moments(shift_x, shift_y)
        new.n = n
        new.sx, new.sy = self.sx + n * u, self.sy + n * v
        new.xx = self.xx + np.outer(self.sx, u) + np.outer(u, self.sx) + n * np.outer(u, u)
        new.xy = self.xy + np.outer(self.sx, v) + np.outer(u, self.sy) + n * np.outer(u, v)
        new.yy = self.yy + np.outer(self.sy, v) + np.outer(v, self.sy) + n * np.outer(v, v)
        new.aa = float(self.aa + 4 * u @ self.xx @ u + n * c * c + 4 * u @ self.ax + 2 * c * a + 4 * c * ux)
        new.bb = float(self.bb + 4 * v @ self.yy @ v + n * e * e + 4 * v @ self.by + 2 * e * b + 4 * e * vy)
        new.ab = float(
            self.ab
            + 2 * v @ self.ay
            + e * a
            + 2 * u @ self.bx
            + 4 * u @ self.xy @ v
            + 2 * e * ux
            + c * b
            + 2 * c * vy
            + n * c * e
        )
        sum_a, sum_b = a + 2 * ux + n * c, b + 2 * vy + n * e
        new.ax = self.ax + 2 * self.xx @ u + c * self.sx + u * sum_a
        new.bx = self.bx + 2 * self.xy @ v + e * self.sx + u * sum_b
        new.ay = self.ay + 2 * u @ self.xy + c * self.sy + v * sum_a
        new.by = self.by + 2 * self.yy @ v + e * self.sy + v * sum_b
        return new

    def _combine(self, other: Moments, operation: Callable) -> Moments:
        new = Moments.__new__(Moments)
        new.shift_x, new.shift_y = self.shift_x, self.shift_y
        for name in _SUMS:
            setattr(new, name, operation(getattr(self, name), getattr(other, name)))
        return new

    def accumulate(self, other: Moments) -> None:
        """Add moments about the same shifts in place."""
        for name in _SUMS:
            setattr(self, name, operator.iadd(getattr(self, name), getattr(other, name)))

    def __add__(self, other: Moments) -> Moments:
        return self._combine(other, lambda p, q: p + q)

    def __sub__(self, other: Moments) -> Moments:
        return self._combine(other.shifted(self.shift_x, self.shift_y), lambda p, q: p - q)

    @property
    def covariance(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Centred sums of products (X'X, X'Y, Y'Y), not divided by n."""
        return (
            self.xx - np.outer(self.sx, self.sx) / self.n,
            self.xy - np.outer(self.sx, self.sy) / self.n,
            self.yy - np.outer(self.sy, self.sy) / self.n,
        )

    @property
    def variances(self) -> tuple[float, float]:
        """Traces of the centred X'X and Y'Y."""
        x, y = np.trace(self.xx) - self.sx @ self.sx / self.n, np.trace(self.yy) - self.sy @ self.sy / self.n
        return float(max(x, 0.0)), float(max(y, 0.0))

    @property
    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Means of the rows without shift."""
        return self.shift_x + self.sx / self.n, self.shift_y + self.sy / self.n

    def swapped(self) -> Moments:
        """The moments with x and y exchanged."""
        new = Moments.__new__(Moments)
        new.shift_x, new.shift_y, new.n = self.shift_y, self.shift_x, self.n
        new.sx, new.sy, new.xx, new.xy, new.yy = self.sy, self.sx, self.yy, self.xy.T, self.xx
        new.aa, new.ab, new.bb = self.bb, self.ab, self.aa
        new.ax, new.bx, new.ay, new.by = self.by, self.ay, self.bx, self.ax
        return new

    def save(self, path: str | Path) -> None:
        """Write the sums to an .npz file."""
        with open(path, "wb") as file:
            arrays = {name: np.asarray(getattr(self, name)) for name in (*_SUMS, "shift_x", "shift_y")}
            np.savez(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | Path) -> Moments:
        """Read moments that ``save`` wrote."""
        new = cls.__new__(cls)
        try:
            with np.load(path, allow_pickle=False) as stored:
                for name in (*_SUMS, "shift_x", "shift_y"):
                    value = stored[name]
                    setattr(new, name, value if value.ndim else value.item())
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise InputError(f"{path}: is not a file of moments ({error}); write it again with Moments.save") from None
        return new


def moments_of(x: np.ndarray, y: np.ndarray) -> Moments:
    """Moments of two matrices (n, dx) and (n, dy) at unit scale (see scale.py)."""
    return Moments().update(*map(at_unit_scale, as_matrices(x, y)))


def grouped(x: np.ndarray, y: np.ndarray, groups: np.ndarray, count: int) -> list[Moments]:
    """The Moments of every group about the same shifts, for a grouped jackknife and held-out halves."""
    parts = [Moments(x.mean(0), y.mean(0)) for _ in range(count)]
    add_grouped(parts, x, y, groups)
    return parts


def add_grouped(parts: list[Moments], x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> None:
    """Add a block of rows to the moments of their groups (m,)."""
    order = np.argsort(groups, kind="stable")
    z = np.concatenate([x[order] - parts[0].shift_x, y[order] - parts[0].shift_y], axis=1, dtype=np.float64)
    edges = np.searchsorted(groups[order], np.arange(len(parts) + 1))
    for part, start, stop in zip(parts, edges[:-1], edges[1:], strict=True):
        if stop > start:
            part.add(z[start:stop])


def total(parts: list[Moments]) -> Moments:
    """The sum of moments with the same shifts."""
    sums = Moments(parts[0].shift_x, parts[0].shift_y)
    for part in parts:
        sums.accumulate(part)
    return sums
