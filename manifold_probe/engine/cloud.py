"""A space as a cloud of points: what distances are taken between, centred and scaled so that nothing cancels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from manifold_probe.engine.profile import Profile, profile
from manifold_probe.engine.rows import SAMPLING, sample
from manifold_probe.engine.scale import space_divided
from manifold_probe.spaces.space import Space

PILOT = 1_000


def device() -> torch.device:
    """A CUDA device where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Terms(NamedTuple):
    """What float32 scores are made of, per row and in units of the spread:

    z (m, d), |z|^2 / 2, |x|, r, r_j - r, h and e (m,)."""

    z: np.ndarray
    half: np.ndarray
    norm: np.ndarray
    r: np.ndarray
    rho: np.ndarray
    h: np.ndarray
    e: np.ndarray


class Cloud:
    """A space at unit scale (see scale.py) with its profile, a centre and a spread.

    ``centre`` (d,) is the median of up to 1,000 rows, ``spread`` and ``size`` the median distance from it and from the
    origin: medians, so that a few far rows do not decide how finely the others are told apart.
    """

    def __init__(self, space: Space, known: Profile | None = None) -> None:
        self.profile = known or profile(space)
        self.space = space = space_divided(space, self.profile.exponent)
        pilot = space.take(sample(space.n, PILOT, 0, SAMPLING)).astype(np.float64)
        self.centre = np.median(pilot, axis=0)
        overall = float(np.sqrt(np.mean(self.profile.norms**2))) or 1.0
        distance = float(np.median(np.linalg.norm(pilot - self.centre, axis=1)))
        # float32 squares of the farthest row must stay finite
        self.spread = max(distance, 1e-12 * self.profile.spread) or overall
        self.size = float(np.median(self.profile.norms)) or overall

    def scale(self, metric: str) -> float:
        """The typical squared length of the centred points of a metric."""
        return self.spread**2 if metric == "euclidean" else (self.spread / self.size) ** 2

    def terms(self, rows: np.ndarray) -> Terms:
        """What the float32 scores of rows (m, d) are made of."""
        wide = rows.astype(np.float64, copy=False)
        z, centre = (wide - self.centre) / self.spread, self.centre / self.spread
        norm = np.sqrt(np.einsum("ij,ij->i", wide, wide)) / self.spread
        r = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
        rho, e = r - self.spread / self.size, z @ centre
        return Terms(z, np.einsum("ij,ij->i", z, z) / 2, norm, r, rho, centre @ centre * rho + r * e, e)

    def points(self, rows: np.ndarray, metric: str) -> np.ndarray:
        """Float64 points near the origin whose squared distances (halved for cosine) are the metric's distances."""
        wide = rows.astype(np.float64)  # a copy, changed in place: at most one more matrix is held
        if metric == "euclidean":
            wide -= self.centre
            return wide
        norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        wide /= np.where(norms > 0, norms, 1)[:, None]
        wide -= self.centre / self.size
        return wide
