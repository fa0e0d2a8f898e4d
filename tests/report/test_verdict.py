"""What the verdict says where one alarm decides the numbers, or a space holds one vector only."""

import numpy as np
import pytest

import manifold_probe as mp


def verdict(x: np.ndarray, y: np.ndarray) -> str:
    text = repr(mp.compare(x, y))
    return text.removeprefix("<Comparison: ").removesuffix(">")


def test_copies_and_a_dominating_dimension_are_carried() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 60, 16))
    copies = verdict(np.repeat(x, 12, 0), np.repeat(y, 12, 0))
    assert "keeps 100%" in copies
    assert "92% of the 720 rows are copies of other rows in both spaces, so copies decide" in copies
    stray = np.arange(300.0)[:, None]
    x, y = rng.normal(size=(2, 300, 16))
    assert ". Teacher: dimension 0 holds 99." in verdict(np.hstack([stray, x]), np.hstack([stray, y]))
    assert "copies" not in verdict(x, y)
    assert "dimension" not in verdict(x, y)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_one_vector_everywhere(dtype: type) -> None:
    x = np.random.default_rng(0).normal(size=(120, 8)).astype(dtype)
    one = np.tile(np.linspace(-1, 2, 8).astype(dtype) / 3, (120, 1))
    end = "so nothing of the teacher is kept; check how they were made."
    assert verdict(x, np.zeros_like(x)) == f"student: all 120 vectors of the student are zero, {end}"
    assert verdict(x, one) == f"student: all 120 vectors of the student are equal, {end}"
    assert verdict(one, x).startswith("teacher: all 120 vectors of the teacher are equal, so there is nothing to keep")
    for student, what in ((np.zeros_like(x), "zero"), (one, "equal")):
        found = mp.compare(x, student).measures
        for key in ("linear_cka", "debiased_linear_cka", "procrustes"):
            assert found[key].value is None
            assert found[key].note == f"all vectors of the student are {what}"
