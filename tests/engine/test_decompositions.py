"""Singular values where LAPACK's divide and conquer gives up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import linalg

from manifold_probe.engine import decompositions
from manifold_probe.engine.decompositions import singular_values, svd
from manifold_probe.measures import procrustes_similarity, rankme


@pytest.fixture(params=[False, True], ids=["converges", "does not converge"])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once as it is, and once with a divide and conquer that gives up, as it does on some matrices."""
    real = linalg.svd

    def failing(x: Any, *args: Any, lapack_driver: str = "gesdd", **more: Any) -> Any:
        if lapack_driver == "gesdd":
            raise linalg.LinAlgError("SVD did not converge")
        return real(x, *args, lapack_driver=lapack_driver, **more)

    if request.param:
        monkeypatch.setattr(decompositions.linalg, "svd", failing)
        monkeypatch.setattr(decompositions.linalg, "svdvals", failing)


@pytest.mark.usefixtures("driver")
def test_singular_values_and_vectors() -> None:
    x = np.random.default_rng(0).normal(size=(7, 4))
    u, values, vt = svd(x)
    assert (u * values) @ vt == pytest.approx(x)
    assert values == pytest.approx(np.sqrt(np.linalg.eigvalsh(x.T @ x)[::-1]))
    assert singular_values(x) == pytest.approx(values)


@pytest.mark.usefixtures("driver")
def test_measures_made_from_them() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 5))
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert procrustes_similarity(x, 3 * x @ turn) == pytest.approx(1.0)
    assert 1 < rankme(x) <= 5
