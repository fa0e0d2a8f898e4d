"""One peer on one pair of arrays: python peers.py NAME t.npy s.npy prints {"value", "seconds", "version"}.

Run by run.py, each in a process of its own and in an environment that need not hold manifold_probe. ``seconds`` is the
computation alone. Neighbour measures get normalised rows: Euclidean order is then cosine order, as ours.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time

import numpy as np

K = 10


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def ckatorch(teacher: np.ndarray, student: np.ndarray) -> tuple[float, float]:
    """Debiased linear CKA from unbiased centred Gram matrices, in float64 as it always does."""
    import torch
    from ckatorch.core import cka_base

    start = time.perf_counter()
    value = cka_base(torch.tensor(teacher), torch.tensor(student), unbiased=True).item()
    return value, time.perf_counter() - start


def rsatoolbox(teacher: np.ndarray, student: np.ndarray) -> tuple[float, float]:
    """Linear CKA as the whitened cosine of squared Euclidean dissimilarities (Diedrichsen et al. 2020)."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm, compare

    start = time.perf_counter()
    dissimilarities = [calc_rdm(Dataset(x.astype(np.float64)), method="euclidean") for x in (teacher, student)]
    value = compare(*dissimilarities, method="cosine_cov").item()
    return value, time.perf_counter() - start


def sklearn(teacher: np.ndarray, student: np.ndarray) -> tuple[list[float], float]:
    """Trustworthiness both ways; the second is the continuity."""
    from sklearn.manifold import trustworthiness

    start = time.perf_counter()
    teacher, student = _unit(teacher), _unit(student)
    value = [trustworthiness(teacher, student, n_neighbors=K), trustworthiness(student, teacher, n_neighbors=K)]
    return value, time.perf_counter() - start


def zadu(teacher: np.ndarray, student: np.ndarray) -> tuple[list[float], float]:
    """Trustworthiness and continuity."""
    from zadu.measures.trustworthiness_continuity import measure

    start = time.perf_counter()
    found = measure(_unit(teacher), _unit(student), k=K)
    return [float(found["trustworthiness"]), float(found["continuity"])], time.perf_counter() - start


PEERS = {each.__name__: each for each in (ckatorch, rsatoolbox, sklearn, zadu)}

if __name__ == "__main__":
    name, *files = sys.argv[1:]
    value, seconds = PEERS[name](*(np.load(file) for file in files))
    version = importlib.metadata.version({"sklearn": "scikit-learn"}.get(name, name))
    print(json.dumps({"value": value, "seconds": seconds, "version": version}))
