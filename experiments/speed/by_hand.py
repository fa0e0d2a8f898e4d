"""What one would write with scikit-learn instead: overlap@10, linear CKA, norms, trustworthiness both ways.

python by_hand.py teacher.npy student.npy ...      prints the values of each student as JSON
"""

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

K = 10


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of length 1: their Euclidean neighbours are the cosine's."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def neighbours(x: np.ndarray) -> np.ndarray:
    """The K nearest rows of every row, itself left out."""
    return NearestNeighbors(n_neighbors=K).fit(x).kneighbors(return_distance=False)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """The mean share of neighbours in common."""
    return float(np.mean([len(np.intersect1d(i, j)) / K for i, j in zip(a, b, strict=True)]))


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """|X'Y|^2 / (|X'X| |Y'Y|) of centred columns."""
    x, y = x - x.mean(0), y - y.mean(0)
    return float(np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


def norm_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson correlation of the lengths of the rows."""
    return float(np.corrcoef(np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1))[0, 1])


teacher = np.load(sys.argv[1])
x = unit(teacher)
of_teacher = neighbours(x)
found = {}
for path in sys.argv[2:]:
    student = np.load(path)
    y = unit(student)
    found[Path(path).stem] = {
        "overlap": overlap(of_teacher, neighbours(y)),
        "cka": linear_cka(teacher, student),
        "norms": norm_correlation(teacher, student),
        "trustworthiness": trustworthiness(x, y, n_neighbors=K),
        "continuity": trustworthiness(y, x, n_neighbors=K),
    }
print(json.dumps(found))
