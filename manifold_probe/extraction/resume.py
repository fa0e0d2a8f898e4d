"""Checks that a run can be resumed in a folder: the same request, the same content, no damage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.extraction.items import Unreadable
from manifold_probe.extraction.plan import differences
from manifold_probe.extraction.records import FIX, read_table
from manifold_probe.extraction.store import QUARANTINE, ROWS, Shard, Store
from manifold_probe.extraction.versions import other_versions, versions
from manifold_probe.extraction.work import Work
from manifold_probe.parts import Progress

Tell = Callable[[str], None]


def check_unchanged(work: Work, store: Store, before: dict[str, Any], progress: Progress | None) -> None:
    """Check that a store, begun with the plan ``before``, can be resumed, or is the finished result of this request.

    Raises
    ------
    InputError
        Another request, a finished store that is damaged, or data whose content changed.
    """
    check_plan(store, before, work.plan)
    if store.finished:
        store.check_files()
    notes = store.notes(len(work.shards))
    skipped = left_out(store, notes)
    if skipped and not work.request.skip_bad:
        raise InputError(
            f"{store.folder}: {len(skipped):,} rows were left out with --skip-bad, because they cannot be read "
            f"({named(skipped)}); give --skip-bad again, or fix the data and {FIX}"
        )
    changed = changed_rows(work, contents(store, notes, work.data.ids), progress)
    changed += [id for id in skipped if readable(work, id)]
    if changed:
        raise InputError(
            f"{store.folder}: the content of {len(changed):,} rows of {work.request.data} changed since "
            f"({named(changed)}); give another --out, or remove the folder"
        )


def check_plan(store: Store, before: dict[str, Any], plan: dict[str, Any]) -> None:
    """Check that a store was begun with the same plan.

    Raises
    ------
    InputError
        With every difference.
    """
    changes = differences(before, plan)
    if changes:
        raise InputError(
            f"{store.folder}: holds another extraction, which differs in {'; '.join(changes)}; give another --out"
        )


def contents(store: Store, notes: list[Shard], ids: np.ndarray) -> dict[str, str]:
    """The digest of the content of every extracted id: from a finished store, or from the notes of an unfinished one,
    whose data has the ``ids``.
    """
    if store.finished:
        table = read_table(store.folder / ROWS, ["id", "content"])
        return dict(zip(table["id"].astype(str).tolist(), table["content"].tolist(), strict=True))
    pairs = ((row, digest) for note in notes for row, digest in zip(note.rows, note.digests, strict=True))
    return {str(ids[row]): digest for row, digest in pairs}


def left_out(store: Store, notes: list[Shard]) -> list[str]:
    """The ids of items that could not be read, from a finished store, or from the notes of an unfinished one."""
    if not store.finished:
        return [id for note in notes for id, _ in note.unreadable]
    if not store.manifest()["quarantined"]:
        return []
    import pandas as pd

    return [str(id) for id in pd.read_csv(store.folder / QUARANTINE, dtype=str, keep_default_na=False)["id"]]


def changed_rows(work: Work, known: dict[str, str], progress: Progress | None = None) -> list[str]:
    """The ids whose content changed; ``known`` are their earlier digests."""
    rows = [row for row, id in enumerate(work.data.ids.tolist()) if id in known]
    digests = work.digests(rows, progress)
    ids = [str(work.data.ids[row]) for row in rows]
    return [id for id, digest in zip(ids, digests, strict=True) if known[id] != digest]


def readable(work: Work, id: str) -> bool:
    """Whether an item can be read now."""
    try:
        work.data.read(work.places[id])
    except (Unreadable, KeyError):
        return False
    return True


def warn_of_versions(store: Store, tell: Tell) -> None:
    """Warn of libraries that changed since the store was begun: features may differ slightly."""
    if changes := other_versions(store.recorded(), versions()):
        tell(f"warning: {store.folder}: was made with other versions of libraries ({', '.join(changes)})")


def named(ids: list[str]) -> str:
    """The first three of some ids.

    >>> named(["a", "b", "c", "d"])
    'a, b, c, ...'
    """
    return ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
