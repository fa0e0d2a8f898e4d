"""A space as a cloud of points for distances, centred and scaled to avoid cancellation.

Scale, centre and shift come from a sample of the rows, so that a single pass over all rows can use them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import linalg

from manifold_probe.engine.rows import SAMPLING, sample
from manifold_probe.engine.scale import exponent_of, largest_of
from manifold_probe.engine.view import View, viewed
from manifold_probe.spaces.checks import check_finite
from manifold_probe.spaces.space import Space

if TYPE_CHECKING:
    from manifold_probe.engine.profile import Profile

SAMPLE_ROWS, CENTRE_ROWS = 20_000, 1_000
BLOCK = 8192  # rows that are read together
CACHE_BYTES = 256 * 2**20  # of projected rows
FAR = 1e15  # in units of the spread: up to this length float32 squares and products of rows are finite


class Terms(NamedTuple):
    """The terms of float32 scores, per row and in units of the spread (see scores.py):

    z (m, d), |z|^2 / 2, |x|, r, r_j - r, h and e (m,), and |z|. For rows farther than `FAR`, z, r and e are scaled."""

    z: np.ndarray
    half: np.ndarray
    norm: np.ndarray
    r: np.ndarray
    rho: np.ndarray
    h: np.ndarray
    e: np.ndarray
    far: np.ndarray


class Cloud:
    """A space at unit scale (see scale.py), with a centre and a spread.

    ``name`` is that of the stored space in a pass, ``view`` maps its rows to those of ``space``, ``rows`` (n,) are the
    row numbers of the cloud if it has only some of the rows. Rows of ``asked``, numbered from n on, are queries only
    and not neighbours: the cloud is then a bank, and its rows are not queries. ``mean`` (d,) is that of up to 20,000
    rows; ``centre`` (d,) the median of up to 1,000, ``spread`` and ``size`` the median distance from the centre and
    from the origin. They are medians, so that a few far rows do not reduce the precision of the others. ``profile`` is
    set after the first pass.
    """

    profile: Profile

    def __init__(
        self,
        space: Space,
        name: str = "space",
        view: View | None = None,
        rows: np.ndarray | None = None,
        asked: Space | None = None,
    ) -> None:
        self.name, self.stored, self.rows, self.space_name = name, space, rows, space.name
        selected = space if rows is None else space.select(rows)
        drawn = sample(selected.n, SAMPLE_ROWS, 0, SAMPLING)
        some = selected.take(drawn) if selected.n > SAMPLE_ROWS else selected.read(0, selected.n)
        if not np.isfinite(some).all():
            for start, block in selected.blocks():
                check_finite(block, start, selected)
        view = view or View()
        self.view = view if view.exponent else replace(view, exponent=exponent_of(largest_of(view(some))))
        self.space = viewed(selected, self.view)
        self.asked = None if asked is None else viewed(asked, self.view)
        self.d = self.space.d
        if self.view.directions is not None and selected.n * self.space.d * 8 <= CACHE_BYTES:
            projected = np.concatenate([self.view(block) for _, block in selected.blocks(BLOCK)])
            self.space = Space(projected, name=space.name)
        some = self.space.take(drawn) if self.view.directions is not None else self.view(some)
        low, high = some.min(0), some.max(0)
        # the mean of equal numbers may differ from them in its last digit, which would count as a spread
        self.mean = np.where(low == high, low, some.mean(0, dtype=np.float64)).astype(np.float64)
        self.sampled_norms = norms = np.sqrt(np.einsum("ij,ij->i", some, some, dtype=np.float64))
        few = self.space.take(sample(selected.n, CENTRE_ROWS, 0, SAMPLING)).astype(np.float64)
        self.centre = np.median(few.T.copy(), axis=1)  # faster than along the columns
        overall = float(np.sqrt(np.mean(norms**2))) or 1.0
        self.spread = float(np.median(np.linalg.norm(few - self.centre, axis=1))) or overall
        self.size = float(np.median(norms)) or overall

    @property
    def exponent(self) -> int:
        """The power of two that rows are divided by."""
        return self.view.exponent

    def __getstate__(self) -> dict[str, Any]:
        """The state without the rows, which the receiving process reads."""
        return {key: value for key, value in vars(self).items() if key not in ("space", "stored", "profile")}

    @property
    def others(self) -> int:
        """The number of rows that can be neighbours of a query."""
        return self.space.n - (self.asked is None)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The rows (m, d) with some numbers (m,); those of ``asked`` are numbered from n on."""
        if self.asked is None:
            return self.space.take(rows)
        is_asked = rows >= self.space.n
        bank, asked = self.space.take(rows[~is_asked]), self.asked.take(rows[is_asked] - self.space.n)
        if len(bank) and len(asked):
            taken = np.empty((len(rows), self.space.d), np.result_type(bank, asked))
            taken[~is_asked], taken[is_asked] = bank, asked
            return taken
        return asked if len(asked) else bank

    def part(self, start: int, block: np.ndarray) -> tuple[int, np.ndarray]:
        """(number of the first, rows) of the cloud in ``block``, the stored rows from ``start`` on."""
        if self.rows is None:
            return start, self.view(block)
        first, last = np.searchsorted(self.rows, [start, start + len(block)])
        return int(first), self.view(block[self.rows[first:last] - start])

    def of_rows(self, rows: np.ndarray) -> Cloud:
        """The cloud of only some rows (m,)."""
        return Cloud(self.stored, self.name, self.view, rows if self.rows is None else self.rows[rows])

    def without(self, columns: np.ndarray) -> Cloud:
        """The cloud without some of its columns."""
        if not len(columns):
            return self
        kept = np.setdiff1d(np.arange(self.space.d), columns)
        return Cloud(self.stored, self.name, View(columns=kept), self.rows)

    def principal(self, width: int) -> tuple[Cloud, np.ndarray]:
        """The cloud in the first principal directions of up to 20,000 rows, not centred, and these (d, width)."""
        z = self.space.take(sample(self.space.n, SAMPLE_ROWS, 0, SAMPLING)) - self.mean
        directions = linalg.eigh(z.T @ z)[1][:, ::-1][:, :width]
        rest = float(np.linalg.norm(self.mean - directions @ (directions.T @ self.mean)))
        return Cloud(
            self.stored, self.name, replace(self.view, directions=directions, rest=rest), self.rows
        ), directions

    def scale(self, metric: str) -> float:
        """The typical squared length of the centred points of a metric."""
        return self.spread**2 if metric == "euclidean" else (self.spread / self.size) ** 2

    def terms(self, rows: np.ndarray) -> Terms:
        """The terms of the float32 scores of rows (m, d)."""
        wide = rows.astype(np.float64, copy=False)
        z, centre = (wide - self.centre) / self.spread, self.centre / self.spread
        norm = np.sqrt(np.einsum("ij,ij->i", wide, wide)) / self.spread
        r = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
        rho, e = r - self.spread / self.size, z @ centre
        h = centre @ centre * rho + r * e
        half = np.einsum("ij,ij->i", z, z) / 2
        far = np.sqrt(2 * half)
        if far.max(initial=0.0) > FAR:
            down = np.maximum(far / FAR, 1.0)
            z, r, e, half = z / down[:, None], r * down, e / down, np.minimum(half, FAR**2 / 2)
        return Terms(z, half, norm, r, rho, h, e, far)

    def points(self, rows: np.ndarray, metric: str) -> np.ndarray:
        """Float64 points near the origin whose squared distances (halved for cosine) are the metric's distances."""
        wide = rows.astype(np.float64)  # a copy, changed in place to save memory
        if metric == "euclidean":
            wide -= self.centre
            return wide
        norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        wide /= np.where(norms > 0, norms, 1)[:, None]
        wide -= self.centre / self.size
        return wide
