"""Summaries of the rows and columns of a single space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.exact import parts
from manifold_probe.engine.passes import State, joined
from manifold_probe.engine.rows import hash_rows
from manifold_probe.engine.threads import Mapper
from manifold_probe.errors import InputError

MAX_VALUE = 1e300
MAX_SCALED = 2.0**200  # at unit scale: fourth powers of larger values overflow float64
ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class Profile:
    """Row and column summaries of a space of n rows and d dimensions.

    ``exponent``: the power of two by which rows are divided (see scale.py); in this unit are ``mean`` (d,), ``spread``,
    the root mean square distance from the mean, and ``norms`` (n,), the row norms.
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
        """Norms (n,) of the stored rows."""
        return np.ldexp(self.norms, self.exponent)

    @property
    def offset(self) -> float:
        """Length of the mean divided by the spread: the distance of the cloud from the origin."""
        length = float(np.linalg.norm(self.mean))
        return length / self.spread if self.spread else (float("inf") if length else 0.0)


@dataclass(frozen=True, eq=False)
class Profiling:
    """The summary of a cloud's rows and columns."""

    cloud: Cloud

    @property
    def spaces(self) -> tuple[str, ...]:
        """The space that is profiled."""
        return (self.cloud.name,)

    def start(self, first: int, last: int) -> _SpanProfile:
        """No rows yet."""
        return _SpanProfile(self.cloud, first, last)

    def merge(self, one: State, other: State) -> State:
        """The state of both spans."""
        return joined(one, other, rows=("norms", "hashes", "flat"), least=("low",), most=("high",))

    def result(self, state: State) -> Profile:
        """The profile of all rows.

        Raises
        ------
        InputError
            If values are not within 1e-300 and 1e300, or much larger than those of the sample.
        """
        cloud, low, high = self.cloud, state["low"], state["high"]
        largest = float(max(-low.min(), high.max()))
        if largest > MAX_VALUE or 0 < largest < 1 / MAX_VALUE:
            raise InputError(
                f"{cloud.space_name}: the largest absolute value is {largest:.3g}, close to the limits of float64; "
                "multiply the features by a constant (no measure changes)"
            )
        if largest > np.ldexp(MAX_SCALED, cloud.exponent):
            raise InputError(
                f"{cloud.space_name}: the largest absolute value is {largest:.3g}, far beyond that of the sampled rows "
                f"(about {np.ldexp(1.0, cloud.exponent):.3g}); drop the rows of this scale"
            )
        n, constant = len(state["norms"]), low == high
        shift = state["sums"] / n
        mean = np.where(constant, np.ldexp(low, -cloud.exponent), cloud.mean + shift)
        power = 0.0 if constant.all() else max(float(state["power"]) / n - float(shift @ shift), 0.0)
        return Profile(
            exponent=cloud.exponent,
            mean=mean,
            spread=float(np.sqrt(power)),
            norms=state["norms"],
            hashes=state["hashes"],
            constant_columns=constant,
            constant_rows=state["flat"] & (len(low) > 1),
            largest=largest,
        )


class _SpanProfile:
    """The profile of a span."""

    def __init__(self, cloud: Cloud, first: int, last: int) -> None:
        self.cloud, self.first = cloud, first
        count, d = last - first, len(cloud.mean)
        self.norms, self.hashes = np.zeros(count), np.empty(count, dtype=np.uint64)
        self.flat = np.zeros(count, dtype=bool)
        self.low, self.high = np.full(d, np.inf), np.full(d, -np.inf)
        self.sums, self.power = np.zeros(d), 0.0

    def add(self, start: int, blocks: tuple[np.ndarray, ...], mapper: Mapper) -> None:
        """Add a block, a few rows at a time, so that they stay in the processor's cache."""
        block, offset = blocks[0], start - self.first
        results = mapper(lambda some: self._rows(block[some], offset + some.start), parts(len(block), ROWS_AT_ONCE))
        for low, high, sums, power in results:
            self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
            self.sums += sums
            self.power += power

    def _rows(self, rows: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """Store the values of some rows; returns minima, maxima, sums and squares of the columns."""
        span = slice(start, start + len(rows))
        self.hashes[span] = hash_rows(rows)
        self.flat[span] = rows.max(1) == rows.min(1)
        wide = self.cloud.view(rows).astype(np.float64, copy=False)
        self.norms[span] = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        centred = wide - self.cloud.mean
        return rows.min(0), rows.max(0), centred.sum(0), float(np.vdot(centred, centred))

    def state(self) -> State:
        """The summary of the span."""
        arrays = {name: getattr(self, name) for name in ("norms", "hashes", "flat", "low", "high", "sums")}
        return arrays | {"power": np.array(self.power)}
