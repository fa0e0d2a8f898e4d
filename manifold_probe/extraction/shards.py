"""One shard of a feature store: its rows go through the model batch by batch, and what is done is saved as it grows.

A shard is a file of a fixed range of rows, however often its run was interrupted. So that little is lost where 4,096
rows take minutes, the batches of every `SAVE_EVERY` seconds are saved as a part: the model's outputs in float32, which
the finished shard is made from as if it had never stopped. Parts go when their shard is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.extraction.batches import Batch, batches
from manifold_probe.extraction.items import Unreadable
from manifold_probe.extraction.resume import named
from manifold_probe.extraction.store import Store
from manifold_probe.extraction.work import DTYPES, Work

SAVE_EVERY = 30.0  # seconds
LISTED, LINE = 3, 80  # items that a message names, and characters about each
clock = time.monotonic


class Growing:
    """The rows of a shard as they are made: what was saved in parts, and the batches since."""

    def __init__(self, work: Work, store: Store, place: int) -> None:
        self.work, self.store, self.place = work, store, place
        self.rows: list[int] = []
        self.digests: list[str] = []
        self.unreadable: list[list[str]] = []
        self.outputs: list[dict[str, np.ndarray]] = []
        self.parts = 0
        for part in store.parts(place):
            if part.batch_size != work.batch_size:  # memory ran out: other batches, and so a shard of its own
                store.drop_parts(place)
                break
            self._extend(part.rows, part.digests, part.unreadable, store.arrays(part))
            self.parts += 1
        self._saved = (len(self.rows), len(self.unreadable), len(self.outputs))
        self.found = len(self.rows)
        self._when = clock()

    @property
    def seen(self) -> int:
        """Items that the model saw, or that could not be read."""
        return len(self.rows) + len(self.unreadable)

    def add(self, batch: Batch) -> None:
        """Run the model on a batch; save a part where the last is `SAVE_EVERY` seconds old."""
        outputs = self.work.outputs(batch.input) if batch.rows else {}
        unreadable = [[each.id, each.reason] for each in batch.unreadable]
        self._extend(batch.rows, batch.digests, unreadable, outputs)
        if clock() - self._when >= SAVE_EVERY and self.seen < len(self.work.shards[self.place]):
            rows, lost, outputs_before = self._saved
            arrays = joined(self.work, self.outputs[outputs_before:])
            self._write(self.rows[rows:], self.digests[rows:], self.unreadable[lost:], arrays, {}, self.parts)
            self.parts += 1
            self._saved, self._when = (len(self.rows), len(self.unreadable), len(self.outputs)), clock()

    def finish(self) -> None:
        """Write the shard, and drop its parts."""
        arrays, rounding = {}, {}
        for name, values in joined(self.work, self.outputs).items():
            arrays[name], rounding[name] = stored(self.work, values, name, self.rows)
        self._write(self.rows, self.digests, self.unreadable, arrays, rounding, None)
        self.store.drop_parts(self.place)

    def _write(
        self,
        rows: list[int],
        digests: list[str],
        unreadable: list[list[str]],
        arrays: dict[str, np.ndarray],
        rounding: dict[str, float],
        part: int | None,
    ) -> None:
        self.store.add(self.place, rows, digests, unreadable, arrays, rounding, self.work.batch_size, part)

    def _extend(
        self, rows: list[int], digests: list[str], unreadable: list[list[str]], outputs: dict[str, np.ndarray]
    ) -> None:
        self.rows += rows
        self.digests += digests
        self.unreadable += unreadable
        self.outputs += [outputs] if outputs else []


def make_shard(work: Work, store: Store, place: int, progress: Callable[[int], None]) -> tuple[int, float]:
    """Make one shard, from where an earlier run left it; rows that were made now, and the seconds that writing took."""
    growing = Growing(work, store, place)
    rows = work.shards[place]
    for batch in work.batches(range(rows.start + growing.seen, rows.stop)):
        if batch.unreadable and not work.request.skip_bad:
            refuse_unreadable(work, batch.unreadable)
        growing.add(batch)
        progress(growing.seen)
    start = time.perf_counter()
    growing.finish()
    return len(growing.rows) - growing.found, time.perf_counter() - start


def joined(work: Work, outputs: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of several batches as one of each.

    Raises
    ------
    InputError
        Where they differ in width.
    """
    found = {}
    for name in outputs[0] if outputs else []:
        if len({each[name].shape[1:] for each in outputs}) > 1:
            refuse_widths(work, name)
        found[name] = np.concatenate([each[name] for each in outputs])
    return found


def stored(work: Work, values: np.ndarray, name: str, rows: list[int]) -> tuple[np.ndarray, float]:
    """The array as it is stored, and the largest rounding error over the largest value.

    Raises
    ------
    InputError
        For NaN and infinite values, and values that float16 cannot hold, naming some of the ids.
    """
    dtype = work.plan["dtype"]
    refuse_infinite(work, values, name, rows, "holds NaN or infinite values", "look at its weights and at these inputs")
    with np.errstate(over="ignore"):
        kept = values.astype(DTYPES[dtype])
    refuse_infinite(work, kept, name, rows, f"exceeds what {dtype} holds (65,504)", "give --dtype float32")
    largest = float(np.abs(values).max(initial=0))
    return kept, float(np.abs(values - kept.astype(np.float32)).max(initial=0)) / largest if largest else 0.0


def refuse_infinite(work: Work, values: np.ndarray, name: str, rows: list[int], problem: str, fix: str) -> None:
    """Refuse NaN and infinite values.

    Raises
    ------
    InputError
        Naming output, ids and fix.
    """
    if np.isfinite(values).all():
        return
    off = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(1))
    ids = named([str(work.data.ids[rows[place]]) for place in off[:4]])
    raise InputError(f"{work.called(name)} {problem} for {len(off):,} of {len(rows):,} rows ({ids}); {fix}")


def refuse_widths(work: Work, name: str) -> None:
    """Refuse outputs that do not stack.

    Raises
    ------
    InputError
        Always.
    """
    raise InputError(f"{work.called(name)} differs in width between inputs; choose a pooling such as --pool mean")


def refuse_unreadable(work: Work, found: list[Unreadable]) -> None:
    """Look through the rest of the data, and stop with the list.

    Raises
    ------
    InputError
        Always.
    """
    bad = {each.id: each.reason for each in found}
    for batch in batches(work.data, range(work.data.n), 64, lambda *_: None, lambda items: items):
        bad |= {each.id: each.reason for each in batch.unreadable}
    lines = [f"{id}: {reason}" for id, reason in list(bad.items())[:LISTED]]
    listed = "; ".join(line if len(line) <= LINE else f"{line[:LINE]}..." for line in lines)
    more = f"; and {len(bad) - LISTED:,} more" if len(bad) > LISTED else ""
    raise InputError(
        f"{work.request.data}: {len(bad):,} of {work.data.n:,} cannot be read ({listed}{more}); fix them, or leave "
        "them out with --skip-bad"
    )
