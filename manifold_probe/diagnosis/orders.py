"""The usual ways in which two files lose their common row order, by name.

An order is given by ``partner`` (n,): student row i belongs to teacher row ``partner[i]``, -1 where it has none.

    shift        a row was lost or added at the start: row i is row i + s
    reverse      last row first
    ranks        a sampler distributes rows over R processes, whose results are joined rank by rank: 0, R, 2R, ...
    batches      the same, joined after every batch of B rows
    text         names sorted as text: 0, 1, 10, 100, 101, ..., 11, ...; of rows, or of shards of equal size
    sorted       by class label, or by id
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SHIFTS = 1000
RANKS = range(2, 65)
SHARDS = range(11, 129)
BATCHED_RANKS = (2, 3, 4, 6, 8, 16, 32, 64)
BATCHES = (*(2**power for power in range(1, 11)), 10, 20, 25, 50, 100, 200, 250, 500)


@dataclass(frozen=True)
class Order:
    """A named order; ``doubtful`` are student rows that have a partner only if rows were moved and not lost."""

    name: str
    partner: np.ndarray
    doubtful: np.ndarray | None = None


def named_orders(n: int, labels: np.ndarray | None = None, ids: np.ndarray | None = None) -> Iterator[Order]:
    """Every named order of n rows except the identity; ``labels`` and ``ids`` (n,) add the orders sorted by them."""
    yield from _shifts(n)
    yield Order("the student's rows are in reverse order", np.arange(n)[::-1])
    for ranks in RANKS:
        if ranks < n:
            yield from _dealt(n, ranks)
    yield from _in_text_order(n)
    for shards in SHARDS:
        if 4 * shards <= n:
            parts = np.array_split(np.arange(n), shards)
            rows = np.concatenate([parts[place] for place in sorted(range(shards), key=str)])
            yield from both_ways(rows, f"in the text order of {shards} shards (0, 1, 10, ...)")
    for column, by in ((labels, "class label"), (ids, "id")):
        if column is not None:
            yield from both_ways(np.argsort(np.asarray(column), kind="stable"), f"sorted by {by}")
    if ids is not None and np.asarray(ids).dtype.kind in "iu":
        yield from both_ways(np.argsort(np.asarray(ids).astype(str), kind="stable"), "in the text order of the ids")
    for ranks in BATCHED_RANKS:
        for batch in BATCHES:
            if 2 * ranks * batch <= n:
                name = f"joined batch by batch ({batch} rows) from {ranks} ranks"
                yield from both_ways(in_batches(n, ranks, batch), name)


def both_ways(rows: np.ndarray, name: str) -> Iterator[Order]:
    """Two orders: the student, or the teacher, holds the samples ``rows`` (n,) in this sequence."""
    yield Order(f"the student's rows are {name}", first_only(rows))
    yield Order(f"the teacher's rows are {name}", _inverse(rows))


def _shifts(n: int) -> Iterator[Order]:
    place = np.arange(n)
    for shift in range(1, min(SHIFTS, n // 2) + 1):
        name = f"the rows are shifted by {shift} (the student's row i is the teacher's row i"
        yield Order(f"{name} + {shift})", (place + shift) % n, place[n - shift :])
        yield Order(f"{name} - {shift})", (place - shift) % n, place[:shift])


def _dealt(n: int, ranks: int) -> Iterator[Order]:
    name = f"joined rank by rank from {ranks} ranks"
    place = np.arange(n)
    yield from both_ways(np.concatenate([place[rank::ranks] for rank in range(ranks)]), name)
    if n % ranks == 0:
        return
    size = -(-n // ranks)
    padded = np.arange(size * ranks)
    padded = padded.reshape(size, ranks).T.ravel()[:n] % n
    yield from both_ways(padded, f"{name}, padding copies among them")
    turns = place[np.lexsort((place // size, place % size))]  # blocks of equal size, the last one shorter
    yield Order(f"the student's rows take turns between {ranks} blocks of {size}", turns)
    yield Order(f"the teacher's rows take turns between {ranks} blocks of {size}", _inverse(turns))


def in_batches(n: int, ranks: int, batch: int) -> np.ndarray:
    """The samples (n,) in the order of ranks that each take every R-th sample and are joined every ``batch`` samples.

    >>> in_batches(8, 2, 2)
    array([0, 2, 1, 3, 4, 6, 5, 7])
    """
    size = -(-n // ranks)  # rows of every rank; the last ones are padded with the first samples
    full_batches = size // batch * batch
    samples = np.arange(size * ranks) % n
    steps = samples[: full_batches * ranks].reshape(-1, batch, ranks).transpose(0, 2, 1).ravel()
    remainder = samples[full_batches * ranks :].reshape(-1, ranks).T.ravel()
    return np.concatenate([steps, remainder])[:n]


def _in_text_order(n: int) -> Iterator[Order]:
    """Sorted by names, from 0 or 1, that end in a digit or in a character before it ("7.jpg") or after it ("7_a")."""
    orders: list[np.ndarray] = []
    for first in (0, 1):
        for ending in ("", "_"):
            names = np.char.add(np.arange(first, n + first).astype(str), ending)
            rows = np.argsort(names, kind="stable")
            if any(np.array_equal(rows, earlier) for earlier in orders):
                continue
            orders.append(rows)
            listed = ", ".join((rows[:4] + first).astype(str))
            yield from both_ways(rows, f"in text order ({listed}, ...)")


def first_only(rows: np.ndarray) -> np.ndarray:
    """``rows`` (n,) with each row number once; -1 for its later copies."""
    partner = np.full(len(rows), -1)
    _, first = np.unique(rows, return_index=True)
    partner[first] = rows[first]
    return partner


def _inverse(rows: np.ndarray) -> np.ndarray:
    """The first place in ``rows`` (n,) of each of 0..n-1; -1 for one that is missing."""
    partner = np.full(len(rows), -1)
    numbers, first = np.unique(rows, return_index=True)
    partner[numbers] = first
    return partner
