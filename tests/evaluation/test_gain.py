"""A gain is the difference of two overlaps on the same rows, with a paired interval."""

from __future__ import annotations

import numpy as np
import pytest

from manifold_probe import measures
from manifold_probe.evaluation.gain import gain

RNG = np.random.default_rng(0)
TEACHER = RNG.normal(size=(120, 6))
STUDENT = TEACHER + 0.4 * RNG.normal(size=(120, 6))


def test_a_gain_is_the_difference_of_two_overlaps() -> None:
    before, after = RNG.normal(size=(120, 3)), TEACHER + 0.2 * RNG.normal(size=(120, 6))
    won = gain((before, TEACHER), (after, TEACHER), k=5)
    overlaps = [measures.neighbourhood_overlap(TEACHER, each, 5) for each in (before, after)]
    assert [won["untrained"], won["trained"]] == pytest.approx(overlaps)
    assert won["difference"]["value"] == pytest.approx(overlaps[1] - overlaps[0])
    assert won["cka"]["trained"] == pytest.approx(measures.debiased_linear_cka(TEACHER, after))
    assert won["difference"]["low"] > 0
    assert won["better"] is True
    assert gain((after, TEACHER), (before, TEACHER), k=5)["better"] is False


def test_no_change_is_no_gain_and_few_rows_tell_nothing() -> None:
    same = gain((STUDENT, TEACHER), (STUDENT, TEACHER))
    assert same["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert same["better"] is False
    few = gain((STUDENT[:30], TEACHER[:30]), (TEACHER[:30], TEACHER[:30]))
    assert few["trained"] == pytest.approx(1)
    assert few["better"] is None
    assert few["difference"]["low"] is None


def test_the_interval_covers_what_other_samples_give() -> None:
    """Forty samples of 150 rows: the intervals hold the mean difference about as often as they claim."""
    rng = np.random.default_rng(1)
    maps = [rng.normal(size=shape) for shape in ((8, 24), (24, 16), (24, 16))]
    found = []
    for _ in range(40):
        teacher = np.tanh(rng.normal(size=(150, 8)) @ maps[0] / 3)
        before, after = (
            teacher @ each + noise * rng.normal(size=(150, 16)) for each, noise in zip(maps[1:], (2, 1.9), strict=True)
        )
        found.append(gain((before, teacher), (after, teacher))["difference"])
    mean = np.mean([each["value"] for each in found])
    assert np.mean([each["low"] <= mean <= each["high"] for each in found]) >= 0.85
