"""Digests of the current content of the data, from the bytes of every row, without decoding them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from manifold_probe.extraction.batches import workers
from manifold_probe.extraction.data import Data
from manifold_probe.parts import Progress

ROWS_AT_ONCE = 256  # of a thread


def digests(data: Data, rows: Sequence[int], progress: Progress | None = None) -> list[str | None]:
    """The digests of ``rows``, as `Data.read` gives them; None for rows without readable bytes."""
    pieces = [rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)]
    done: list[str | None] = []
    with ThreadPoolExecutor(workers()) as pool:
        try:
            for piece in pool.map(lambda piece: [data.digest(row) for row in piece], pieces):
                done += piece
                if progress is not None:
                    progress("checking the data", len(done), len(rows))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return done


def content_digest(ids: Iterable[str], digests: Iterable[str | None]) -> str:
    """One sha256 for the content of all rows, independent of their order."""
    lines = sorted(f"{id}\t{digest}" for id, digest in zip(ids, digests, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
