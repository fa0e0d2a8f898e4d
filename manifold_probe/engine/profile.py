"""What the rows and columns of a space look like before anything is compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.exact import parts
from manifold_probe.engine.passes import State, joined
from manifold_probe.engine.rows import hash_rows
from manifold_probe.engine.threads import Each
from manifold_probe.errors import InputError

LARGEST = 1e300
BEYOND = 2.0**200  # of the unit: fourth powers of larger values leave float64
ROWS = 512  # looked at together


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


@dataclass(frozen=True, eq=False)
class Profiling:
    """The summary of a cloud's rows and columns."""

    cloud: Cloud

    @property
    def spaces(self) -> tuple[str, ...]:
        """The space that is profiled."""
        return (self.cloud.name,)

    def start(self, first: int, last: int) -> _Looked:
        """No rows yet."""
        return _Looked(self.cloud, first, last)

    def merge(self, one: State, other: State) -> State:
        """What both spans hold."""
        return joined(one, other, rows=("norms", "hashes", "flat"), least=("low",), most=("high",))

    def result(self, state: State) -> Profile:
        """The profile of all rows.

        Raises
        ------
        InputError
            Where values are not within 1e-300 and 1e300, or not of the size of those sampled.
        """
        cloud, low, high = self.cloud, state["low"], state["high"]
        largest = float(max(-low.min(), high.max()))
        if largest > LARGEST or 0 < largest < 1 / LARGEST:
            raise InputError(
                f"{cloud.called}: the largest absolute value is {largest:.3g}, at the edge of float64's range; "
                "multiply the features by a constant (no measure changes)"
            )
        if largest > np.ldexp(BEYOND, cloud.exponent):
            raise InputError(
                f"{cloud.called}: the largest absolute value is {largest:.3g}, far beyond those of the rows sampled "
                f"(about {np.ldexp(1.0, cloud.exponent):.3g}); drop the rows that are out of scale"
            )
        n, constant = len(state["norms"]), low == high
        moved = state["sums"] / n
        mean = np.where(constant, np.ldexp(low, -cloud.exponent), cloud.mean + moved)
        power = 0.0 if constant.all() else max(float(state["power"]) / n - float(moved @ moved), 0.0)
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


class _Looked:
    """What a span's rows and columns look like."""

    def __init__(self, cloud: Cloud, first: int, last: int) -> None:
        self.cloud, self.first = cloud, first
        count, d = last - first, len(cloud.mean)
        self.norms, self.hashes = np.zeros(count), np.empty(count, dtype=np.uint64)
        self.flat = np.zeros(count, dtype=bool)
        self.low, self.high = np.full(d, np.inf), np.full(d, -np.inf)
        self.sums, self.power = np.zeros(d), 0.0

    def add(self, start: int, blocks: tuple[np.ndarray, ...], each: Each) -> None:
        """Look at a block, a few rows at a time, as they stay in the processor's cache."""
        block = blocks[0]
        looked = each(lambda some: self._look(block[some], start - self.first + some.start), parts(len(block), ROWS))
        for low, high, sums, power in looked:
            self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
            self.sums += sums
            self.power += power

    def _look(self, rows: np.ndarray, place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        here = slice(place, place + len(rows))
        self.hashes[here] = hash_rows(rows)
        self.flat[here] = rows.max(1) == rows.min(1)
        wide = self.cloud.view(rows).astype(np.float64, copy=False)
        self.norms[here] = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        away = wide - self.cloud.mean
        return rows.min(0), rows.max(0), away.sum(0), float(np.vdot(away, away))

    def state(self) -> State:
        """The summary of the span."""
        power = np.array(self.power)
        return {name: getattr(self, name) for name in ("norms", "hashes", "flat", "low", "high", "sums")} | {
            "power": power
        }
