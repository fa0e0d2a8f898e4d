"""Batches read ahead by threads while the model works: decoding and resizing release Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from manifold_probe.extraction.data import Data, Unreadable

AHEAD = 2  # batches


@dataclass(frozen=True)
class Batch:
    """The rows of a batch that could be read, their digests, the model's input, and what could not be read."""

    rows: list[int]
    digests: list[str]
    input: Any
    unreadable: list[Unreadable]


def batches(
    data: Data, rows: range, size: int, prepare: Callable[[int, Any], Any], collate: Callable[[list[Any]], Any]
) -> Iterator[Batch]:
    """Batches of ``rows`` in order, always cut at the same places; ``prepare(row, content)`` runs in the threads."""
    with ThreadPoolExecutor(workers()) as pool:
        waiting: list[list[Future[Any]]] = []
        starts = iter(range(rows.start, rows.stop, size))

        def ask() -> None:
            start = next(starts, None)
            if start is not None:
                part = range(start, min(start + size, rows.stop))
                waiting.append([pool.submit(_one, data, row, prepare) for row in part])

        try:
            for _ in range(AHEAD + 1):
                ask()
            while waiting:
                yield _batch([future.result() for future in waiting.pop(0)], collate)
                ask()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def workers() -> int:
    """Threads that read: one a core, at most eight."""
    return max(1, min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def _one(data: Data, row: int, prepare: Callable[[int, Any], Any]) -> Any:
    try:
        item = data.read(row)
        return row, item.digest, prepare(row, item.content)
    except Unreadable as problem:
        return problem


def _batch(found: list[Any], collate: Callable[[list[Any]], Any]) -> Batch:
    good = [each for each in found if not isinstance(each, Unreadable)]
    bad = [each for each in found if isinstance(each, Unreadable)]
    prepared = collate([each[2] for each in good]) if good else None
    return Batch([each[0] for each in good], [each[1] for each in good], prepared, bad)
