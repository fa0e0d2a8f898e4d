"""One pass over a space: what its rows and columns look like before anything is compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from manifold_probe.engine.rows import hash_rows
from manifold_probe.engine.scale import divided, exponent_of
from manifold_probe.errors import InputError
from manifold_probe.spaces.checks import check_finite
from manifold_probe.spaces.space import Space

LARGEST = 1e300


@dataclass(frozen=True)
class Profile:
    """Row and column summaries of a space of n rows and d dimensions.

    ``exponent``: the power of two that rows are divided by when they are measured (see scale.py); in that unit are
    ``mean`` (d,), ``spread``, the root mean square distance from the mean, and ``norms`` (n,), the row norms.
    ``hashes`` (n,) of the rows' content; ``constant_columns`` (d,) and ``constant_rows`` (n,) as masks; ``largest``
    absolute value, as stored.
    """

    exponent: int
    mean: np.ndarray
    spread: float
    norms: np.ndarray
    hashes: np.ndarray
    constant_columns: np.ndarray
    constant_rows: np.ndarray
    largest: float

    @property
    def raw_norms(self) -> np.ndarray:
        """Norms (n,) of the rows as they are stored."""
        return np.ldexp(self.norms, self.exponent)

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
        Where a value is NaN or infinite, naming the space and the first such row, or not within 1e-300 and 1e300.
    """
    n, d = space.n, space.d
    norms, hashes, flat = np.zeros(n), np.empty(n, dtype=np.uint64), np.zeros(n, dtype=bool)
    low: np.ndarray = np.full(d, np.inf)
    high: np.ndarray = np.full(d, -np.inf)
    shift, sums, power, unit = np.zeros(d), np.zeros(d), 0.0, 0
    for start, block in space.blocks():
        check_finite(block, start, space)
        rows = slice(start, start + len(block))
        hashes[rows] = hash_rows(block)
        flat[rows] = block.max(1) == block.min(1)
        least, most = block.min(axis=0), block.max(axis=0)
        low, high = np.minimum(low, least), np.maximum(high, most)
        if not unit:  # what came before was all zero, or of ordinary size
            unit = exponent_of(max(most.max(), -least.min()))
            shift, sums, norms = (np.ldexp(each, -unit) for each in (shift, sums, norms))
            power = float(np.ldexp(power, -2 * unit))
        wide = divided(block, unit).astype(np.float64, copy=False)
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
            f"{space.name}: the largest absolute value is {largest:.3g}, at the edge of float64's range; "
            "multiply the features by a constant (no measure changes)"
        )
    exponent, moved = exponent_of(largest), sums / n
    constant = low == high
    # the mean of equal numbers may differ from them in its last digit, and be taken for a spread
    mean = np.where(constant, np.ldexp(low, -exponent), np.ldexp(shift + moved, unit - exponent))
    power = 0.0 if constant.all() else max(power / n - float(moved @ moved), 0.0)
    return Profile(
        exponent=exponent,
        mean=mean,
        spread=float(np.ldexp(np.sqrt(power), unit - exponent)),
        norms=np.ldexp(norms, unit - exponent),
        hashes=hashes,
        constant_columns=constant,
        constant_rows=flat & (d > 1),
        largest=largest,
    )
