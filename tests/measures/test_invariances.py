"""What each measure is blind to: a declared table, asserted both where it holds and where it must not."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_probe import measures
from manifold_probe.errors import InputError
from tests.measures import cases

K = 3


def row_scales(n: int) -> np.ndarray:
    return np.random.default_rng(9).uniform(0.3, 4, (n, 1))


def skewed(d: int) -> np.ndarray:
    """An invertible map of condition 4."""
    return cases.rotation(d, 1) * np.linspace(0.5, 2, d) @ cases.rotation(d, 2)


Pair = tuple[np.ndarray, np.ndarray, np.ndarray]
# each takes teacher, student and labels; measures of one space read the student
TRANSFORMS: dict[str, Callable[..., Pair]] = {
    "rotation": lambda x, y, c: (x, y @ cases.rotation(y.shape[1], 5), c),
    "scale": lambda x, y, c: (x, 7.5 * y, c),
    "offset": lambda x, y, c: (x, y + np.linspace(2, 4, y.shape[1]), c),
    "dimension_scale": lambda x, y, c: (x, y * np.geomspace(0.2, 5, y.shape[1]), c),
    "row_scale": lambda x, y, c: (x, y * row_scales(len(y)), c),
    "invertible": lambda x, y, c: (x, y @ skewed(y.shape[1]), c),
    "row_order": lambda x, y, c: tuple(z[np.random.default_rng(3).permutation(len(x))] for z in (x, y, c)),
    "duplicates": lambda x, y, c: tuple(np.concatenate([z, z]) for z in (x, y, c)),
    "swap": lambda x, y, c: (y, x, c),
}


def local(name: str, metric: str) -> Callable:
    return lambda x, y, c: getattr(measures, name)(x, y, k=K, metric=metric)


def plain(name: str) -> Callable:
    return lambda x, y, c: getattr(measures, name)(x, y)


MEASURES: dict[str, tuple[Callable, str]] = {
    "linear_cka": (plain("linear_cka"), "rotation scale offset row_order duplicates swap"),
    "debiased_linear_cka": (plain("debiased_linear_cka"), "rotation scale offset row_order swap"),
    "procrustes_similarity": (plain("procrustes_similarity"), "rotation scale offset row_order duplicates swap"),
    "linear_r2": (plain("linear_r2"), "rotation scale offset"),
    "overlap": (local("neighbourhood_overlap", "cosine"), "rotation scale row_scale row_order swap"),
    "overlap:euclidean": (local("neighbourhood_overlap", "euclidean"), "rotation scale offset row_order swap"),
    "jaccard": (local("jaccard_overlap", "cosine"), "rotation scale row_scale row_order swap"),
    "jaccard:euclidean": (local("jaccard_overlap", "euclidean"), "rotation scale offset row_order swap"),
    "trustworthiness": (local("trustworthiness", "cosine"), "rotation scale row_scale row_order"),
    "trustworthiness:euclidean": (local("trustworthiness", "euclidean"), "rotation scale offset row_order"),
    "continuity": (local("continuity", "cosine"), "rotation scale row_scale row_order"),
    "continuity:euclidean": (local("continuity", "euclidean"), "rotation scale offset row_order"),
    "knn_agreement": (
        lambda x, y, c: measures.knn_agreement(x, y, c, k=K),
        "rotation scale row_scale row_order swap",
    ),
    "knn_accuracy": (lambda x, y, c: measures.knn_accuracy(y, c, k=K), "rotation scale row_scale row_order"),
    "per_dimension_correlation": (
        plain("per_dimension_correlation"),
        "scale offset dimension_scale row_order duplicates swap",
    ),
    "space_similarity": (plain("space_similarity"), "scale dimension_scale row_order duplicates swap"),
    "norm_correlation": (plain("norm_correlation"), "rotation scale row_order duplicates swap"),
    "rankme": (lambda x, y, c: measures.rankme(y), "rotation scale row_order duplicates"),
    "twonn": (lambda x, y, c: measures.intrinsic_dimension(y), "rotation scale offset row_order"),
    "mle": (lambda x, y, c: measures.intrinsic_dimension(y, "mle"), "rotation scale offset row_order"),
    "hubness_skewness": (lambda x, y, c: measures.hubness_skewness(y, k=K), "rotation scale row_scale row_order"),
}
HOLDS = [(name, kind) for name, (_, kinds) in MEASURES.items() for kind in kinds.split()]
FAILS = [(name, kind) for name in MEASURES for kind in TRANSFORMS if (name, kind) not in HOLDS]
# what the ridge of a cross-fitted R2 leaves of an invariance that a plain regression would have exactly
NEARLY = {("linear_r2", "invertible"), ("linear_r2", "dimension_scale"), ("linear_r2", "row_order")}


def make(n: int, d: int, seed: int) -> Pair:
    x = np.random.default_rng(seed).normal(size=(n, d)) * np.linspace(1, 2, d) + 0.5
    y = cases.student_of(x, noise=0.4, seed=seed + 1)
    return x, y, (np.arange(n) % 2 + (x[:, 0] > 0.5)).astype(int)


def difference(name: str, kind: str, data: Pair) -> float:
    measure = MEASURES[name][0]
    return float(np.max(np.abs(measure(*TRANSFORMS[kind](*data)) - measure(*data))))


def test_every_measure_is_in_the_table() -> None:
    assert len(HOLDS) + len(FAILS) == len(MEASURES) * len(TRANSFORMS)
    assert all(kind in TRANSFORMS for _, kind in HOLDS)


@settings(max_examples=4, deadline=None, derandomize=True)
@given(n=st.integers(24, 60), d=st.integers(2, 8), seed=st.integers(0, 10_000))
@pytest.mark.parametrize(("name", "kind"), HOLDS)
def test_holds(name: str, kind: str, n: int, d: int, seed: int) -> None:
    assert difference(name, kind, make(n, d, seed)) < 1e-9


@pytest.mark.parametrize(("name", "kind"), [pair for pair in FAILS if pair not in NEARLY])
def test_fails(name: str, kind: str) -> None:
    data = make(150, 6, 0)
    if name in ("knn_accuracy", "rankme", "twonn", "mle", "hubness_skewness") and kind == "swap":
        assert difference(name, kind, data) > 1e-3  # another space is another number
        return
    if (name, kind) == ("twonn", "duplicates"):
        with pytest.raises(InputError, match="distinct"):
            difference(name, kind, data)
        return
    assert difference(name, kind, data) > 1e-3


@pytest.mark.parametrize(("name", "kind"), sorted(NEARLY))
def test_a_cross_fitted_ridge_is_nearly_blind(name: str, kind: str) -> None:
    assert 0 < difference(name, kind, make(1500, 4, 0)) < 0.02


@settings(max_examples=10, deadline=None, derandomize=True)
@given(n=st.integers(24, 60), seed=st.integers(0, 10_000), metric=st.sampled_from(["cosine", "euclidean"]))
def test_continuity_is_trustworthiness_swapped(n: int, seed: int, metric: str) -> None:
    x, y, _ = make(n, 4, seed)
    assert measures.continuity(x, y, K, metric) == measures.trustworthiness(y, x, K, metric)
