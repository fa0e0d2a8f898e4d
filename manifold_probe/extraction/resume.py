"""Whether a run may go on in a folder: the same request, the same content, nothing damaged."""

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


def refuse_unless_same(work: Work, store: Store, before: dict[str, Any], progress: Progress | None) -> None:
    """Refuse to go on in a store, or to call it finished, where anything is other than it was.

    Raises
    ------
    InputError
        Another request, a finished store that is damaged, or data whose content changed.
    """
    refuse_other(store, before, work.plan)
    if store.whole:
        store.check_files()
    notes = store.notes(len(work.shards))
    lost = left_out(store, notes)
    if lost and not work.request.skip_bad:
        raise InputError(
            f"{store.folder}: {len(lost):,} rows were left out with --skip-bad, because they cannot be read "
            f"({named(lost)}); give it again, or fix the data and {FIX}"
        )
    changed = changed_rows(work, contents(store, notes, work.data.ids), progress)
    changed += [id for id in lost if readable(work, id)]
    if changed:
        raise InputError(
            f"{store.folder}: the content of {len(changed):,} rows of {work.request.data} changed since "
            f"({named(changed)}); give another --out, or remove the folder"
        )


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


def contents(store: Store, notes: list[Shard], ids: np.ndarray) -> dict[str, str]:
    """The digest of the content behind every id that is done: in a finished store, or in the noted shards of one that
    is not, whose data has these ``ids``.
    """
    if store.whole:
        table = read_table(store.folder / ROWS, ["id", "content"])
        return dict(zip(table["id"].astype(str).tolist(), table["content"].tolist(), strict=True))
    pairs = ((row, digest) for note in notes for row, digest in zip(note.rows, note.digests, strict=True))
    return {str(ids[row]): digest for row, digest in pairs}


def left_out(store: Store, notes: list[Shard]) -> list[str]:
    """The ids of what could not be read, in a finished store or in the noted shards of one that is not."""
    if not store.whole:
        return [str(each[0]) for note in notes for each in note.unreadable]
    if not store.manifest()["quarantined"]:
        return []
    import pandas as pd

    return [str(id) for id in pd.read_csv(store.folder / QUARANTINE, dtype=str, keep_default_na=False)["id"]]


def changed_rows(work: Work, known: dict[str, str], progress: Progress | None = None) -> list[str]:
    """The ids whose content is no longer what it was."""
    rows = [row for row, id in enumerate(work.data.ids.tolist()) if id in known]
    now = work.digests(rows, progress)
    ids = [str(work.data.ids[row]) for row in rows]
    return [id for id, digest in zip(ids, now, strict=True) if known[id] != digest]


def readable(work: Work, id: str) -> bool:
    """Whether an item that could not be read can be now."""
    try:
        work.data.read(work.places[id])
    except (Unreadable, KeyError):
        return False
    return True


def warn_of_versions(store: Store, tell: Tell) -> None:
    """Say which libraries have changed since the store was begun: they may, but features may differ a little."""
    if found := other_versions(store.recorded(), versions()):
        tell(f"warning: {store.folder}: was made with other libraries than there are now ({', '.join(found)})")


def named(ids: list[str]) -> str:
    """The first few of some ids.

    >>> named(["a", "b", "c", "d"])
    'a, b, c, ...'
    """
    return ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
