"""Ids and labels: one value per row, converted to integers or strings from every file format and library."""

from __future__ import annotations

import re
import uuid
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.checks import bad
from manifold_probe.spaces.contents import ID_NAMES, LABEL_NAMES, Contents, is_bfloat16, last_part
from manifold_probe.spaces.labels import EXACT_BELOW, MAX_STRING_BYTES, from_cells, label_column, plain_value
from manifold_probe.spaces.space import to_numpy
from manifold_probe.spaces.values import LIST_LIKE, entries_of, tensor_entry

# "id", "doc_id", "ID", "pk", "uuid", "key", "hash", "file", "filenames", "image_path", "names", "url", ...
ID_LIKE_NAME = re.compile(
    r"(?i)(^|[^a-z])(u?u?ids?|pk|keys?|hash(es)?|index|urls?|uris?|stems?)$|(file|path|name|uuid|guid)s?$|(?-i:[a-z]Ids?$)"
)


def clean_column(values: Any, role: str, path: str, n: int | None = None) -> np.ndarray:
    """Values (n,) as int64 or str; ``role`` ("ids" or "labels") names them in messages.

    Accepted are arrays, tensors, Series, and lists of integers, strings, UUIDs, paths, NumPy scalars, 0-d tensors or
    batches of these. Whole-number floats become integers if their type holds them exactly (float32: below 2^24).
    Integers beyond int64 become strings, so that none is rounded; "7" and 7 are the same id. Labels may also be missing
    or bool: see `label_column`. Raises InputError for anything else: missing ids, mixed or other types, another length
    than ``n``.

    Examples
    --------
    >>> clean_column(np.array([1.0, 3.0]), "labels", "t.npz")
    array([1, 3])
    >>> clean_column([np.int64(4), np.int64(2)], "ids", "t.npz")
    array([4, 2])
    >>> clean_column(np.array([7, 2**64 - 1], dtype=np.uint64), "ids", "t.npz").tolist()
    ['7', '18446744073709551615']
    """
    array = one_dimensional(values, role, path)
    if n is not None and len(array) != n:
        raise bad(path, f"{role} hold {len(array):,} values for {n:,} rows: give one per row")
    if role == "labels":
        return label_column(array, path)
    kind = array.dtype.kind
    if kind == "S":
        array, kind = np.array(_decoded(array.tolist()), dtype=str), "U"
    if kind == "U":
        return np.array(array, dtype=str)
    if kind in "OT":
        return _from_objects(array.astype(object), role, path)
    if kind in "iu":
        fits = kind == "i" or not len(array) or array.max() < 2**63
        return np.array(array, dtype=np.int64) if fits else array.astype(str)
    if array.dtype.name in EXACT_BELOW:
        return _from_floats(array, role, path)
    raise bad(path, f"{role} have type {array.dtype.name}: save integers or strings")


def one_dimensional(values: Any, role: str, path: str) -> np.ndarray:
    """Values (n,) of any type. Raises InputError if they are not a column, or if ids are partly masked."""
    values = list(values) if isinstance(values, LIST_LIKE) else values
    if isinstance(values, list | tuple):
        entry = entries_of({"ids": values})["ids"]
        if entry.problem is not None:
            raise bad(path, f"the list of {role} {entry.problem}")
        values = entry.open()
    elif str(getattr(values, "dtype", "")).startswith("torch."):
        entry = tensor_entry(role, values)
        if entry.problem is not None:
            raise bad(path, f"{role} {entry.problem}")
        values = entry.open()
    elif not hasattr(values, "__array__"):
        kind = type(values).__name__
        raise bad(path, f"{role} are a {kind}: give a list or array of one integer or string per row, in row order")
    dtype = getattr(values, "dtype", None)
    if str(dtype) == "torch.bfloat16" or (isinstance(dtype, np.dtype) and is_bfloat16(dtype)):
        raise bad(path, f"{role} have type bfloat16, which rounds integers above 256: save integers")
    masked = int(np.ma.getmaskarray(values).sum()) if isinstance(values, np.ma.MaskedArray) else 0
    if masked and role != "labels":
        raise bad(path, f"{role} hold {masked:,} masked values: give a value for every row")
    array = values if masked else np.asarray(to_numpy(values))
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        one_hot = " (of one-hot labels y.argmax(1))" if role == "labels" and array.ndim == 2 else ""
        raise bad(path, f"{role} have shape {tuple(array.shape)}: give one value per row{one_hot}")
    return array


def _from_floats(array: np.ndarray, role: str, path: str) -> np.ndarray:
    name = array.dtype.name
    is_whole = np.floor(array) == array  # false for NaN
    if not is_whole.all():
        row = int(np.argmax(~is_whole))
        raise bad(path, f"{role} hold {array[row]} in row {row} ({name}): save integers or strings")
    is_large = ~(np.abs(array.astype(np.float64)) < EXACT_BELOW[name])  # true for Inf
    if is_large.any():
        row = int(np.argmax(is_large))
        raise bad(
            path,
            f"{role} hold {float(array[row]):.0f} in row {row}, and {name} rounds whole numbers from "
            f"{EXACT_BELOW[name]:,} upwards: save integers or strings",
        )
    return array.astype(np.int64)


def _from_objects(array: np.ndarray, role: str, path: str) -> np.ndarray:
    items = array.tolist()
    items = _decoded(items) if items and all(isinstance(item, bytes) for item in items) else items
    items = [plain_value(item) for item in items]
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
    if 4 * widest * len(items) > MAX_STRING_BYTES:
        raise bad(path, f"{role} hold a string of {widest:,} characters: shorten it; ids are short names")
    return np.array(items, dtype=str)


def _decoded(values: list[bytes]) -> list[str]:
    r"""Bytes as text if all are UTF-8; otherwise 16 bytes as a UUID, and others as hexadecimal digits.

    >>> _decoded([b"a", b"b"]), _decoded([b"a", b"\xff"])
    (['a', 'b'], ['61', 'ff'])
    """
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError:
        return [str(uuid.UUID(bytes=value)) if len(value) == 16 else value.hex() for value in values]


def from_text(cells: np.ndarray, role: str = "ids") -> np.ndarray:
    """Cells of a text file: integers if all cells are written as integers ("7", not "007"), else strings.

    Labels may have blank cells: see `from_cells`.
    """
    if role == "labels":
        return from_cells(cells)
    try:
        numbers = cells.astype(np.int64)
    except (ValueError, OverflowError):
        return cells
    return numbers if np.array_equal(numbers.astype(str), cells) else cells


def attached(
    contents: Contents, features: str, n: int, labelled: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The ids and, if ``labelled``, the labels stored with the entry ``features``, whose n rows they must match."""
    columns: list[np.ndarray | None] = []
    for role, names in (("ids", ID_NAMES), ("labels", LABEL_NAMES if labelled else ())):
        entry = contents.find(names, features)
        if entry is None or entry.name == features:
            columns.append(None)
        else:
            columns.append(open_column(contents, entry.name, role, n))
    return columns[0], columns[1]


def id_candidate(contents: Contents, features: str, n: int) -> str | None:
    """A column that may hold ids under another name: n integers or strings, all different, but not 0..n-1.

    Names usual for ids ("filename", "_id", "pk", "uuid", "image_path", ...) come first, then strings, then integers.
    ``features`` is the entry of the features. Only columns of the right length are opened.

    Examples
    --------
    >>> from manifold_probe.spaces.contents import array_entry
    >>> entries = {"x": array_entry("x", np.eye(3)), "pk": array_entry("pk", np.array([7, 9, 8]))}
    >>> id_candidate(Contents("t.npz", "npz", entries), "x", 3)
    'pk'
    """
    dimensions = contents.entries[features].columns if features in contents.entries else ()
    columns = [
        entry
        for entry in contents.entries.values()
        if entry.name not in (features, *dimensions) and entry.shape in ((n,), (n, 1)) and entry.problem is None
        if entry.dtype == "str" or entry.dtype.startswith(("int", "uint"))
        if last_part(entry.name) not in (*LABEL_NAMES, "logits")
    ]
    columns.sort(key=lambda entry: (not ID_LIKE_NAME.search(last_part(entry.name)), entry.dtype != "str"))
    for entry in columns:
        try:
            values = to_numpy(entry.open()).ravel()
        except InputError:  # nulls or damage matter only if the column is asked for
            continue
        if len(set(values.tolist())) == n and not np.array_equal(values, np.arange(n)):  # row numbers identify nothing
            return entry.name
    return None


def ids_among(contents: Contents, values: str, n: int, known: Any) -> np.ndarray | None:
    """A column of n values, other than the column ``values``, that holds the ids ``known`` under another name, or None.

    More than half of its values must be known ids.
    """
    name = None if known is None else id_candidate(contents, values, n)
    if name is None:
        return None
    ids = open_column(contents, name, "ids", n)
    known_ids = clean_column(known, "ids", contents.path)
    return ids if 2 * np.isin(ids.astype(str), known_ids.astype(str)).sum() > n else None


def open_column(contents: Contents, key: str, role: str, n: int | None = None) -> np.ndarray:
    """The entry ``key`` as a clean column; its length is checked before it is opened."""
    entry = contents.entries[key]
    if entry.problem is not None:
        raise bad(contents.path, f"key '{key}' {entry.problem}")
    if len(entry.shape) != 1 and entry.shape[1:] != (1,):
        one_hot = " (of one-hot labels y.argmax(1))" if role == "labels" and len(entry.shape) == 2 else ""
        raise bad(contents.path, f"key '{key}' has shape {entry.shape}: {role} are one value per row{one_hot}")
    if n is not None and entry.shape[0] != n:
        raise bad(contents.path, f"key '{key}' holds {entry.shape[0]:,} {role} for {n:,} rows: give one per row")
    return clean_column(entry.open(), role, contents.path, n)


def pick_column(
    contents: Contents, key: str | None, names: tuple[str, ...], default: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """The column ``key``, by default the first with one of ``names``, else the only one; and the ids in the file."""
    path = contents.path
    if key is not None and key not in contents.entries:
        raise bad(path, f"has no key '{key}'; it holds {contents.listing()}")
    if key is None:
        entry = contents.find(names)
        others = [other for other in contents.entries.values() if last_part(other.name) not in ID_NAMES]
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
