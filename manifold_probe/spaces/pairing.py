"""Pairing: which teacher row belongs to which student row, decided once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifold_probe.spaces.space import Space


@dataclass(frozen=True)
class Pair:
    """Two spaces whose i-th rows belong together.

    ``by`` is "id" or "position"; ``coverage`` the share of all rows (of the larger side) that found their partner;
    ``verified`` whether ids on both sides vouch for the pairing; ``ids`` and ``labels`` (n,) in the paired row order.
    """

    teacher: Space
    student: Space
    ids: np.ndarray | None
    labels: np.ndarray | None
    by: str
    coverage: float
    verified: bool
