"""Measures as marks on an axis: every place in percent of the axis's length, so that a strip is sharp at any width."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from manifold_probe.report.records import Reading

OVERHANG = 4.0  # percent by which a mark may leave the axis, so that -0.03 is not drawn as 0


@dataclass(frozen=True)
class Axis:
    """A linear axis from ``low`` to ``high`` with a tick at every ``step``."""

    low: float
    high: float
    step: float

    def place(self, value: float) -> float:
        """Where a value lies, in percent; what is off the axis stays at its end."""
        share = 100 * (value - self.low) / (self.high - self.low)
        return round(min(max(share, -OVERHANG), 100 + OVERHANG), 2)

    @property
    def steps(self) -> int:
        """The number of steps between its ends."""
        return round((self.high - self.low) / self.step)

    def ticks(self) -> list[tuple[float, str]]:
        """(place, text) of every tick.

        >>> Axis(-0.5, 1, 0.5).ticks()
        [(0.0, '-0.5'), (33.33, '0'), (66.67, '0.5'), (100.0, '1')]
        """
        values = [self.low + place * self.step for place in range(self.steps + 1)]
        return [(self.place(value), f"{value:,.4g}") for value in values]


SHARES = Axis(0.0, 1.0, 0.25)


@dataclass(frozen=True)
class Strip:
    """The places of one measure's value, interval and yardsticks; None where there is none."""

    value: float | None
    low: float | None
    high: float | None
    chance: float | None = None
    class_chance: float | None = None
    reference: float | None = None


def strip(measure: Reading, axis: Axis) -> Strip:
    """One measure on an axis."""
    values = {name: getattr(measure, name) for name in Strip.__dataclass_fields__}
    return Strip(**{name: None if value is None else axis.place(value) for name, value in values.items()})


def class_strip(row: dict[str, Any]) -> Strip:
    """The overlap of one class with its interval."""
    values = (row.get(name) for name in ("overlap", "low", "high"))
    return Strip(*(None if value is None else SHARES.place(value) for value in values))


def common_axis(measures: Iterable[Reading]) -> Axis:
    """From 0 to 1; from -0.5 or -1 where a value is clearly negative.

    >>> common_axis([])
    Axis(low=0.0, high=1.0, step=0.25)
    """
    lowest = min((measure.value for measure in measures if measure.value is not None), default=0.0)
    if lowest >= -OVERHANG / 100:
        return SHARES
    return Axis(-0.5 if lowest >= -0.5 else -1.0, 1.0, 0.5)


def own_axis(measures: Iterable[Reading]) -> Axis:
    """From 0, or below where an interval is, to a round number that holds every interval."""
    ends = [end for each in measures for end in (each.value, each.low, each.high) if end is not None]
    high = _round_up(max(ends)) if ends and max(ends) > 0 else 1.0
    low = min(ends, default=0.0)
    step = max(high, _round_up(-low) if low < 0 else 0.0) / 4
    return Axis(min(0.0, step * math.floor(low / step)), step * math.ceil(high / step), step)


def _round_up(value: float) -> float:
    """The next number whose quarters have few digits.

    >>> _round_up(710.0), _round_up(18.1), _round_up(1.49)
    (800.0, 20.0, 1.6)
    """
    unit = 10.0 ** math.floor(math.log10(value))
    return next(round(step * unit, 12) for step in (1, 1.2, 1.6, 2, 4, 6, 8, 10) if step * unit >= value)
