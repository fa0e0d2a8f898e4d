"""The yardstick: the teacher against its own first principal components, as many as the student has dimensions.

The mean is put back, so that cosines keep their meaning. It bounds CKA from above for that width; other measures can
beat it (a PCA of normalised rows can score a higher overlap).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.exact import places
from manifold_probe.engine.moments import Moments, grouped, total
from manifold_probe.engine.rows import sample
from manifold_probe.measures import from_moments, from_neighbours, overlap
from manifold_probe.measures.classes import predictions
from manifold_probe.measures.dimensions import effective_ranks
from manifold_probe.measures.geometry import pearson
from manifold_probe.measures.sides import NULL_ROWS, Settings, Side, Teacher, Voters, search_side
from manifold_probe.spaces.space import Space

MANY_ROWS = 5_000
FEW_QUERIES = 1_000
FEW_RANKS = 500
IN_MEMORY = 256 * 2**20


@dataclass(frozen=True)
class Reference:
    """Reference values by measure key, its effective rank, and its neighbours (None where the teacher is narrower)."""

    values: dict[str, float]
    rank: float | None
    side: Side | None


class _PrincipalRows:
    """Rows of a space in its principal directions (d, r), with the mean's remaining length as one more column."""

    def __init__(self, space: Space, mean: np.ndarray, directions: np.ndarray) -> None:
        self.space, self.directions = space, directions
        self.rest = float(np.linalg.norm(mean - directions @ (directions.T @ mean)))
        self.shape = (space.n, directions.shape[1] + 1)
        self.dtype = np.dtype(np.float64)

    def __len__(self) -> int:
        return self.space.n

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        rows = self.space.read(index.start, index.stop) if isinstance(index, slice) else self.space.take(index)
        return np.pad(rows @ self.directions, ((0, 0), (0, 1)), constant_values=self.rest)


def measure_reference(teacher: Teacher, m: Moments | None, width: int, settings: Settings) -> Reference:
    """Measure the reference; moment measures from 2,000 rows, neighbours from 1,000 queries above 5,000 rows.

    The moments ``m`` are not read for a student as wide as the teacher.
    """
    space = teacher.cloud.space
    if width >= space.d:
        perfect = dict.fromkeys(_perfect(settings.k), 1.0)
        if (own := teacher.voters.side) is not None:
            codes = teacher.voters.codes
            accuracy = float((predictions(own.cosine, codes) == codes[own.queries]).mean())
            perfect[f"knn_accuracy_student@{settings.k}"] = accuracy
        return Reference(perfect, None, None)
    assert m is not None
    directions = linalg.eigh(m.covariance[0])[1][:, ::-1][:, :width]
    principal = _PrincipalRows(space, teacher.cloud.profile.mean, directions)
    cut = Space(principal if space.n * (width + 1) * 8 > IN_MEMORY else principal[0 : space.n])
    rows = teacher.queries
    few = rows[sample(len(rows), NULL_ROWS, settings.seed)]
    x, centre = space.take(few).astype(np.float64), teacher.cloud.profile.mean
    put_back = centre + (x - centre) @ directions @ directions.T  # in the teacher's own dimensions
    parts = grouped(x, put_back, *teacher.quarters(few))
    values, cloud = from_moments.values(parts, settings.keys), Cloud(cut)
    values.pop(
        "per_dimension_correlation:permutation", None
    )  # it has all the teacher's axes, a narrower student has not
    values["norm_correlation"] = pearson(teacher.cloud.profile.norms, cloud.profile.norms)
    values["rankme_student"] = rank = effective_ranks(total(parts).swapped(), [])[0]
    side = None
    if teacher.side is not None:
        asked = sample(len(rows), FEW_QUERIES, settings.seed) if space.n > MANY_ROWS else np.arange(len(rows))
        side = search_side(cloud, rows[asked], settings.k, "reference")
        values |= _local(teacher, teacher.side.only(asked), cloud, side, settings)
    return Reference({key: value for key, value in values.items() if np.isfinite(value)}, rank, side)


def _local(teacher: Teacher, own: Side, cloud: Cloud, side: Side, settings: Settings) -> dict[str, float]:
    """The neighbour measures of the reference."""
    k = settings.k
    voters = teacher.voters
    everyone = len(voters.rows) == side.n
    values = from_neighbours.values(own, side, teacher.codes if everyone and settings.asks("classes") else None)
    if not everyone and voters.side is not None:
        values |= _of_voters(voters, voters.side, cloud, settings)
    values = {from_neighbours.named(key, k): value for key, value in values.items() if "teacher" not in key}
    if 2 * k < side.n and settings.asks("ranks"):
        some = sample(len(own.queries), FEW_RANKS, settings.seed)
        for key, here, there in (("trustworthiness", side, teacher.cloud), ("continuity", own, cloud)):
            few = here.only(some).cosine
            nearer, tied = places(there, few.queries, few.members, "cosine")
            values[f"{key}@{k}"] = float(1 - overlap.penalties(few, nearer, tied).mean())
    return values


def _of_voters(voters: Voters, own: Side, cloud: Cloud, settings: Settings) -> dict[str, float]:
    """The class measures of the reference, on the rows with a class."""
    many = own.n > MANY_ROWS
    asked = sample(len(own.queries), FEW_QUERIES, settings.seed) if many else np.arange(len(own.queries))
    rows = Cloud(cloud.space.select(voters.rows))
    side = search_side(rows, own.queries[asked], settings.k, "labelled reference")
    found = from_neighbours.values(own.only(asked), side, voters.codes)
    return {key: value for key, value in found.items() if key.startswith("knn")}


def _perfect(k: int) -> list[str]:
    """Measures that are 1 where the student is the teacher itself."""
    local = ("overlap", "jaccard", "trustworthiness", "continuity", "knn_agreement", "knn_kappa")
    maps = [f"per_dimension_correlation{kind}" for kind in ("", ":permutation", ":orthogonal", ":ridge")]
    plain = ["linear_cka", "debiased_linear_cka", "procrustes", "linear_r2", "norm_correlation", "space_similarity"]
    return [f"{key}@{k}" for key in local] + [f"overlap@{k}:euclidean"] + plain + maps
