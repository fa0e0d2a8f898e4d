"""One shard of a feature store: the model runs on its rows batch by batch, and unfinished shards are saved in parts.

A shard is a file of a fixed range of rows. Because 4,096 rows may take minutes, the batches of every `SAVE_EVERY`
seconds are saved as a part: the model's outputs in float32, so that the finished shard does not depend on
interruptions. Parts are deleted when their shard is done.
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
LISTED, MAX_CHARACTERS = 3, 80  # unreadable items in a message, and characters per item
clock = time.monotonic


class UnfinishedShard:
    """The rows of a shard while it is made: the saved parts, and the batches since."""

    def __init__(self, work: Work, store: Store, place: int) -> None:
        self.work, self.store, self.place = work, store, place
        self.rows: list[int] = []
        self.digests: list[str] = []
        self.unreadable: list[list[str]] = []
        self.outputs: list[dict[str, np.ndarray]] = []
        self.parts = 0
        for part in store.parts(place):
            if part.batch_size != work.batch_size:  # memory ran out: the shard is made again with the new size
                store.drop_parts(place)
                break
            self._extend(part.rows, part.digests, part.unreadable, store.arrays(part))
            self.parts += 1
        self._saved = (len(self.rows), len(self.unreadable), len(self.outputs))
        self.resumed_rows = len(self.rows)
        self._saved_at = clock()

    @property
    def seen(self) -> int:
        """Number of items done, including unreadable ones."""
        return len(self.rows) + len(self.unreadable)

    def add(self, batch: Batch) -> None:
        """Run the model on a batch; save a part if the last is `SAVE_EVERY` seconds old."""
        outputs = self.work.outputs(batch.input) if batch.rows else {}
        unreadable = [[item.id, item.reason] for item in batch.unreadable]
        self._extend(batch.rows, batch.digests, unreadable, outputs)
        if clock() - self._saved_at >= SAVE_EVERY and self.seen < len(self.work.shards[self.place]):
            saved_rows, saved_unreadable, saved_outputs = self._saved
            arrays = joined(self.work, self.outputs[saved_outputs:])
            new_rows, digests = self.rows[saved_rows:], self.digests[saved_rows:]
            self._write(new_rows, digests, self.unreadable[saved_unreadable:], arrays, {}, self.parts)
            self.parts += 1
            self._saved, self._saved_at = (len(self.rows), len(self.unreadable), len(self.outputs)), clock()

    def finish(self) -> None:
        """Write the shard, and delete its parts."""
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
    """Make or resume one shard; returns the new rows, and the seconds spent on writing."""
    shard = UnfinishedShard(work, store, place)
    rows = work.shards[place]
    for batch in work.batches(range(rows.start + shard.seen, rows.stop)):
        if batch.unreadable and not work.request.skip_bad:
            refuse_unreadable(work, batch.unreadable)
        shard.add(batch)
        progress(shard.seen)
    start = time.perf_counter()
    shard.finish()
    return len(shard.rows) - shard.resumed_rows, time.perf_counter() - start


def joined(work: Work, outputs: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of several batches, concatenated by name.

    Raises
    ------
    InputError
        If they differ in width.
    """
    arrays = {}
    for name in outputs[0] if outputs else []:
        if len({batch[name].shape[1:] for batch in outputs}) > 1:
            refuse_widths(work, name)
        arrays[name] = np.concatenate([batch[name] for batch in outputs])
    return arrays


def stored(work: Work, values: np.ndarray, name: str, rows: list[int]) -> tuple[np.ndarray, float]:
    """The array in the stored type, and the largest rounding error divided by the largest value.

    Raises
    ------
    InputError
        For NaN and infinite values, and values that float16 cannot hold, with some of the ids.
    """
    dtype = work.plan["dtype"]
    refuse_infinite(work, values, name, rows, "holds NaN or infinite values", "check its weights and these inputs")
    with np.errstate(over="ignore"):
        rounded = values.astype(DTYPES[dtype])
    refuse_infinite(work, rounded, name, rows, f"exceeds the largest {dtype} (65,504)", "give --dtype float32")
    largest = float(np.abs(values).max(initial=0))
    return rounded, float(np.abs(values - rounded.astype(np.float32)).max(initial=0)) / largest if largest else 0.0


def refuse_infinite(work: Work, values: np.ndarray, name: str, rows: list[int], problem: str, fix: str) -> None:
    """Refuse NaN and infinite values.

    Raises
    ------
    InputError
        With output, ids and fix.
    """
    if np.isfinite(values).all():
        return
    affected = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(1))
    ids = named([str(work.data.ids[rows[index]]) for index in affected[:4]])
    raise InputError(f"{work.called(name)} {problem} for {len(affected):,} of {len(rows):,} rows ({ids}); {fix}")


def refuse_widths(work: Work, name: str) -> None:
    """Refuse outputs that do not stack.

    Raises
    ------
    InputError
        Always.
    """
    raise InputError(f"{work.called(name)} differs in width between inputs; choose a pooling such as --pool mean")


def refuse_unreadable(work: Work, items: list[Unreadable]) -> None:
    """Check all data, and raise an error that lists the unreadable items.

    Raises
    ------
    InputError
        Always.
    """
    bad = {item.id: item.reason for item in items}
    for batch in batches(work.data, range(work.data.n), 64, lambda *_: None, lambda prepared: prepared):
        bad |= {item.id: item.reason for item in batch.unreadable}
    lines = [f"{id}: {reason}" for id, reason in list(bad.items())[:LISTED]]
    listed = "; ".join(line if len(line) <= MAX_CHARACTERS else f"{line[:MAX_CHARACTERS]}..." for line in lines)
    more = f"; and {len(bad) - LISTED:,} more" if len(bad) > LISTED else ""
    raise InputError(
        f"{work.request.data}: {len(bad):,} of {work.data.n:,} cannot be read ({listed}{more}); fix them, or leave "
        "them out with --skip-bad"
    )
