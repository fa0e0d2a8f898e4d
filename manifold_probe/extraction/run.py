"""An extraction from start to end: model and data in, a feature store out, also after interruptions.

Every shard is a function of the plan, its place and its batch size alone: the same rows, cut into the same batches. So
shards can be made in any order, by any process, again after a crash, and the folder is the same, byte for byte. Only
where memory runs out do batches become smaller, from that shard on and in that process alone; the manifest says for
every shard how large they were, and a run that goes on begins with the smallest of them.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.extraction.processes import Processes
from manifold_probe.extraction.resume import Tell, refuse_unless_same, warn_of_versions
from manifold_probe.extraction.shards import make_shard, refuse_unreadable, refuse_widths, stored
from manifold_probe.extraction.store import QUARANTINE, Store
from manifold_probe.extraction.versions import versions
from manifold_probe.extraction.work import DTYPES, Request, Work, prepared
from manifold_probe.parts import Parts, Progress, duration

SHARES = {"checking": 1, "extracting": 20}  # a digest of an item's bytes, and the model run on it


def extract(request: Request, out: str | Path, *, tell: Tell = print, progress: Progress | None = None) -> Store:
    """Extract features into the folder ``out``; go on where an earlier run of the same request stopped.

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
    """Bring the store to its end, from wherever it is.

    The first process alone writes what there is only one of, and speaks for all.

    Raises
    ------
    InputError
        Where the store holds something else, an item or an output cannot be used, or writing fails.
    """
    parts = Parts(progress if processes.first else None, SHARES)
    with ExitStack() as stack:
        going_on = False
        with processes.together():
            if processes.first:
                stack.enter_context(store.locked())
                going_on = begun(work, store, tell, parts["checking"])
        going_on, work.batch_size = processes.gathered((going_on, work.batch_size))[0]
        if not going_on:
            return store
        with processes.together():
            made = run_shards(work, store, processes, parts["extracting"])
        spent = processes.gathered(made)
        with processes.together():
            if processes.first:
                finish(work, store)
                tell(f"{store.folder}: {speed(store, spent)}")
                if lost := store.manifest()["quarantined"]:
                    tell(f"{store.folder}: {lost:,} of {work.data.n:,} could not be read; {QUARANTINE} lists them")
    return store


def begun(work: Work, store: Store, tell: Tell, progress: Progress) -> bool:
    """Make the store ready for shards; whether any are to be made."""
    before = store.plan()
    if before is not None:
        work.go_on(before)
        refuse_unless_same(work, store, before, progress)
        warn_of_versions(store, tell)
    if store.whole:
        store.tidy()  # where a run was killed between its manifest and this
        tell(f"{store.folder} is finished: {store.manifest()['rows']:,} rows; nothing to do")
        return False
    work.batch_size = min([work.batch_size, *(note.batch_size for note in store.notes(len(work.shards)))])
    expected = work.halving(partial(projection, work))  # before the plan is written: what fails at once leaves nothing
    for line in [*work.model.notes(work.plan["pooling"]), expected]:
        tell(line)
    store.begin(work.plan, versions())
    return True


def run_shards(work: Work, store: Store, processes: Processes, progress: Progress) -> tuple[int, float, float]:
    """Make every shard of this process that is not there yet; rows, seconds, and those of them spent on writing."""
    todo = [place for place in processes.mine(len(work.shards)) if store.done(place) is None]
    start, rows, seen, writing = time.perf_counter(), 0, 0, 0.0
    total = sum(len(work.shards[place]) for place in todo)
    for place in todo:
        report = partial(_report, progress, seen, total)
        made, seconds = work.halving(partial(make_shard, work, store, place, report))
        rows, seen, writing = rows + made, seen + len(work.shards[place]), writing + seconds
    return rows, time.perf_counter() - start, writing


def speed(store: Store, made: list[tuple[int, float, float]]) -> str:
    """A sentence about what every process made."""
    rows, writing = sum(each[0] for each in made), max(each[2] for each in made)
    spent = max(1e-9, *(each[1] for each in made))
    whole = store.manifest()["rows"]
    many = f"{whole:,} rows" if rows == whole else f"{whole:,} rows, {rows:,} of them now,"
    return f"{many} in {spent:.1f} s ({rows / spent:,.0f} a second, {writing / spent:.1%} of it writing)"


def _report(progress: Progress, before: int, total: int, done: int) -> None:
    progress("extracting", before + done, total)


def finish(work: Work, store: Store) -> None:
    """Put the shards together.

    Raises
    ------
    InputError
        Where nothing could be read, and then nothing is left either; or a shard is gone, or shards do not fit.
    """
    shards = [store.note(place) for place in range(len(work.shards))]
    known = [shard for shard in shards if shard is not None]
    if len(known) < len(shards):
        raise InputError(f"{store.folder}: shards vanished meanwhile; give the same command again")
    if not any(shard.rows for shard in known):
        store.discard(len(shards))
        raise InputError(f"{work.request.data}: none of its {work.data.n:,} {work.data.kind} can be read; fix them")
    full = [shard.shapes for shard in known if shard.rows]
    for name in full[0]:
        if len({tuple(shapes[name][1:]) for shapes in full}) > 1:
            refuse_widths(work, name)
    store.finish(work.plan, known, work.data, versions())


LISTED = 3  # layers that are named


def projection(work: Work) -> str:
    """Size and time, from one batch run beforehand."""
    (first,) = work.batches(range(min(work.batch_size, work.data.n)))  # to its end: no thread reads on
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
    named = [f"{name} {'x'.join(map(str, output.shape[1:]))}" for name, output in outputs.items()]
    more = f" and {len(named) - LISTED:,} more" if len(named) > LISTED else ""
    shapes = ", ".join(named[:LISTED]) + more
    many = f"{work.data.n:,} {work.data.kind}: {shapes} as {work.plan['dtype']}, {size / 2**20:,.1f} MiB"
    seconds = duration(spent * work.data.n / len(first.rows))
    return f"{many}; about {seconds} on {work.plan['device']}, {work.batch_size} a batch"
