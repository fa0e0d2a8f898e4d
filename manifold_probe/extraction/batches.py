"""Batches that threads read ahead while the model runs: decoding and resizing release Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from manifold_probe.extraction.data import Data, Unreadable

BATCHES_AHEAD = 2


@dataclass(frozen=True)
class Batch:
    """The readable rows of a batch, their digests, the model's input, and the unreadable items."""

    rows: list[int]
    digests: list[str]
    input: Any
    unreadable: list[Unreadable]


def batches(
    data: Data, rows: range, size: int, prepare: Callable[[int, Any], Any], collate: Callable[[list[Any]], Any]
) -> Iterator[Batch]:
    """Batches of ``rows`` in order, always cut at the same rows; ``prepare(row, content)`` runs in the threads."""
    with ThreadPoolExecutor(workers()) as pool:
        pending: list[list[Future[Any]]] = []
        starts = iter(range(rows.start, rows.stop, size))

        def submit() -> None:
            start = next(starts, None)
            if start is not None:
                part = range(start, min(start + size, rows.stop))
                pending.append([pool.submit(_one, data, row, prepare) for row in part])

        try:
            for _ in range(BATCHES_AHEAD + 1):
                submit()
            while pending:
                yield _batch([future.result() for future in pending.pop(0)], collate)
                submit()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def workers() -> int:
    """The number of reading threads: one per core, at most eight."""
    return max(1, min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def _one(data: Data, row: int, prepare: Callable[[int, Any], Any]) -> Any:
    try:
        item = data.read(row)
        return row, item.digest, prepare(row, item.content)
    except Unreadable as problem:
        return problem


def _batch(results: list[Any], collate: Callable[[list[Any]], Any]) -> Batch:
    unreadable = [result for result in results if isinstance(result, Unreadable)]
    items = [result for result in results if not isinstance(result, Unreadable)]
    if not items:
        return Batch([], [], None, unreadable)
    rows, digests, prepared = map(list, zip(*items, strict=True))
    return Batch(rows, digests, collate(prepared), unreadable)
