"""No value, interval end or yardstick lies outside the range that its measure states, not by rounding either."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_probe import measures
from manifold_probe.measures.measure import measure_students
from tests.measures import cases

INFINITY = float("inf")
AT_MOST_ONE = ("debiased_linear_cka", "linear_r2")
SIGNED = ("per_dimension_correlation", "space_similarity", "norm_correlation", "knn_kappa")
ALIKE: dict[str, Callable] = {
    "itself": lambda x: x,
    "turned": lambda x: x @ cases.rotation(x.shape[1], 3),
    "minus": lambda x: -x,
    "thirds": lambda x: x / 3,
    "reversed": lambda x: x[:, ::-1],
}


def bounds(key: str, d: int) -> tuple[float, float]:
    name = key.partition("@")[0]
    if name.startswith("rankme"):
        return 1, d
    if name.startswith("hubness"):
        return -INFINITY, INFINITY
    if name.startswith("intrinsic"):
        return 0, INFINITY
    if name in AT_MOST_ONE:
        return -INFINITY, 1
    return (-1, 1) if name.partition(":")[0] in SIGNED else (0, 1)


def check(x: np.ndarray, y: np.ndarray, k: int) -> None:
    widest = max(x.shape[1], y.shape[1])
    for key, m in measure_students(cases.paired(x, y), k=k)["student"].measures.items():
        least, most = bounds(key, widest)
        for value in (m.value, m.low, m.high, m.chance, m.class_chance, m.reference):
            assert value is None or least <= value <= most, (key, value)
        assert m.low is None or m.low <= m.value <= m.high, key


@pytest.mark.parametrize("make", cases.CASES)
def test_every_case(make: Callable) -> None:
    check(*(z.astype(float) for z in make()), k=3)


@pytest.mark.parametrize("alike", ALIKE)
@pytest.mark.parametrize("seed", range(3))
def test_spaces_that_are_alike(alike: str, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(64, 5)) * np.geomspace(1, 30, 5) + seed
    check(x, ALIKE[alike](x), k=4)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(n=st.integers(12, 70), d=st.integers(1, 9), seed=st.integers(0, 10_000), alike=st.sampled_from(sorted(ALIKE)))
def test_public_functions(n: int, d: int, seed: int, alike: str) -> None:
    x = np.random.default_rng(seed).normal(size=(n, d)) + 0.3
    y = ALIKE[alike](x)
    for name in ("linear_cka", "procrustes_similarity"):
        assert 0 <= getattr(measures, name)(x, y) <= 1
    for name in ("debiased_linear_cka", "linear_r2"):
        assert not getattr(measures, name)(x, y) > 1
    for name in ("neighbourhood_overlap", "jaccard_overlap", "trustworthiness", "continuity"):
        assert 0 <= getattr(measures, name)(x, y, k=3) <= 1
    for name in ("per_dimension_correlation", "space_similarity", "norm_correlation"):
        values = np.atleast_1d(getattr(measures, name)(x, y))
        assert (np.abs(values[~np.isnan(values)]) <= 1).all()
    assert 1 <= measures.rankme(x) <= min(n, d)


@pytest.mark.parametrize("size", [2, 64, 300])
def test_rankme_of_equal_directions_is_their_number(size: int) -> None:
    assert size * (1 - 1e-6) < measures.rankme(np.eye(size)) <= size


def test_an_agreement_of_all_rows_in_other_neighbourhoods_is_no_certainty() -> None:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 300)
    x = 20 * np.eye(3)[labels] + draw.normal(size=(300, 3))
    y = x + 0.5 * draw.normal(size=x.shape)
    found = measure_students(cases.paired(x, y, labels))["student"].measures
    least = 2 * np.sqrt(301 / 302 * (1 - 301 / 302) / 300)  # of independent rows, p taken as (n p + 1) / (n + 2)
    for key in ("knn_agreement@10", "knn_accuracy_teacher@10", "knn_accuracy_student@10"):
        assert found[key].value == found[key].high == 1
        assert found[key].low == pytest.approx(1 - least, abs=1e-4), key
    assert found["knn_kappa@10"].low == pytest.approx(1 - 1.5 * least, abs=1e-3)
    alike = measure_students(cases.paired(x, x, labels))["student"].measures
    assert alike["knn_agreement@10"].low == alike["knn_kappa@10"].low == 1
