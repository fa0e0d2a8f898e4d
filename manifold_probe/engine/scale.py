"""Scaling by powers of two, so that squares of very large or small values neither overflow nor underflow.

A space whose largest absolute value is m 2^e (1/2 <= m < 1) is measured as its rows times 2^-e. This multiplication is
exact, so the results are the same, bit for bit. Spaces of ordinary size are not scaled.
"""

from __future__ import annotations

import numpy as np

from manifold_probe.spaces.space import Space

ORDINARY_EXPONENT = 16  # float32 can represent the fourth powers of values between 2^-16 and 2^16


def exponent_of(largest: float) -> int:
    """The exponent of the power of two by which values up to ``largest`` are divided; 0 for ordinary sizes.

    >>> exponent_of(3e38), exponent_of(0.01), exponent_of(0.0)
    (128, 0, 0)
    """
    exponent = int(np.frexp(largest)[1])
    return exponent if abs(exponent) > ORDINARY_EXPONENT else 0


def largest_of(rows: np.ndarray) -> float:
    """The largest absolute value of an array; 0 for none."""
    return float(max(rows.max(), -rows.min())) if rows.size else 0.0


def divided(rows: np.ndarray, exponent: int) -> np.ndarray:
    """The rows divided by 2^exponent in float64; the rows unchanged for an exponent of 0."""
    return np.ldexp(rows.astype(np.float64, copy=False), -exponent) if exponent else rows


def at_unit_scale(rows: np.ndarray) -> np.ndarray:
    """The rows (n, d), divided by a power of two if they are not of ordinary size.

    >>> at_unit_scale(np.array([[3e38, -1e38]])).round(3)
    array([[ 0.882, -0.294]])
    """
    return divided(rows, exponent_of(largest_of(rows)))


def space_exponent(space: Space) -> int:
    """The exponent of a whole space, from one pass over its rows."""
    return exponent_of(max(largest_of(block) for _, block in space.blocks()))
