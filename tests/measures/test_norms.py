"""Lengths that are equal but for rounding have no correlation."""

from __future__ import annotations

import numpy as np

from manifold_probe.evaluation import watched
from manifold_probe.measures import norm_correlation


def test_lengths_of_unit_vectors_have_no_correlation() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2, 200, 8))
    x, y = (vectors / np.linalg.norm(vectors, axis=2, keepdims=True)).astype(np.float32)
    assert np.isnan(norm_correlation(x, y))
    assert np.isnan(norm_correlation(x, vectors[1]))
    assert watched(x, y)["norm_correlation"] is None
    assert norm_correlation(vectors[0], 2 * vectors[0]) > 0.999
