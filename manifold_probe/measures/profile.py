"""One pass over a space: what its rows and columns look like before anything is compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.measures.rows import hash_rows
from manifold_probe.spaces.checks import check_finite
from manifold_probe.spaces.space import Space

LARGEST = 1e70


@dataclass(frozen=True)
class Profile:
    """Row and column summaries of a space of n rows and d dimensions.

    ``mean`` (d,); ``spread`` the root mean square distance from the mean; ``norms`` (n,) raw row norms; ``hashes`` (n,)
    of the rows' content; ``constant_columns`` (d,) and ``constant_rows`` (n,) as masks; ``largest`` absolute value.
    """

    mean: np.ndarray
    spread: float
    norms: np.ndarray
    hashes: np.ndarray
    constant_columns: np.ndarray
    constant_rows: np.ndarray
    largest: float

    @property
    def offset(self) -> float:
        """Length of the mean over the spread: how far the cloud stands from the origin."""
        length = float(np.linalg.norm(self.mean))
        return length / self.spread if self.spread else (float("inf") if length else 0.0)


def profile(space: Space, progress: Callable[[int, int], None] | None = None) -> Profile:
    """Read a space once, refuse NaN and infinite values, and summarise it.

    Raises
    ------
    InputError
        Where a value is NaN or infinite, naming the space and the first such row.
    """
    n, d = space.n, space.d
    norms, hashes, flat = np.empty(n), np.empty(n, dtype=np.uint64), np.zeros(n, dtype=bool)
    low: np.ndarray = np.full(d, np.inf)
    high: np.ndarray = np.full(d, -np.inf)
    shift, sums, power = np.zeros(d), np.zeros(d), 0.0
    for start, block in space.blocks():
        check_finite(block, start, space)
        rows = slice(start, start + len(block))
        hashes[rows] = hash_rows(block)
        flat[rows] = block.max(1) == block.min(1)
        low = np.minimum(low, block.min(axis=0))
        high = np.maximum(high, block.max(axis=0))
        wide = block.astype(np.float64, copy=False)
        norms[rows] = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        if not start:
            shift = wide.mean(0)
        away = wide - shift
        sums += away.sum(0)
        power += float(np.vdot(away, away))
        if progress:
            progress(rows.stop, n)
    largest = float(max(-low.min(), high.max()))
    if largest > LARGEST or 0 < largest < 1 / LARGEST:
        raise InputError(
            f"{space.name}: the largest absolute value is {largest:.3g}, whose fourth power float64 cannot hold; "
            "multiply the features by a constant (no measure but the norms changes)"
        )
    moved = sums / n
    return Profile(
        mean=shift + moved,
        spread=float(np.sqrt(max(power / n - float(moved @ moved), 0.0))),
        norms=norms,
        hashes=hashes,
        constant_columns=low == high,
        constant_rows=flat & (d > 1),
        largest=largest,
    )
