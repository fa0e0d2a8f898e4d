"""An extraction: from model and data to a feature store, resumable after interruptions.

A shard depends only on the plan, its number and its batch size: the same rows, cut into the same batches. So shards can
be made in any order, by any process, and again after a crash, and the folder is the same, byte for byte. If memory runs
out, batches become smaller from that shard on, in that process only. The manifest records the batch size of every
shard, and a resumed run starts with the smallest of them.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.extraction.processes import Processes
from manifold_probe.extraction.resume import Tell, check_unchanged, warn_of_versions
from manifold_probe.extraction.shards import make_shard, refuse_unreadable, refuse_widths, stored
from manifold_probe.extraction.store import QUARANTINE, Store
from manifold_probe.extraction.versions import versions
from manifold_probe.extraction.work import DTYPES, Request, Work, prepared
from manifold_probe.parts import Parts, Progress, duration

SHARES = {"checking": 1, "extracting": 20}  # relative durations: a digest of an item, and the model on it


def extract(request: Request, out: str | Path, *, tell: Tell = print, progress: Progress | None = None) -> Store:
    """Extract features into the folder ``out``; resume an earlier run of the same request.

    Raises
    ------
    InputError
        For input that cannot be used; the folder stays as it was, or can be resumed.
    """
    processes = Processes.join()
    with processes.together():
        work = prepared(request, processes.local)
    return run(work, Store(out), processes, tell=tell, progress=progress)


def run(work: Work, store: Store, processes: Processes, *, tell: Tell, progress: Progress | None = None) -> Store:
    """Fill and finish the store, from its current state.

    Only the first process writes shared files and prints.

    Raises
    ------
    InputError
        If the store holds something else, an item or an output cannot be used, or writing fails.
    """
    parts = Parts(progress if processes.first else None, SHARES)
    with ExitStack() as stack:
        unfinished = False
        with processes.together():
            if processes.first:
                stack.enter_context(store.locked())
                unfinished = begin(work, store, tell, parts["checking"])
        unfinished, work.batch_size = processes.gathered((unfinished, work.batch_size))[0]
        if not unfinished:
            return store
        with processes.together():
            counts = run_shards(work, store, processes, parts["extracting"])
        counts_of_all = processes.gathered(counts)
        with processes.together():
            if processes.first:
                finish(work, store)
                tell(f"{store.folder}: {speed(store, counts_of_all)}")
                if unreadable := store.manifest()["quarantined"]:
                    tell(f"{store.folder}: {unreadable:,} of {work.data.n:,} could not be read; see {QUARANTINE}")
    return store


def begin(work: Work, store: Store, tell: Tell, progress: Progress) -> bool:
    """Prepare the store for shards; False if it is finished."""
    before = store.plan()
    if before is not None:
        work.resume(before)
        check_unchanged(work, store, before, progress)
        warn_of_versions(store, tell)
    if store.finished:
        store.tidy()  # a run may have been killed after its manifest
        tell(f"{store.folder} is finished: {store.manifest()['rows']:,} rows; nothing to do")
        return False
    work.batch_size = min([work.batch_size, *(note.batch_size for note in store.notes(len(work.shards)))])
    expected = work.halving(partial(projection, work))  # before the plan is written, so that a failure leaves no files
    for line in [*work.model.notes(work.plan["pooling"]), expected]:
        tell(line)
    store.begin(work.plan, versions())
    return True


def run_shards(work: Work, store: Store, processes: Processes, progress: Progress) -> tuple[int, float, float]:
    """Make the missing shards of this process; returns rows, seconds, and the seconds spent on writing."""
    todo = [place for place in processes.mine(len(work.shards)) if store.done(place) is None]
    start, rows, done, writing = time.perf_counter(), 0, 0, 0.0
    total = sum(len(work.shards[place]) for place in todo)
    for place in todo:
        report = partial(_report, progress, done, total)
        new_rows, seconds = work.halving(partial(make_shard, work, store, place, report))
        rows, done, writing = rows + new_rows, done + len(work.shards[place]), writing + seconds
    return rows, time.perf_counter() - start, writing


def speed(store: Store, counts: list[tuple[int, float, float]]) -> str:
    """A sentence about the rows and seconds of all processes."""
    rows, seconds, writing = zip(*counts, strict=True)
    new_rows, spent = sum(rows), max(1e-9, *seconds)
    total = store.manifest()["rows"]
    size = f"{total:,} rows" if new_rows == total else f"{total:,} rows, {new_rows:,} of them now,"
    return f"{size} in {spent:.1f} s ({new_rows / spent:,.0f} a second, {max(writing) / spent:.1%} of it writing)"


def _report(progress: Progress, before: int, total: int, done: int) -> None:
    progress("extracting", before + done, total)


def finish(work: Work, store: Store) -> None:
    """Combine the shards.

    Raises
    ------
    InputError
        If no item could be read, and then the folder is removed; if a shard is missing, or widths differ.
    """
    notes = [store.note(place) for place in range(len(work.shards))]
    shards = [note for note in notes if note is not None]
    if len(shards) < len(notes):
        raise InputError(f"{store.folder}: shards were removed during the run; give the same command again")
    if not any(shard.rows for shard in shards):
        store.discard(len(shards))
        raise InputError(f"{work.request.data}: none of its {work.data.n:,} {work.data.kind} can be read; fix them")
    shapes = [shard.shapes for shard in shards if shard.rows]
    for name in shapes[0]:
        if len({tuple(by_name[name][1:]) for by_name in shapes}) > 1:
            refuse_widths(work, name)
    store.finish(work.plan, shards, work.data, versions())


LISTED = 3  # layers in a message


def projection(work: Work) -> str:
    """The expected size and time, from a first batch."""
    (first,) = work.batches(range(min(work.batch_size, work.data.n)))  # exhausted, so that no thread reads on
    if first.unreadable and not work.request.skip_bad:
        refuse_unreadable(work, first.unreadable)
    if not first.rows:
        return f"{work.data.n:,} {work.data.kind}; the first {len(first.unreadable)} cannot be read"
    work.outputs(first.input)  # the first run of a model is slow
    start = time.perf_counter()
    outputs = work.outputs(first.input)
    spent = time.perf_counter() - start
    for name, values in outputs.items():
        stored(work, values, name, first.rows)
    width = np.dtype(DTYPES[work.plan["dtype"]]).itemsize
    size = sum(output[0].size for output in outputs.values()) * width * work.data.n
    shapes = [f"{name} {'x'.join(map(str, output.shape[1:]))}" for name, output in outputs.items()]
    more = f" and {len(shapes) - LISTED:,} more" if len(shapes) > LISTED else ""
    listed = ", ".join(shapes[:LISTED]) + more
    summary = f"{work.data.n:,} {work.data.kind}: {listed} as {work.plan['dtype']}, {size / 2**20:,.1f} MiB"
    seconds = duration(spent * work.data.n / len(first.rows))
    return f"{summary}; about {seconds} on {work.plan['device']}, {work.batch_size} a batch"
