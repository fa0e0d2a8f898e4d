"""Choose the entry of a file that holds the features."""

from __future__ import annotations

from dataclasses import replace

from manifold_probe.spaces.bits import SUFFIX, unpacked
from manifold_probe.spaces.checks import bad, check_array
from manifold_probe.spaces.contents import IN_MEMORY_FORMATS, RESERVED, Contents, Entry, array_entry, last_part
from manifold_probe.spaces.labels import plain_value
from manifold_probe.spaces.vector_text import is_vector, parse_vectors


def choose_features(contents: Contents, key: str | None = None, fewest: int = 2, sets: bool = False) -> Entry:
    """The entry called ``key``; by default "features", else the only matrix that is not ids, labels or logits.

    A key that ends in "?bits" is the entry without the suffix, with its packed bits unpacked. With ``sets``
    the entry may also hold sets of vectors (n, N, d).

    Raises
    ------
    InputError
        If the key is missing, there are several candidates, or the entry is not a matrix of numbers.
    """
    if key is not None and key.endswith(SUFFIX) and key not in contents.entries:
        return unpacked(contents.path, choose_features(contents, key.removesuffix(SUFFIX) or None, fewest))
    entry = _named(contents, key) if key is not None else contents.entries.get("features") or _only_matrix(contents)
    entry = _of_text(contents.path, entry)
    check_array(contents.path, entry, fewest, sets)
    return entry


def with_features(contents: Contents, key: str | None) -> Contents:
    """The same contents with the entry ``key`` as "features"; unchanged without a key. Raises InputError."""
    if key is None:
        return contents
    entry = replace(choose_features(contents, key, fewest=0, sets=True), name="features")
    return replace(contents, entries=contents.entries | {"features": entry})


def _of_text(path: str, entry: Entry) -> Entry:
    """A column of vectors written as text, such as '[0.1, 0.2]', as a matrix; any other entry unchanged."""
    if entry.dtype != "str" or len(entry.shape) != 1 or not entry.shape[0] or entry.problem is not None:
        return entry
    cells = [plain_value(cell) for cell in entry.open().tolist()]
    return array_entry(entry.name, parse_vectors(cells, path, entry.name, 0)) if is_vector(cells[0]) else entry


def _named(contents: Contents, key: str) -> Entry:
    if key not in contents.entries:
        raise bad(contents.path, f"has no key '{key}'; it holds {contents.listing()}; pick one of these")
    return contents.entries[key]


def _only_matrix(contents: Contents) -> Entry:
    others = [entry for entry in contents.entries.values() if last_part(entry.name) not in RESERVED]
    matrices = [entry for entry in others if len(entry.shape) == 2 and entry.problem is None and entry.dtype != "str"]
    if any(last_part(entry.name) == "weight" for entry in matrices):
        raise bad(
            contents.path,
            f"holds {contents.listing(3)}, which look like a model's weights; extract its features first "
            f"(probe extract --model ...), or name the array with {contents.path}::KEY",
        )
    candidates = matrices or others
    if len(candidates) == 1:
        return candidates[0]
    if not matrices:
        raise bad(contents.path, f"holds no matrix of features (n, d), only {contents.listing()}; {_fix(others)}")
    listed = Contents(contents.path, contents.format, {entry.name: entry for entry in matrices}).listing()
    pick = f"pick one with {contents.path}::{matrices[0].name}"
    if contents.format in IN_MEMORY_FORMATS:
        pick = f"give only one, such as {matrices[0].name}, as {{'features': x, 'ids': ids}}"
    raise bad(contents.path, f"several arrays could be the features ({listed}); {pick}")


def _fix(entries: list[Entry]) -> str:
    vectors = [entry for entry in entries if len(entry.shape) == 1 and entry.dtype.startswith(("float", "bfloat"))]
    if len(vectors) > 1 and len({entry.shape for entry in vectors}) == 1:
        return "if they are the rows, save np.stack of them as 'features' and their names as 'ids'"
    return "save one as 'features'"
