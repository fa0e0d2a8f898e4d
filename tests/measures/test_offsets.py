"""At an offset of 1,000 standard deviations nothing that ignores offsets moves, in either precision."""

from collections.abc import Callable

import numpy as np
import pytest

from manifold_probe import measures
from manifold_probe.measures.measure import measure_students
from tests.measures import cases

BLIND: dict[str, Callable] = {
    "linear_cka": measures.linear_cka,
    "debiased_linear_cka": measures.debiased_linear_cka,
    "procrustes_similarity": measures.procrustes_similarity,
    "linear_r2": measures.linear_r2,
    "per_dimension_correlation": measures.per_dimension_correlation,
    "overlap": lambda x, y: measures.neighbourhood_overlap(x, y, metric="euclidean"),
    "jaccard": lambda x, y: measures.jaccard_overlap(x, y, metric="euclidean"),
    "trustworthiness": lambda x, y: measures.trustworthiness(x, y, metric="euclidean"),
    "continuity": lambda x, y: measures.continuity(x, y, metric="euclidean"),
    "twonn": lambda x, y: measures.intrinsic_dimension(x),
    "mle": lambda x, y: measures.intrinsic_dimension(x, "mle"),
}
KEYS = ("linear_cka", "debiased_linear_cka", "procrustes", "linear_r2", "overlap@10:euclidean")
KEYS += ("per_dimension_correlation", "per_dimension_correlation:orthogonal", "intrinsic_dimension_teacher")


def moved(dtype: type, sign: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A pair far from the origin as ``dtype`` stores it, and the same values brought back in float64."""
    x = np.random.default_rng(0).normal(size=(400, 12))
    y = cases.student_of(x)
    far = [(z + sign * 1e3 * z.std(0)).astype(dtype) for z in (x, y)]
    near = [f.astype(np.float64) - sign * 1e3 * z.std(0) for f, z in zip(far, (x, y), strict=True)]
    return *far, *near


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", BLIND)
def test_a_far_offset_changes_nothing(name: str, dtype: type) -> None:
    x, y, near_x, near_y = moved(dtype)
    np.testing.assert_allclose(BLIND[name](x, y), BLIND[name](near_x, near_y), atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_nor_when_everything_is_measured(dtype: type) -> None:
    x, y, near_x, near_y = moved(dtype, -1.0)
    far, near = (
        measure_students(cases.paired(*p, ids=np.arange(400)))["student"].measures for p in ((x, y), (near_x, near_y))
    )
    for key in KEYS:
        assert far[key].value == pytest.approx(near[key].value, abs=1e-4), key
        assert far[key].low == pytest.approx(near[key].low, abs=1e-3), key


def test_single_precision_sums_would_be_wrong_here() -> None:
    x, y, near_x, near_y = moved(np.float32)
    z = np.concatenate([x, y], axis=1)
    products = z.T @ z - np.outer(z.sum(0), z.sum(0)) / np.float32(len(z))
    xx, xy, yy = products[:12, :12], products[:12, 12:], products[12:, 12:]
    naive = (xy**2).sum() / np.sqrt((xx**2).sum() * (yy**2).sum())
    assert abs(naive - measures.linear_cka(near_x, near_y)) > 1e-3
    assert measures.linear_cka(x, y) == pytest.approx(measures.linear_cka(near_x, near_y), abs=1e-9)


def test_cosines_about_a_far_centre_are_exact() -> None:
    from tests.measures import naive

    x, y, _, _ = moved(np.float64)
    x, y = x[:150], y[:150]
    assert measures.neighbourhood_overlap(x, y) == pytest.approx(naive.neighbourhood_overlap(x, y), abs=1e-9)


@pytest.mark.parametrize("offset", [1e8, 1e10])
def test_cosines_about_a_centre_a_thousand_million_spreads_away(offset: float) -> None:
    from tests.measures import naive

    x = np.random.default_rng(0).normal(size=(120, 8))
    y = cases.student_of(x)
    x += offset  # a cosine of 1 - 1e-16 or less: only differences of the rows tell them apart
    assert measures.neighbourhood_overlap(x, y) == pytest.approx(naive.neighbourhood_overlap(x, y), abs=1e-9)


def test_a_dimension_that_decides_everything_hides_no_rank() -> None:
    from tests.measures import naive

    x = np.random.default_rng(0).normal(size=(60, 6))
    y = cases.student_of(x)
    x[:, 2] *= 1e5
    assert measures.trustworthiness(x, y) == pytest.approx(naive.trustworthiness(x, y), abs=2e-4)
