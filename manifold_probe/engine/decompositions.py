"""Singular values and vectors that are found for every finite matrix.

LAPACK's divide and conquer (gesdd) is fast, and does not converge for some finite matrices, such as the covariance of a
teacher with an untrained student. QR iteration (gesvd) is several times slower and converges there.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg


def svd(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """u (n, k), the singular values (k,) and v' (k, d) of x (n, d), with k = min(n, d).

    >>> svd(np.diag([3.0, 4.0]))[1]
    array([4., 3.])
    """
    try:
        u, values, vt = linalg.svd(x, full_matrices=False)
    except linalg.LinAlgError:
        u, values, vt = linalg.svd(x, full_matrices=False, lapack_driver="gesvd")
    return u, values, vt


def singular_values(x: np.ndarray) -> np.ndarray:
    """The singular values (k,) of x (n, d), the largest first.

    >>> singular_values(np.diag([3.0, 4.0]))
    array([4., 3.])
    """
    try:
        values: np.ndarray = linalg.svdvals(x)
    except linalg.LinAlgError:
        values = linalg.svd(x, compute_uv=False, lapack_driver="gesvd")
    return values
