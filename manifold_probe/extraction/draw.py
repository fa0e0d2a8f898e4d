"""Numbers that look random and are a pure function of their names: the one source of chance in views.

    u(seed, id, view, name) = top 53 bits of SHA-256("manifold-probe/draw/1" LF seed LF view LF name LF id) / 2^53

A counter-based generator in the sense of Salmon et al. ("Parallel random numbers: as easy as 1, 2, 3", 2011): no state,
so any value can be had at any time, in any order, in any process. It is ours because the streams of torch and numpy
differ between versions and devices, and SHA-256 does not. The id stands last, so that no id can imitate another field.
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
        What the number is for ("mirror"), so that another parameter more does not move those that were there.

    Examples
    --------
    >>> uniform(0, "cats/1.png", 1, "mirror")
    0.47626010483767833
    """
    text = f"manifold-probe/draw/1\n{seed}\n{view}\n{name}\n{id}"
    bits = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
    return (bits >> 11) / 2**53
