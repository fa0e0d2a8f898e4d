"""All measures that need only moments, with grouped-jackknife intervals."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.moments import Moments, grouped, total
from manifold_probe.engine.rows import MOVED, PERMUTING, cycled_within, generator, has_company, sample
from manifold_probe.measures import alignment, dimensions, linear_maps
from manifold_probe.measures.catalogue import AT_MOST_ONE, SIGNED, UNIT
from manifold_probe.measures.geometry import pearson
from manifold_probe.measures.results import Measure
from manifold_probe.measures.sides import NULL_ROWS, Settings, Teacher
from manifold_probe.measures.uncertainty import FEWEST_GROUPS, Estimate, jackknife

FEW = 10
ROUNDING = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23}
EVERY = Settings().keys
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def values(parts: list[Moments], wanted: frozenset[str] = EVERY) -> dict[str, float]:
    """The wanted moment measures by key, without intervals: what reference and permuted pairs are measured by."""
    m, both = total(parts), linear_maps.halves(parts)

    def after_map(kind: str) -> float:
        return dimensions.median(dimensions.held_out_correlations(both, kind, leave_out=False)[0])

    made: dict[str, Callable[[], float]] = {
        "linear_cka": lambda: alignment.cka(m),
        "debiased_linear_cka": lambda: alignment.debiased_cka(m),
        "procrustes": lambda: alignment.procrustes(m),
        "linear_r2": lambda: alignment.ridge_r2(both),
    }
    if len(m.sx) == len(m.sy):
        made["per_dimension_correlation"] = lambda: dimensions.median(dimensions.correlations(m))
        made["space_similarity"] = lambda: dimensions.median(dimensions.column_cosines(m))
    made |= {f"per_dimension_correlation:{kind}": partial(after_map, kind) for kind in dimensions.MAPS}
    return {key: make() for key, make in made.items() if key in wanted}


def estimates(
    parts: list[Moments], wider: float = 1.0, wanted: frozenset[str] = EVERY
) -> tuple[dict[str, Estimate], dict[str, np.ndarray]]:
    """The wanted moment measures by key with their intervals, and the per-dimension values behind the medians.

    Both CKAs are always there: they cost little, and alarms read the debiased one. ``wider``: what heavy tails widen
    the errors by, see `uncertainty.tail_factor`.
    """
    m, both = total(parts), linear_maps.halves(parts)
    same_width = len(m.sx) == len(m.sy)
    columns = {"per_dimension_correlation": dimensions.correlations, "space_similarity": dimensions.column_cosines}
    by_dimension = {key: measure(m) for key, measure in columns.items() if same_width and key in wanted}
    biased, debiased = alignment.ckas_without(m, parts)
    left_out = dict(zip(columns, dimensions.each_without(m, parts), strict=True)) if by_dimension else {}
    made: dict[str, Callable[[], Estimate]] = {
        "procrustes": lambda: jackknife(*alignment.procrustes_jackknifed(m, parts), UNIT),
        "linear_r2": lambda: jackknife(alignment.ridge_r2(both), alignment.ridge_r2_without(both), AT_MOST_ONE),
        "rankme_teacher": lambda: jackknife(*dimensions.effective_ranks(m, parts), (1.0, min(m.n, len(m.sx)))),
        "rankme_student": lambda: jackknife(
            *dimensions.effective_ranks(m.swapped(), [part.swapped() for part in parts]), (1.0, min(m.n, len(m.sy)))
        ),
    }
    found = {
        "linear_cka": jackknife(alignment.cka(m), biased, UNIT),
        "debiased_linear_cka": jackknife(alignment.debiased_cka(m), debiased, AT_MOST_ONE),
    }
    found |= {key: make() for key, make in made.items() if key in wanted}
    found |= {key: _median(by_dimension[key], left_out[key]) for key in by_dimension}
    for kind in dimensions.MAPS:
        key = f"per_dimension_correlation:{kind}"
        if key not in wanted:
            continue
        by_dimension[key], without_group = dimensions.held_out_correlations(both, kind, leave_out=True)
        found[key] = _median(by_dimension[key], without_group)
    if len(parts) < FEWEST_GROUPS:
        found = {key: Estimate(estimate.value) for key, estimate in found.items()}
    return {key: defined(estimate).widened(wider) for key, estimate in found.items()}, by_dimension


def _median(by_dimension: np.ndarray, left_out: np.ndarray) -> Estimate:
    return jackknife(dimensions.median(by_dimension), np.array([dimensions.median(row) for row in left_out]), SIGNED)


def defined(estimate: Estimate) -> Estimate:
    """The estimate with None in place of NaN, for the value or for deviations that cannot be trusted."""
    if estimate.value is None or not np.isfinite(estimate.value):
        return Estimate(None)
    if estimate.deviations is not None and not np.isfinite(estimate.deviations).all():
        return Estimate(estimate.value)
    return estimate


def norm_correlation(a: np.ndarray, b: np.ndarray, groups: np.ndarray, count: int) -> Estimate:
    """Correlation of row norms (n,) with its grouped jackknife."""
    left_out = np.array([pearson(a[groups != g], b[groups != g]) for g in range(count)])
    return defined(jackknife(pearson(a, b), left_out, SIGNED) if count >= FEWEST_GROUPS else Estimate(pearson(a, b)))


def measure_moments(
    m: Moments, parts: list[Moments], teacher: Teacher, cloud: Cloud, settings: Settings, wider: float = 1.0
) -> tuple[dict[str, Measure], dict[str, np.ndarray]]:
    """The wanted moment measures with interval, chance and class chance, and the per-dimension values."""
    found, by_dimension = estimates(parts, wider, settings.keys)
    norms = teacher.cloud.profile.norms, cloud.profile.norms
    found["norm_correlation"] = norm_correlation(*norms, teacher.groups, teacher.group_count).widened(wider)
    equal = [name for name, c in (("teacher", teacher.cloud), ("student", cloud)) if _equal_norms(c)]
    if equal:
        found["norm_correlation"] = Estimate(None)
    permuted, within = _permuted(teacher, cloud, settings)
    asked = len(teacher.queries)
    chance = {key: 0.0 for key in found if not key.startswith("rankme")} | {
        "linear_cka": alignment.cka_chance(m),
        # nuclear norms of independent rows fall with the square root of their number
        "procrustes": permuted * np.sqrt((asked - 1) / (m.n - 1)),
    }
    widths = f"the widths differ ({len(m.sx)} and {len(m.sy)}); see the held-out maps"
    notes = {} if len(m.sx) == len(m.sy) else {"per_dimension_correlation": widths, "space_similarity": widths}
    if "space_similarity" in found:
        chance["space_similarity"] = dimensions.median(dimensions.column_cosine_chance(m))
    if equal:
        notes["norm_correlation"] = f"the rows of the {' and of the '.join(equal)} all have the same length"
    if asked < m.n:
        notes["procrustes"] = f"chance from {asked:,} rows, scaled to {m.n:,}; class chance from {NULL_ROWS:,}"
    still = None if within else "no class chance: too few rows share their label with another"
    measures = {}
    for key in dict.fromkeys([*found, "per_dimension_correlation", "space_similarity"]):
        estimate, values_ = found.get(key, Estimate(None)), by_dimension.get(key)
        if estimate.value is None:
            measures[key] = Measure(estimate, m.n, note=notes.get(key, _undefined(teacher.cloud, cloud, m.n)))
            continue
        left_out = 0 if values_ is None else int(np.isnan(values_).sum())
        note = notes.get(key) if key == "procrustes" else None
        if left_out:
            note = f"{left_out} of {len(m.sx)} dimensions are constant or without a partner and left out"
        if still and not key.startswith("rankme"):
            note = f"{note}; {still}" if note else still
        measures[key] = Measure(
            estimate,
            m.n,
            _finite(chance.get(key)),
            _finite(within.get(key)),
            note=note,
            quantiles=None if values_ is None else quantiles(values_),
        )
    return measures, by_dimension


def _undefined(teacher: Cloud, student: Cloud, n: int) -> str:
    """Why a measure of moments has no value."""
    equal = [name for name, cloud in (("teacher", teacher), ("student", student)) if not cloud.profile.spread]
    if equal:
        zero = not (teacher if equal == ["teacher"] else student).profile.norms.any()
        return f"all vectors of the {' and of the '.join(equal)} are {'zero' if zero and len(equal) == 1 else 'equal'}"
    return f"{n:,} rows are too few" if n < FEW else "too few of the dimensions vary, or too few rows are distinct"


def _equal_norms(cloud: Cloud) -> bool:
    """Whether the rows' lengths differ by no more than the rounding of their stored type."""
    norms = cloud.profile.norms
    return float(np.ptp(norms)) <= 4 * ROUNDING.get(cloud.space.dtype, 1e-12) * float(norms.max())


def quantiles(by_dimension: np.ndarray) -> dict[str, float] | None:
    """The 5, 25, 50, 75 and 95% quantiles of the defined values, by level."""
    kept = by_dimension[~np.isnan(by_dimension)]
    return {str(level): float(np.quantile(kept, level)) for level in LEVELS} if len(kept) else None


def _permuted(teacher: Teacher, cloud: Cloud, settings: Settings) -> tuple[float, dict[str, float]]:
    """Procrustes with the student's query rows permuted; everything with up to 2,000 rows moved within their classes.

    Rows that cannot move, or have no class, are left out; nothing is known where they are most.
    """
    rows, seed = teacher.queries, settings.seed
    rng = generator(seed, PERMUTING)
    x, y = (
        space.take(rows) - space.take(rows).mean(0, dtype=np.float64) for space in (teacher.cloud.space, cloud.space)
    )
    shuffled = alignment.procrustes_of(x.T @ y[rng.permutation(len(rows))], float(np.vdot(x, x)), float(np.vdot(y, y)))
    few = rows[sample(len(rows), NULL_ROWS, seed)]
    moved = few[has_company(teacher.codes)[few]]
    if len(moved) < max(FEW, MOVED * len(few)):
        return shuffled, {}
    other = cycled_within(teacher.codes, rng)[moved]
    x, y = teacher.cloud.space.take(moved).astype(np.float64), cloud.space.take(other).astype(np.float64)
    within = values(grouped(x, y, *teacher.quarters(moved)), settings.keys)
    within["norm_correlation"] = pearson(teacher.cloud.profile.norms[moved], cloud.profile.norms[other])
    return shuffled, within


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
