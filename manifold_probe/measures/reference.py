"""The yardstick: the teacher against its own first principal components, as many as the student has dimensions.

The mean is put back, so that cosines keep their meaning. It bounds CKA from above for that width; other measures can
beat it (a PCA of normalised rows can score a higher overlap).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.moments import Moments, grouped, total
from manifold_probe.engine.rows import sample
from manifold_probe.measures import from_moments, from_neighbours
from manifold_probe.measures.catalogue import RANKME_STUDENT, made_from
from manifold_probe.measures.dimensions import effective_ranks
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
        perfect = {each.key: each.itself for each in settings.measures if each.itself is not None}
        unknown = [each for each in made_from(settings.measures, "classes") if each.referred and each.itself is None]
        if unknown and (own := teacher.voters.side) is not None:
            made = from_neighbours.values(own, own, teacher.voters.codes, unknown)
            perfect |= {each.key: made[each.key] for each in unknown}
        return Reference({from_neighbours.named(key, settings.k): value for key, value in perfect.items()}, None, None)
    assert m is not None
    directions = linalg.eigh(m.covariance[0])[1][:, ::-1][:, :width]
    principal = _PrincipalRows(space, teacher.cloud.profile.mean, directions)
    cut = Space(principal if space.n * (width + 1) * 8 > IN_MEMORY else principal[0 : space.n])
    rows = teacher.queries
    few = rows[sample(len(rows), NULL_ROWS, settings.seed)]
    x, centre = space.take(few).astype(np.float64), teacher.cloud.profile.mean
    put_back = centre + (x - centre) @ directions @ directions.T  # in the teacher's own dimensions
    parts = grouped(x, put_back, *teacher.quarters(few))
    wanted, cloud = [each for each in settings.measures if each.referred], Cloud(cut)
    values = from_moments.values(parts, wanted, (teacher.cloud.profile.norms, cloud.profile.norms))
    values[RANKME_STUDENT.key] = rank = effective_ranks(total(parts).swapped(), [])[0]
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
    wanted = [each for each in settings.measures if each.referred]
    codes = teacher.codes if everyone and settings.asks("classes") else None
    values = from_neighbours.values(own, side, codes, wanted)
    if not everyone and voters.side is not None:
        values |= _of_voters(voters, voters.side, cloud, settings)
    ranks = made_from(settings.measures, "ranks")
    if ranks:
        some = sample(len(own.queries), FEW_RANKS, settings.seed)
        values |= from_neighbours.rank_values(from_neighbours.ranks(teacher.cloud, own, cloud, side, some), ranks)
    return {from_neighbours.named(key, k): value for key, value in values.items()}


def _of_voters(voters: Voters, own: Side, cloud: Cloud, settings: Settings) -> dict[str, float]:
    """The class measures of the reference, on the rows with a class."""
    many = own.n > MANY_ROWS
    asked = sample(len(own.queries), FEW_QUERIES, settings.seed) if many else np.arange(len(own.queries))
    rows = Cloud(cloud.space.select(voters.rows))
    side = search_side(rows, own.queries[asked], settings.k, "labelled reference")
    votes = [each for each in made_from(settings.measures, "classes") if each.referred]
    return from_neighbours.values(own.only(asked), side, voters.codes, votes)
