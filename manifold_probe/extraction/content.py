"""What the data holds now: a digest of every row, from its bytes alone, which costs little compared with decoding
them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from manifold_probe.extraction.batches import workers
from manifold_probe.extraction.data import Data
from manifold_probe.parts import Progress

PIECE = 256  # rows that a thread takes at a time


def digests(data: Data, rows: Sequence[int], progress: Progress | None = None) -> list[str | None]:
    """The digest of each of some rows, as `Data.read` gives it; None where there are no bytes to be had."""
    pieces = [rows[start : start + PIECE] for start in range(0, len(rows), PIECE)]
    found: list[str | None] = []
    with ThreadPoolExecutor(workers()) as pool:
        try:
            for piece in pool.map(lambda piece: [data.digest(row) for row in piece], pieces):
                found += piece
                if progress is not None:
                    progress("checking the data", len(found), len(rows))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return found


def content_digest(ids: Iterable[str], digests: Iterable[str | None]) -> str:
    """One sha256 for the content of all rows, in any order."""
    lines = sorted(f"{id}\t{digest}" for id, digest in zip(ids, digests, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
