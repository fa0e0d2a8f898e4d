"""An extraction from start to end: model and data in, a feature store out, whatever interrupts it in between.

Every shard is a function of the plan and its place alone: the same rows, cut into the same batches. So shards can be
made in any order, by any process, again after a crash, and the folder is the same, byte for byte.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from manifold_probe.errors import InputError
from manifold_probe.extraction.batches import Batch, batches
from manifold_probe.extraction.data import Unreadable
from manifold_probe.extraction.plan import differences
from manifold_probe.extraction.processes import Processes
from manifold_probe.extraction.store import QUARANTINE, Shard, Store
from manifold_probe.extraction.versions import other_versions, versions
from manifold_probe.extraction.work import DTYPES, Request, Work, prepared

Tell = Callable[[str], None]
Progress = Callable[[str, int, int], None]


def extract(request: Request, out: str | Path, *, tell: Tell = print, progress: Progress | None = None) -> Store:
    """Extract features into the folder ``out``; go on where an earlier run of the same request stopped.

    Raises
    ------
    InputError
        For whatever cannot be used; the folder stays as it was, or can be resumed.
    """
    processes = Processes.join()
    return run(prepared(request, processes.local), Store(out), processes, tell=tell, progress=progress)


def run(work: Work, store: Store, processes: Processes, *, tell: Tell, progress: Progress | None = None) -> Store:
    """Bring the store to its end, from wherever it is.

    Raises
    ------
    InputError
        Where the store holds something else, an item or an output cannot be used, or writing fails.
    """
    with processes.only_first(store.locked):
        before = store.plan()
        if before is not None:
            work.go_on(before)
            refuse_other(store, before, work.plan)
            warn_of_versions(store, tell if processes.first else None)
        if store.whole:
            processes.wait()
            if processes.first:
                store.tidy()  # where a run was killed between its manifest and this
                tell(f"{store.folder} is finished: {store.manifest()['rows']:,} rows; nothing to do")
            return store
        if processes.first:
            tell(projection(work))  # before the plan is written: a request that fails at once leaves nothing behind
            store.begin(work.plan, versions())
        processes.wait()
        made = run_shards(work, store, processes, progress)
        processes.wait()
        if processes.first:
            finish(work, store)
            tell(f"{store.folder}: {made}")
            if lost := store.manifest()["quarantined"]:
                tell(f"{store.folder}: {lost:,} of {work.data.n:,} could not be read; {QUARANTINE} lists them")
        processes.wait()
    return store


def warn_of_versions(store: Store, tell: Tell | None) -> None:
    """Say which libraries have changed since the store was begun: they may, but features may differ a little."""
    if tell is not None and (found := other_versions(store.recorded(), versions())):
        tell(f"warning: {store.folder}: was made with other libraries than there are now ({', '.join(found)})")


def refuse_other(store: Store, before: dict[str, Any], plan: dict[str, Any]) -> None:
    """Refuse to mix: every difference, side by side.

    Raises
    ------
    InputError
        Where the plans differ.
    """
    found = differences(before, plan)
    if found:
        raise InputError(
            f"{store.folder}: holds another extraction, which differs in {'; '.join(found)}; give another --out"
        )


def run_shards(work: Work, store: Store, processes: Processes, progress: Progress | None) -> str:
    """Make every shard of this process that is not there yet; a sentence about the speed."""
    todo = [place for place in processes.mine(len(work.shards)) if store.done(place) is None]
    if not todo:
        return f"{work.data.n:,} rows"
    start, rows, writing = time.perf_counter(), 0, 0.0
    total = sum(len(work.shards[place]) for place in todo)
    for place in todo:
        report = partial(_report, progress, rows, total)
        writing += make_shard(work, store, place, report)[1]
        rows += len(work.shards[place])
    spent = max(time.perf_counter() - start, 1e-9)
    return f"{rows:,} rows in {spent:.1f} s ({rows / spent:,.0f} a second, {writing / spent:.1%} of it writing)"


def _report(progress: Progress | None, before: int, total: int, done: int) -> None:
    if progress is not None:
        progress("extracting", before + done, total)


def make_shard(work: Work, store: Store, place: int, progress: Callable[[int], None]) -> tuple[Shard, float]:
    """One shard, and the seconds that writing it took; the batch is halved where memory does not suffice."""
    while True:
        try:
            return _make_shard(work, store, place, progress)
        except (torch.cuda.OutOfMemoryError, RuntimeError) as error:
            if not _out_of_memory(error) or work.plan["batch_size"] == 1:
                raise
        torch.cuda.empty_cache()
        work.plan["batch_size"] //= 2
        store.begin(work.plan, versions())


def _make_shard(work: Work, store: Store, place: int, progress: Callable[[int], None]) -> tuple[Shard, float]:
    rows = work.shards[place]
    parts: list[dict[str, np.ndarray]] = []
    read: list[Batch] = []
    for batch in work.batches(rows):
        if batch.unreadable and not work.request.skip_bad:
            refuse_unreadable(work, store, batch.unreadable)
        read.append(Batch(batch.rows, batch.digests, None, batch.unreadable))
        if batch.rows:
            parts.append(work.outputs(batch.input))
        progress(sum(len(each.rows) for each in read))
    arrays, rounding = {}, {}
    for name in parts[0] if parts else []:
        arrays[name], rounding[name] = stored(np.concatenate([part[name] for part in parts]), name, work.plan["dtype"])
    start = time.perf_counter()
    shard = store.add(
        place,
        [row for batch in read for row in batch.rows],
        [digest for batch in read for digest in batch.digests],
        [[each.id, each.reason] for batch in read for each in batch.unreadable],
        arrays,
        rounding,
    )
    return shard, time.perf_counter() - start


def stored(values: np.ndarray, name: str, dtype: str) -> tuple[np.ndarray, float]:
    """The array as it is stored, and the largest rounding error over the largest value.

    Raises
    ------
    InputError
        For NaN and infinite values, and values that float16 cannot hold.
    """
    if not np.isfinite(values).all():
        raise InputError(f"the model's output {name!r} holds NaN or infinite values; look at its weights and its input")
    with np.errstate(over="ignore"):
        kept = values.astype(DTYPES[dtype])
    if not np.isfinite(kept).all():
        raise InputError(f"the model's output {name!r} exceeds what {dtype} holds (65,504); give --dtype float32")
    largest = float(np.abs(values).max(initial=0))
    return kept, float(np.abs(values - kept.astype(np.float32)).max(initial=0)) / largest if largest else 0.0


def refuse_unreadable(work: Work, store: Store, found: list[Unreadable]) -> None:
    """Look through the rest of the data, and stop with the list.

    Raises
    ------
    InputError
        Always.
    """
    bad = {each.id: each.reason for each in found}
    for batch in batches(work.data, range(work.data.n), 64, lambda *_: None, lambda items: items):
        bad |= {each.id: each.reason for each in batch.unreadable}
    named = "; ".join(f"{id}: {reason}" for id, reason in list(bad.items())[:5])
    more = f"; and {len(bad) - 5:,} more" if len(bad) > 5 else ""
    raise InputError(
        f"{work.request.data}: {len(bad):,} of {work.data.n:,} cannot be read ({named}{more}); mend them, or leave "
        "them out with --skip-bad"
    )


def finish(work: Work, store: Store) -> None:
    """Put the shards together."""
    shards = [store.done(place) for place in range(len(work.shards))]
    known = [shard for shard in shards if shard is not None]
    if not any(shard.rows for shard in known):
        raise InputError(f"{work.request.data}: nothing in it can be read; see the images")
    shapes = {tuple(map(tuple, (shape[1:] for shape in shard.shapes.values()))) for shard in known if shard.rows}
    if len(shapes) > 1:
        raise InputError(
            f"{work.request.model}: outputs differ in width between inputs; choose a pooling such as --pool mean"
        )
    store.finish(work.plan, [shard for shard in known if shard.rows or shard.unreadable], work.data, versions())


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.cuda.OutOfMemoryError) or "allocate memory" in str(error).lower()


def projection(work: Work) -> str:
    """Size and time, from one batch run beforehand."""
    (first,) = work.batches(range(min(work.plan["batch_size"], work.data.n)))  # to its end: no thread reads on
    if not first.rows:
        return f"{work.data.n:,} {work.data.kind}; the first {len(first.unreadable)} cannot be read"
    work.outputs(first.input)  # the first run of a model is slow
    start = time.perf_counter()
    outputs = work.outputs(first.input)
    for name, values in outputs.items():
        stored(values, name, work.plan["dtype"])
    seconds = (time.perf_counter() - start) * work.data.n / len(first.rows)
    width = np.dtype(DTYPES[work.plan["dtype"]]).itemsize
    size = sum(output[0].size for output in outputs.values()) * width * work.data.n
    shapes = ", ".join(f"{name} {'x'.join(map(str, output.shape[1:]))}" for name, output in outputs.items())
    many = f"{work.data.n:,} {work.data.kind}: {shapes} as {work.plan['dtype']}, {size / 2**20:,.1f} MiB"
    return f"{many}; about {_duration(seconds)} on {work.plan['device']}, {work.plan['batch_size']} a batch"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
