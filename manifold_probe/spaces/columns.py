"""Ids and labels: one value a row, made plain integers or strings whatever file or library they came from."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.checks import bad
from manifold_probe.spaces.contents import ID_NAMES, LABEL_NAMES, Contents, last_part
from manifold_probe.spaces.space import to_numpy

WIDEST = 2 * 2**30  # bytes of a fixed-width string array: one huge string must not multiply by n

# "id", "doc_id", "ID", "pk", "uuid", "key", "hash", "file", "filenames", "image_path", "names", "url", ...
CALLED_LIKE_IDS = re.compile(
    r"(?i)(^|[^a-z])(u?u?ids?|pk|keys?|hash(es)?|index|urls?|uris?|stems?)$|(file|path|name|uuid|guid)s?$|(?-i:[a-z]Ids?$)"
)


def clean_column(values: Any, role: str, path: str, n: int | None = None) -> np.ndarray:
    """Values (n,) as int64 or str; ``role`` ("ids" or "labels") names them in messages.

    Labels may also be bool or whole-number floats. Raises InputError for anything else: missing values, other types,
    another length than ``n``.

    Examples
    --------
    >>> clean_column(np.array([1.0, 3.0]), "labels", "t.npz")
    array([1, 3])
    """
    array = to_numpy(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise bad(path, f"{role} have shape {tuple(array.shape)}: give one value a row")
    if n is not None and len(array) != n:
        raise bad(path, f"{role} hold {len(array):,} values for {n:,} rows: give one a row")
    kind = array.dtype.kind
    if kind == "O":
        return _from_objects(array, role, path)
    if kind == "S":
        return _from_objects(np.char.decode(array, "utf-8", "replace"), role, path)
    if kind in "UT":
        return np.array(array, dtype=str) if kind == "U" else _from_objects(array.astype(object), role, path)
    if kind in "iu" and (kind == "i" or not len(array) or array.max() < 2**63):
        return np.array(array, dtype=np.int64)
    if role == "labels" and kind == "b":
        return array.astype(np.int64)
    if role == "labels" and kind == "f":
        return _from_floats(array, path)
    raise bad(path, f"{role} have type {array.dtype.name}: save integers or strings")


def _from_floats(array: np.ndarray, path: str) -> np.ndarray:
    off = ~((np.floor(array) == array) & (np.abs(array) < 2**53))  # NaN and Inf are off too
    if off.any():
        row = int(np.argmax(off))
        raise bad(path, f"labels hold {array[row]} in row {row}: classes are integers or strings")
    return array.astype(np.int64)


def _from_objects(array: np.ndarray, role: str, path: str) -> np.ndarray:
    items = array.tolist()
    first = str if items and isinstance(items[0], str) else int
    for row, item in enumerate(items):
        if not isinstance(item, first) or isinstance(item, bool):
            raise bad(
                path,
                f"{role} hold {str(item)[:40]!r} ({type(item).__name__}) in row {row}: "
                "save all integers or all strings",
            )
    if first is str:
        widest = max(map(len, items), default=0)
        if 4 * widest * len(items) > WIDEST:
            raise bad(path, f"{role} hold a string of {widest:,} characters: shorten it, ids are names")
        return np.array(items, dtype=str)
    if not all(-(2**63) <= item < 2**63 for item in items):
        raise bad(path, f"{role} hold integers beyond 64 bits: save them as strings")
    return np.array(items, dtype=np.int64)


def from_text(cells: np.ndarray) -> np.ndarray:
    """Cells of a text file: integers where every cell is one written plainly ("7", not "007"), else strings."""
    try:
        numbers = cells.astype(np.int64)
    except (ValueError, OverflowError):
        return cells
    return numbers if np.array_equal(numbers.astype(str), cells) else cells


def attached(contents: Contents, beside: str, n: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The ids and labels that lie in the same file as the entry ``beside``, checked against its n rows."""
    found = []
    for role, names in (("ids", ID_NAMES), ("labels", LABEL_NAMES)):
        entry = contents.find(names, beside)
        found.append(None if entry is None or entry.name == beside else open_column(contents, entry.name, role, n))
    return found[0], found[1]


def id_candidate(contents: Contents, beside: str, n: int) -> str | None:
    """A column that looks like ids under another name: n integers or strings, all different, but not 0..n-1.

    Names that say it ("filename", "_id", "pk", "uuid", "image_path", ...) come first, then strings, then integers.
    ``beside`` is the entry of the features. Only columns of the right length are opened, and their values are not used.

    Examples
    --------
    >>> from manifold_probe.spaces.contents import array_entry
    >>> found = {"x": array_entry("x", np.eye(3)), "pk": array_entry("pk", np.array([7, 9, 8]))}
    >>> id_candidate(Contents("t.npz", "npz", found), "x", 3)
    'pk'
    """
    dimensions = contents.entries[beside].columns if beside in contents.entries else ()
    columns = [
        entry
        for entry in contents.entries.values()
        if entry.name not in (beside, *dimensions) and entry.shape in ((n,), (n, 1)) and entry.problem is None
        if entry.dtype == "str" or entry.dtype.startswith(("int", "uint"))
        if last_part(entry.name) not in (*LABEL_NAMES, "logits")
    ]
    columns.sort(key=lambda entry: (not CALLED_LIKE_IDS.search(last_part(entry.name)), entry.dtype != "str"))
    for entry in columns:
        try:
            values = to_numpy(entry.open()).ravel()
        except InputError:  # nulls or damage, which matter only to who asks for the column
            continue
        if len(set(values.tolist())) == n and not np.array_equal(values, np.arange(n)):  # row numbers say nothing
            return entry.name
    return None


def open_column(contents: Contents, key: str, role: str, n: int | None = None) -> np.ndarray:
    """The entry ``key`` as a clean column, its length checked before it is opened."""
    entry = contents.entries[key]
    if entry.problem is not None:
        raise bad(contents.path, f"key '{key}' {entry.problem}")
    if len(entry.shape) != 1 and entry.shape[1:] != (1,):
        raise bad(contents.path, f"key '{key}' has shape {entry.shape}: {role} are one value a row")
    if n is not None and entry.shape[0] != n:
        raise bad(contents.path, f"key '{key}' holds {entry.shape[0]:,} {role} for {n:,} rows: give one a row")
    return clean_column(entry.open(), role, contents.path, n)


def pick_column(
    contents: Contents, key: str | None, names: tuple[str, ...], default: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """The column ``key`` (else the first called one of ``names``, else the only one), and the ids beside it."""
    path = contents.path
    if key is not None and key not in contents.entries:
        raise bad(path, f"has no key '{key}'; it holds {contents.listing()}")
    if key is None:
        entry = contents.find(names)
        others = [found for found in contents.entries.values() if last_part(found.name) not in ID_NAMES]
        if entry is None and len(others) != 1:
            raise bad(
                path, f"holds no {' or '.join(names)}, only {contents.listing()}; pick the {default} with {path}::KEY"
            )
        key = entry.name if entry is not None else others[0].name
    values = open_column(contents, key, default)
    ids = contents.find(ID_NAMES, key)
    if ids is None or ids.name == key:
        return values, None
    return values, open_column(contents, ids.name, "ids", len(values))
