"""Ids and labels: one value a row, made plain integers or strings whatever file or library they came from."""

from __future__ import annotations

import os
import re
import uuid
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.checks import bad
from manifold_probe.spaces.contents import ID_NAMES, LABEL_NAMES, Contents, last_part
from manifold_probe.spaces.space import to_numpy
from manifold_probe.spaces.values import entries_of, tensor_entry

WIDEST = 2 * 2**30  # bytes of a fixed-width string array: one huge string must not multiply by n
EXACT_BELOW = {"float16": 2**11, "float32": 2**24, "float64": 2**53}  # where whole numbers begin to be rounded

# "id", "doc_id", "ID", "pk", "uuid", "key", "hash", "file", "filenames", "image_path", "names", "url", ...
CALLED_LIKE_IDS = re.compile(
    r"(?i)(^|[^a-z])(u?u?ids?|pk|keys?|hash(es)?|index|urls?|uris?|stems?)$|(file|path|name|uuid|guid)s?$|(?-i:[a-z]Ids?$)"
)


def clean_column(values: Any, role: str, path: str, n: int | None = None) -> np.ndarray:
    """Values (n,) as int64 or str; ``role`` ("ids" or "labels") names them in messages.

    Read are arrays, tensors, Series, and lists of integers, strings, UUIDs, paths, NumPy scalars, 0-d tensors or
    batches of these. Whole-number floats are integers as long as their type holds them exactly (float32: below
    2^24). Integers beyond int64 become strings, so that none is rounded; "7" and 7 pair. Raises InputError for anything
    else: missing values, mixed or other types, another length than ``n``.

    Examples
    --------
    >>> clean_column(np.array([1.0, 3.0]), "labels", "t.npz")
    array([1, 3])
    >>> clean_column([np.int64(4), np.int64(2)], "ids", "t.npz")
    array([4, 2])
    >>> clean_column(np.array([7, 2**64 - 1], dtype=np.uint64), "ids", "t.npz").tolist()
    ['7', '18446744073709551615']
    """
    array = _one_dimensional(values, role, path)
    if n is not None and len(array) != n:
        raise bad(path, f"{role} hold {len(array):,} values for {n:,} rows: give one a row")
    kind = array.dtype.kind
    if kind == "S":
        array, kind = np.char.decode(array, "utf-8", "replace"), "U"
    if kind == "U":
        return np.array(array, dtype=str)
    if kind in "OT":
        return _from_objects(array.astype(object), role, path)
    if kind in "iu":
        fits = kind == "i" or not len(array) or array.max() < 2**63
        return np.array(array, dtype=np.int64) if fits else array.astype(str)
    if role == "labels" and kind == "b":
        return array.astype(np.int64)
    if array.dtype.name in EXACT_BELOW:
        return _from_floats(array, role, path)
    raise bad(path, f"{role} have type {array.dtype.name}: save integers or strings")


def _one_dimensional(values: Any, role: str, path: str) -> np.ndarray:
    """Values (n,) of whatever type; refused where they are no column, or partly masked."""
    if isinstance(values, list | tuple):
        entry = entries_of({"ids": values})["ids"]
        if entry.problem is not None:
            raise bad(path, f"the list of {role} {entry.problem}")
        values = entry.open()
    elif str(getattr(values, "dtype", "")).startswith("torch."):
        entry = tensor_entry(role, values)
        if entry.problem is not None or entry.dtype == "bfloat16":
            raise bad(path, f"{role} {entry.problem or 'have type bfloat16, exact to 256 only: save integers'}")
        values = entry.open()
    elif not hasattr(values, "__array__"):
        kind = type(values).__name__
        raise bad(path, f"{role} are a {kind}: give a list or array of one integer or string a row, in row order")
    masked = int(np.ma.getmaskarray(values).sum()) if isinstance(values, np.ma.MaskedArray) else 0
    if masked and role != "labels":
        raise bad(path, f"{role} hold {masked:,} masked values: give every row one")
    array = to_numpy(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise bad(path, f"{role} have shape {tuple(array.shape)}: give one value a row")
    return array


def _from_floats(array: np.ndarray, role: str, path: str) -> np.ndarray:
    name = array.dtype.name
    whole = np.floor(array) == array  # NaN is not
    if not whole.all():
        row = int(np.argmax(~whole))
        raise bad(path, f"{role} hold {array[row]} in row {row} ({name}): save integers or strings")
    large = ~(np.abs(array.astype(np.float64)) < EXACT_BELOW[name])  # Inf is
    if large.any():
        row = int(np.argmax(large))
        raise bad(
            path,
            f"{role} hold {float(array[row]):.0f} in row {row}, and {name} rounds whole numbers from "
            f"{EXACT_BELOW[name]:,} on: save integers or strings",
        )
    return array.astype(np.int64)


def _from_objects(array: np.ndarray, role: str, path: str) -> np.ndarray:
    items = [plain_value(item) for item in array.tolist()]
    kinds = {type(item) for item in items}
    if float in kinds and kinds <= {int, float}:
        return _from_floats(np.array(items, dtype=np.float64), role, path)
    first = str if items and isinstance(items[0], str) else int
    for row, item in enumerate(items):
        if not isinstance(item, first) or isinstance(item, bool):
            raise bad(
                path,
                f"{role} hold {str(item)[:40]!r} ({type(item).__name__}) in row {row}: "
                "save all integers or all strings",
            )
    if first is int:
        small = all(-(2**63) <= item < 2**63 for item in items)
        return np.array(items, dtype=np.int64) if small else np.array([str(item) for item in items])
    widest = max(map(len, items), default=0)
    if 4 * widest * len(items) > WIDEST:
        raise bad(path, f"{role} hold a string of {widest:,} characters: shorten it, ids are names")
    return np.array(items, dtype=str)


def plain_value(value: Any) -> Any:
    """NumPy scalars and 0-d tensors as Python values; bytes, UUIDs and paths as strings; anything else as it is.

    >>> plain_value(np.int64(7)), plain_value(b"a")
    (7, 'a')
    """
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, uuid.UUID | os.PathLike):
        return str(value)
    if isinstance(value, np.generic) or (hasattr(value, "item") and getattr(value, "ndim", 1) == 0):
        return value.item()
    return value


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
    """A column that looks like ids under another name: n integers or strings, all different. None without one.

    Names that say it ("filename", "_id", "pk", "uuid", "image_path", ...) come first, then strings, then integers.
    ``beside`` is the entry of the features. Only columns of the right length are opened, and their values are not used.

    Examples
    --------
    >>> from manifold_probe.spaces.contents import array_entry
    >>> found = {"x": array_entry("x", np.eye(3)), "pk": array_entry("pk", np.array([7, 9, 8]))}
    >>> id_candidate(Contents("t.npz", "npz", found), "x", 3)
    'pk'
    """
    columns = [
        entry
        for entry in contents.entries.values()
        if entry.name != beside and entry.shape in ((n,), (n, 1)) and entry.problem is None
        if entry.dtype == "str" or entry.dtype.startswith(("int", "uint"))
        if last_part(entry.name) not in (*LABEL_NAMES, "logits")
    ]
    columns.sort(key=lambda entry: (not CALLED_LIKE_IDS.search(last_part(entry.name)), entry.dtype != "str"))
    for entry in columns:
        try:
            values = to_numpy(entry.open()).ravel()
        except InputError:  # nulls or damage, which matter only to who asks for the column
            continue
        if len(set(values.tolist())) == n:
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
