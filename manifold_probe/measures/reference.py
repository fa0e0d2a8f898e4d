"""The yardstick: the teacher against its own first principal components, as many as the student has dimensions.

The mean is put back, so that cosines keep their meaning. It bounds CKA from above for that width; other measures can
beat it (a PCA of normalised rows can score a higher overlap). Directions are those of up to 20,000 rows; moment
measures come from 2,000 rows, neighbours from 1,000 queries above 5,000 rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.moments import grouped, total
from manifold_probe.engine.rows import sample
from manifold_probe.measures import from_moments, from_neighbours, overlap
from manifold_probe.measures.classes import predictions
from manifold_probe.measures.dimensions import effective_ranks
from manifold_probe.measures.geometry import pearson
from manifold_probe.measures.sides import NULL_ROWS, Settings, Side, Teacher

MANY_ROWS = 5_000
FEW_QUERIES = 1_000
FEW_RANKS = 500


@dataclass(frozen=True)
class Reference:
    """Reference values by measure key, its effective rank, and its neighbours (None where the teacher is narrower)."""

    values: dict[str, float]
    rank: float | None
    side: Side | None


def queries_of(count: int, n: int, seed: int) -> np.ndarray:
    """Which of ``count`` queries among n rows the reference is searched for."""
    return sample(count, FEW_QUERIES, seed) if n > MANY_ROWS else np.arange(count)


def ranked_of(count: int, seed: int) -> np.ndarray:
    """For which of these ranks are counted."""
    return sample(count, FEW_RANKS, seed)


def same_width(teacher: Teacher, settings: Settings) -> Reference:
    """The reference of a student as wide as the teacher: the teacher itself."""
    perfect = dict.fromkeys(_perfect(settings.k), 1.0)
    if (own := teacher.voters.side) is not None:
        codes = teacher.voters.codes
        accuracy = float((predictions(own.cosine, codes) == codes[own.queries]).mean())
        perfect[f"knn_accuracy_student@{settings.k}"] = accuracy
    return Reference(perfect, None, None)


def moment_values(
    teacher: Teacher, cloud: Cloud, directions: np.ndarray, settings: Settings
) -> tuple[dict[str, float], float]:
    """The moment measures of the reference ``cloud``, and its effective rank."""
    space, centre = teacher.cloud.space, teacher.cloud.mean
    rows = teacher.queries
    few = rows[sample(len(rows), NULL_ROWS, settings.seed)]
    x = space.take(few).astype(np.float64)
    put_back = centre + (x - centre) @ directions @ directions.T  # in the teacher's own dimensions
    parts = grouped(x, put_back, *teacher.quarters(few))
    values = from_moments.values(parts, settings.keys)
    values.pop("per_dimension_correlation:permutation", None)  # it has all the teacher's axes, a narrower one has not
    values["norm_correlation"] = pearson(teacher.cloud.sampled_norms, cloud.sampled_norms)
    values["rankme_student"] = rank = effective_ranks(total(parts).swapped(), [])[0]
    return values, rank


def neighbour_values(own: Side, side: Side, codes: np.ndarray | None, settings: Settings) -> dict[str, float]:
    """The neighbour measures of the reference's neighbours ``side`` against the teacher's ``own``."""
    found = from_neighbours.values(own, side, codes)
    return {from_neighbours.named(key, settings.k): value for key, value in found.items() if "teacher" not in key}


def voted_values(own: Side, side: Side, codes: np.ndarray, settings: Settings) -> dict[str, float]:
    """The class measures of the reference, on the rows with a class."""
    found = neighbour_values(own, side, codes, settings)
    return {key: value for key, value in found.items() if key.startswith("knn")}


def rank_values(
    side: Side,
    in_teacher: tuple[np.ndarray, np.ndarray],
    own: Side,
    in_reference: tuple[np.ndarray, np.ndarray],
    k: int,
) -> dict[str, float]:
    """Trustworthiness and continuity of the reference, from where each space's neighbours stand in the other."""
    both = {"trustworthiness": (side, in_teacher), "continuity": (own, in_reference)}
    return {f"{key}@{k}": float(1 - overlap.penalties(near.cosine, *away).mean()) for key, (near, away) in both.items()}


def _perfect(k: int) -> list[str]:
    """Measures that are 1 where the student is the teacher itself."""
    local = ("overlap", "jaccard", "trustworthiness", "continuity", "knn_agreement", "knn_kappa")
    maps = [f"per_dimension_correlation{kind}" for kind in ("", ":permutation", ":orthogonal", ":ridge")]
    plain = ["linear_cka", "debiased_linear_cka", "procrustes", "linear_r2", "norm_correlation", "space_similarity"]
    return [f"{key}@{k}" for key in local] + [f"overlap@{k}:euclidean"] + plain + maps
