"""One peer on one pair of files, in a process of its own and in an environment that need not hold manifold_probe.

    python peers.py NAME t.npy s.npy     prints {"value", "seconds"}; ``seconds`` is the computation alone
    python peers.py                      prints {name: version} of the peers that are installed

Neighbour measures get normalised rows: Euclidean order is then cosine order, as ours.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

K = 10


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def ckatorch(teacher: np.ndarray, student: np.ndarray) -> Callable[[], Any]:
    """Debiased linear CKA from unbiased centred Gram matrices, in float64 as it always does."""
    import torch
    from ckatorch.core import cka_base

    return lambda: cka_base(torch.tensor(teacher), torch.tensor(student), unbiased=True).item()


def rsatoolbox(teacher: np.ndarray, student: np.ndarray) -> Callable[[], Any]:
    """Linear CKA as the whitened cosine of squared Euclidean dissimilarities (Diedrichsen et al. 2020)."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm, compare

    def value() -> float:
        dissimilarities = [calc_rdm(Dataset(x.astype(np.float64)), method="euclidean") for x in (teacher, student)]
        return compare(*dissimilarities, method="cosine_cov").item()

    return value


def scikit_dimension(teacher: np.ndarray, student: np.ndarray) -> Callable[[], Any]:
    """TwoNN of both spaces."""
    from skdim.id import TwoNN

    return lambda: [float(TwoNN().fit(x).dimension_) for x in (teacher, student)]


def scikit_learn(teacher: np.ndarray, student: np.ndarray) -> Callable[[], Any]:
    """Trustworthiness both ways; the second is the continuity."""
    from sklearn.manifold import trustworthiness

    def value() -> list[float]:
        x, y = _unit(teacher), _unit(student)
        return [float(trustworthiness(*pair, n_neighbors=K)) for pair in ((x, y), (y, x))]

    return value


def zadu(teacher: np.ndarray, student: np.ndarray) -> Callable[[], Any]:
    """Trustworthiness and continuity."""
    from zadu.measures.trustworthiness_continuity import measure

    def value() -> list[float]:
        found = measure(_unit(teacher), _unit(student), k=K)
        return [float(found["trustworthiness"]), float(found["continuity"])]

    return value


# By the name under which pip knows it: what prepares the computation, and what is computed.
PEERS: dict[str, tuple[Callable[..., Callable[[], Any]], str]] = {
    "ckatorch": (ckatorch, "debiased CKA"),
    "rsatoolbox": (rsatoolbox, "CKA"),
    "scikit-dimension": (scikit_dimension, "TwoNN of both spaces"),
    "scikit-learn": (scikit_learn, "trustworthiness, twice"),
    "zadu": (zadu, "trustworthiness and continuity"),
}


def installed(names: Iterable[str]) -> dict[str, str]:
    """The version of each of these packages that is here."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(json.dumps(installed(PEERS)))
    else:
        compute = PEERS[sys.argv[1]][0](*(np.load(file).astype(np.float32) for file in sys.argv[2:]))
        start = time.perf_counter()
        value = compute()
        print(json.dumps({"value": value, "seconds": time.perf_counter() - start}))
