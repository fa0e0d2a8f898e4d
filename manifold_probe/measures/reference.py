"""The reference: the teacher against its first principal components, as many as the student has dimensions.

The mean is added back, so that cosines keep their meaning. It bounds CKA from above for that width; other measures can
exceed it (a PCA of normalised rows can score a higher overlap). Directions come from up to 20,000 rows, moment
measures from 2,000 rows, neighbours from 1,000 queries above 5,000 rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.moments import grouped, total
from manifold_probe.engine.rows import sample
from manifold_probe.measures import from_moments, from_neighbours
from manifold_probe.measures.catalogue import RANKME_STUDENT, Measure, made_from
from manifold_probe.measures.dimensions import effective_ranks
from manifold_probe.measures.sides import NULL_ROWS, Settings, Side, Teacher

SEARCH_ALL_ROWS = 5_000  # up to so many rows every query is searched
REFERENCE_QUERIES = 1_000
REFERENCE_RANKS = 500


@dataclass(frozen=True)
class Reference:
    """Reference values by measure key, its effective rank, and its neighbours (None where the teacher is narrower)."""

    values: dict[str, float]
    rank: float | None
    side: Side | None


def queries_of(count: int, n: int, seed: int) -> np.ndarray:
    """Positions of the reference's queries among ``count`` queries of n rows."""
    return sample(count, REFERENCE_QUERIES, seed) if n > SEARCH_ALL_ROWS else np.arange(count)


def ranked_of(count: int, seed: int) -> np.ndarray:
    """Positions of the queries whose ranks are counted, among the reference's ``count`` queries."""
    return sample(count, REFERENCE_RANKS, seed)


def same_width(teacher: Teacher, settings: Settings) -> Reference:
    """The reference of a student as wide as the teacher: the teacher itself."""
    perfect = {measure.key: measure.itself for measure in settings.measures if measure.itself is not None}
    unknown = [
        measure for measure in made_from(settings.measures, "classes") if measure.referred and measure.itself is None
    ]
    if unknown and (voting_side := teacher.voters.side) is not None:
        made = from_neighbours.values(voting_side, voting_side, teacher.voters.codes, unknown)
        perfect |= {measure.key: made[measure.key] for measure in unknown}
    return Reference({from_neighbours.named(key, settings.k): value for key, value in perfect.items()}, None, None)


def referred(settings: Settings) -> list[Measure]:
    """The measures that have a reference."""
    return [measure for measure in settings.measures if measure.referred]


def moment_values(
    teacher: Teacher, cloud: Cloud, directions: np.ndarray, settings: Settings
) -> tuple[dict[str, float], float]:
    """The moment measures of the reference ``cloud``, and its effective rank."""
    centre, rows = teacher.cloud.mean, teacher.queries
    rows_sampled = rows[sample(len(rows), NULL_ROWS, settings.seed)]
    x = teacher.cloud.space.take(rows_sampled).astype(np.float64)
    put_back = centre + (x - centre) @ directions @ directions.T  # in the teacher's dimensions
    parts = grouped(x, put_back, *teacher.quarters(rows_sampled))
    norms = teacher.cloud.sampled_norms, cloud.sampled_norms
    values = from_moments.values(parts, referred(settings), norms)
    values[RANKME_STUDENT.key] = rank = effective_ranks(total(parts).swapped(), [])[0]
    return values, rank
