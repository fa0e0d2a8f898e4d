"""The results of a measurement, before they are shown or saved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manifold_probe.measures.uncertainty import Estimate


@dataclass(frozen=True)
class Measured:
    """One measured number with everything needed to interpret it.

    Attributes
    ----------
    estimate : Estimate
        The value with its interval; ``estimate.value`` is None where the measure is undefined.
    n : int
        Rows (or query rows) the value was computed from.
    chance : float or None
        Expected value when the student's rows are paired at random.
    class_chance : float or None
        Expected value when every row of the student moves to another row's place within its class: the part explained
        by class structure alone. Rows that are the only one of their class, or have no label, are left out; None, with
        a note, where these are most.
    reference : float or None
        The same measure for the teacher against its first principal components, as many as the student has dimensions.
    metric : str or None
        "cosine" or "euclidean" for neighbour measures.
    note : str or None
        A caveat in one sentence: why the value is undefined, or from what it was estimated.
    quantiles : dict or None
        For measures with a value per dimension: {"0.05": ..., "0.25": ..., "0.5": ..., "0.75": ..., "0.95": ...}.
    declared : dict or None
        For measures that are not built in: {"title", "group", "gloss", "higher_is_better"}, so that a saved result can
        show it.
    """

    estimate: Estimate
    n: int
    chance: float | None = None
    class_chance: float | None = None
    reference: float | None = None
    metric: str | None = None
    note: str | None = None
    quantiles: dict[str, float] | None = None
    declared: dict[str, Any] | None = None

    @property
    def value(self) -> float | None:
        """The measured value, or None where it is undefined."""
        return self.estimate.value

    @property
    def low(self) -> float | None:
        """Lower end of the 95% interval."""
        return self.estimate.low

    @property
    def high(self) -> float | None:
        """Upper end of the 95% interval."""
        return self.estimate.high

    @property
    def confidence(self) -> float:
        """Nominal coverage of the interval."""
        return self.estimate.confidence


@dataclass(frozen=True)
class Alarm:
    """A property of the data that would mislead a reader: a code and its evidence in one sentence."""

    code: str
    message: str


@dataclass(frozen=True)
class Measurement:
    """Everything measured over one pair of spaces."""

    measures: dict[str, Measured]
    details: dict[str, Any] = field(default_factory=dict)
    alarms: list[Alarm] = field(default_factory=list)
    class_source: str | None = None
    class_names: np.ndarray | None = None
