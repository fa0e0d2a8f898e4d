"""Packages that compute the same numbers: independent hands, run where they are installed."""

import numpy as np
import pytest
from scipy import linalg
from scipy.spatial import procrustes as disparity

from manifold_probe import measures
from tests.measures import cases

pytestmark = pytest.mark.slow


def spaces(width: int = 12, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(n, 12)) * np.linspace(2, 1, 12)
    return x, cases.student_of(x, width)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("k", [1, 10, 40])
@pytest.mark.parametrize("width", [12, 5])
def test_trustworthiness_of_scikit_learn(k: int, width: int) -> None:
    manifold = pytest.importorskip("sklearn.manifold")
    x, y = spaces(width)
    expected = manifold.trustworthiness(x, y, n_neighbors=k)
    assert measures.trustworthiness(x, y, k, "euclidean") == pytest.approx(expected, abs=1e-9)
    expected = manifold.trustworthiness(unit(x), unit(y), n_neighbors=k)
    assert measures.trustworthiness(x, y, k) == pytest.approx(expected, abs=1e-9)
    expected = manifold.trustworthiness(unit(y), unit(x), n_neighbors=k)
    assert measures.continuity(x, y, k) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("k", [1, 6])
def test_neighbours_of_scikit_learn(k: int) -> None:
    neighbours = pytest.importorskip("sklearn.neighbors")
    x, y = spaces(5)
    labels = cases.labels_of(x)
    ours = measures.Neighbours.search(y, k, "cosine")
    theirs = neighbours.NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(y)
    expected = theirs.kneighbors(return_distance=False)
    np.testing.assert_array_equal(np.sort(ours.members[:, :k], 1), np.sort(expected, 1))
    votes = np.array([np.bincount(row, minlength=4).argmax() for row in labels[expected]])
    assert measures.knn_accuracy(y, labels, k) == pytest.approx((votes == labels).mean(), abs=1e-12)


@pytest.mark.parametrize("width", [12, 5])
def test_cka_of_ckatorch(width: int) -> None:
    ckatorch = pytest.importorskip("ckatorch.core")
    torch = pytest.importorskip("torch")
    x, y = spaces(width)
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    assert measures.linear_cka(x, y) == pytest.approx(float(ckatorch.cka_base(*tensors)), abs=1e-9)
    unbiased = float(ckatorch.cka_base(*tensors, unbiased=True))
    assert measures.debiased_linear_cka(x, y) == pytest.approx(unbiased, abs=1e-9)
    minibatch = float(ckatorch.cka_batch(tensors[0][None], tensors[1][None]))
    assert measures.debiased_linear_cka(x, y) == pytest.approx(minibatch, abs=1e-9)


def test_procrustes_of_scipy() -> None:
    x, y = spaces()
    similarity = measures.procrustes_similarity(x, y)
    assert 1 - similarity**2 == pytest.approx(disparity(x, y)[2], abs=1e-9)
    a, b = (z - z.mean(0) for z in (x, y))
    scale = linalg.orthogonal_procrustes(a / np.linalg.norm(a), b / np.linalg.norm(b))[1]
    assert similarity == pytest.approx(scale, abs=1e-9)


def test_twonn_of_scikit_dimension() -> None:
    skdim = pytest.importorskip("skdim")
    x, _ = spaces(n=500)
    expected = skdim.id.TwoNN(discard_fraction=0.1).fit(x).dimension_
    assert measures.intrinsic_dimension(x) == pytest.approx(expected, rel=1e-9)
