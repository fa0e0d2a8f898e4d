"""Pseudo-random numbers as a pure function of their arguments: the only random numbers in views.

    u(seed, id, view, name) = top 53 bits of SHA-256("manifold-probe/draw/1" LF seed LF view LF name LF id) / 2^53

A counter-based generator as in Salmon et al. ("Parallel random numbers: as easy as 1, 2, 3", 2011): without state, so
that any process can compute any value in any order. The streams of torch and numpy differ between versions and
devices, SHA-256 does not. The id comes last, so that no id can imitate another field.
"""

from __future__ import annotations

import hashlib


def uniform(seed: int, id: str, view: int, name: str) -> float:
    """A number in [0, 1), uniform and independent over ids, views and names.

    Parameters
    ----------
    seed, view : int
        The run's seed and the view's number.
    id : str
        The sample's id.
    name : str
        The purpose of the number ("mirror"), so that a new parameter does not change the others.

    Examples
    --------
    >>> uniform(0, "cats/1.png", 1, "mirror")
    0.47626010483767833
    """
    text = f"manifold-probe/draw/1\n{seed}\n{view}\n{name}\n{id}"
    bits = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
    return (bits >> 11) / 2**53
