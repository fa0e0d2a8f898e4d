"""Which entry of a file is the features."""

from __future__ import annotations

from manifold_probe.spaces.checks import bad, check_array
from manifold_probe.spaces.contents import RESERVED, Contents, Entry, last_part


def choose_features(contents: Contents, key: str | None = None) -> Entry:
    """The entry called ``key``; without one "features", else the only matrix that is not ids, labels or logits.

    Raises
    ------
    InputError
        When the key is missing, several matrices could be meant, or the chosen one is no matrix of numbers.
    """
    entry = _named(contents, key) if key is not None else contents.entries.get("features") or _only_matrix(contents)
    check_array(contents.path, entry)
    return entry


def _named(contents: Contents, key: str) -> Entry:
    if key not in contents.entries:
        raise bad(contents.path, f"has no key '{key}'; it holds {contents.listing()}; pick one of these")
    return contents.entries[key]


def _only_matrix(contents: Contents) -> Entry:
    free = [entry for entry in contents.entries.values() if last_part(entry.name) not in RESERVED]
    matrices = [entry for entry in free if len(entry.shape) == 2 and entry.problem is None and entry.dtype != "str"]
    candidates = matrices or free
    if len(candidates) == 1:
        return candidates[0]
    if not matrices:
        raise bad(
            contents.path, f"holds no matrix of features (n, d), only {contents.listing()}; save one as 'features'"
        )
    listed = Contents(contents.path, contents.format, {entry.name: entry for entry in matrices}).listing()
    pick = f"{contents.path}::{matrices[0].name}"
    raise bad(contents.path, f"several arrays could be the features ({listed}); pick one with {pick}")
