"""Powers of two: no measure depends on a space's scale, and no square of a very large or small value is ever formed.

A space whose largest absolute value is m 2^e (1/2 <= m < 1) is measured as its rows times 2^-e. That multiplication is
exact, so that the results are those of the space itself, bit by bit. Spaces of ordinary size are left as they are.
"""

from __future__ import annotations

import numpy as np

from manifold_probe.spaces.space import Space

ORDINARY = 16  # of the exponent: float32 holds the fourth powers of values between 2^-16 and 2^16


def exponent_of(largest: float) -> int:
    """The e by whose power of two values up to ``largest`` are divided; 0 where they are of ordinary size.

    >>> exponent_of(3e38), exponent_of(0.01), exponent_of(0.0)
    (128, 0, 0)
    """
    exponent = int(np.frexp(largest)[1])
    return exponent if abs(exponent) > ORDINARY else 0


def largest_of(rows: np.ndarray) -> float:
    """The largest absolute value of an array; 0 for none."""
    return float(max(rows.max(), -rows.min())) if rows.size else 0.0


def divided(rows: np.ndarray, exponent: int) -> np.ndarray:
    """The rows over 2^exponent in float64; the rows themselves for an exponent of 0."""
    return np.ldexp(rows.astype(np.float64, copy=False), -exponent) if exponent else rows


def at_unit_scale(rows: np.ndarray) -> np.ndarray:
    """The rows (n, d), divided by a power of two where they are not of ordinary size.

    >>> at_unit_scale(np.array([[3e38, -1e38]])).round(3)
    array([[ 0.882, -0.294]])
    """
    return divided(rows, exponent_of(largest_of(rows)))


def space_exponent(space: Space) -> int:
    """The exponent of a whole space, from one pass over its rows."""
    return exponent_of(max(largest_of(block) for _, block in space.blocks()))
