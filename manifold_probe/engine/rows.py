"""Random choices of rows from one seed: jackknife groups, query samples and permutations.

Groups follow a seeded hash of the row's id, or of its number without ids: adjacent rows of a file are in different
groups, and a change of the values (an offset, another type) does not change the groups.
"""

from __future__ import annotations

import numpy as np

GROUPS = 20
MOVED = 0.5  # class chance is defined if at least this share of the rows with a class can move within classes
QUERIES, GROUPING, HALVING, PERMUTING, SAMPLING, MAPPING = range(6)


def generator(seed: int, purpose: int) -> np.random.Generator:
    """An independent random stream for each purpose."""
    return np.random.default_rng([seed, purpose])


def hash_rows(rows: np.ndarray) -> np.ndarray:
    """A 64-bit hash (n,) of the bytes of every row: a sum of its 32-bit words times fixed odd numbers."""
    rows = np.ascontiguousarray(rows)
    if rows.dtype.kind == "f":
        rows = rows + rows.dtype.type(0)  # -0.0 and 0.0 are the same value
    words = rows.reshape(len(rows), -1).view(np.uint32).astype(np.uint64)
    factors = np.random.default_rng(20_240_913).integers(0, 2**63, words.shape[1], dtype=np.uint64) * 2 + 1
    return _mix(words @ factors)


def hash_ids(ids: np.ndarray) -> np.ndarray:
    """A 64-bit hash (n,) of integer or string ids."""
    ids = np.asarray(ids)
    if ids.dtype.kind in "iu":
        return _mix(ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    return hash_rows(ids.astype(str))


def _mix(h: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64: every input bit reaches every output bit."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


def groups_of(hashes: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
    """Jackknife groups (n,) of equal size from row hashes, and their count: 20, or n // 2 below 40 rows."""
    n = len(hashes)
    count = max(2, min(GROUPS, n // 2))
    seeded = _mix(hashes ^ generator(seed, GROUPING).integers(0, 2**63, dtype=np.uint64))
    groups = np.empty(n, dtype=np.int64)
    groups[np.argsort(seeded, kind="stable")] = np.arange(n) * count // n
    return groups, count


def random_groups(n: int, seed: int) -> tuple[np.ndarray, int]:
    """Groups for rows without ids."""
    return groups_of(hash_ids(np.arange(n)), seed)


def sample(n: int, size: int, seed: int, purpose: int = QUERIES) -> np.ndarray:
    """Row numbers (min(size, n),) drawn without replacement, sorted."""
    if size >= n:
        return np.arange(n)
    return np.sort(generator(seed, purpose).choice(n, size, replace=False))


def cycled_within(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A permutation (n,) of row numbers: a random cycle through every class, so that every row moves within its class.

    Only the row of a class of one row stays.
    """
    shuffled = rng.permutation(len(codes))
    circle = shuffled[np.argsort(codes[shuffled], kind="stable")]  # sorted by class, in random order within a class
    starts = np.flatnonzero(np.diff(codes[circle], prepend=codes[circle[0]] - 1))
    following = np.append(circle[1:], circle[0])
    following[np.append(starts[1:], len(codes)) - 1] = circle[starts]
    order = np.empty(len(codes), dtype=np.int64)
    order[circle] = following
    return order


def has_company(codes: np.ndarray) -> np.ndarray:
    """A mask (n,) of the rows that share their class with another row; -1 is no class."""
    counts = np.bincount(codes + 1, minlength=1)
    return (counts[codes + 1] > 1) & (codes >= 0)


def evenly(n: int, most: int) -> np.ndarray:
    """At most ``most`` of n row numbers, evenly spaced, including the first and the last.

    >>> evenly(9, 3)
    array([0, 4, 8])
    """
    rows: np.ndarray = np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))
    return rows
