"""Ids and labels: one value a row, made plain integers or strings for every file format and library."""

from __future__ import annotations

import re
import uuid
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.checks import bad
from manifold_probe.spaces.contents import ID_NAMES, LABEL_NAMES, Contents, is_bfloat16, last_part
from manifold_probe.spaces.labels import EXACT_BELOW, WIDEST, from_cells, label_column, plain_value
from manifold_probe.spaces.space import to_numpy
from manifold_probe.spaces.values import ORDERED, entries_of, tensor_entry

# "id", "doc_id", "ID", "pk", "uuid", "key", "hash", "file", "filenames", "image_path", "names", "url", ...
CALLED_LIKE_IDS = re.compile(
    r"(?i)(^|[^a-z])(u?u?ids?|pk|keys?|hash(es)?|index|urls?|uris?|stems?)$|(file|path|name|uuid|guid)s?$|(?-i:[a-z]Ids?$)"
)


def clean_column(values: Any, role: str, path: str, n: int | None = None) -> np.ndarray:
    """Values (n,) as int64 or str; ``role`` ("ids" or "labels") names them in messages.

    Read are arrays, tensors, Series, and lists of integers, strings, UUIDs, paths, NumPy scalars, 0-d tensors or
    batches of these. Whole-number floats are integers as long as their type holds them exactly (float32: below
    2^24). Integers beyond int64 become strings, so that none is rounded; "7" and 7 pair. Labels may also be missing or
    bool: see `label_column`. Raises InputError for anything else: missing ids, mixed or other types, another length
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
        raise bad(path, f"{role} hold {len(array):,} values for {n:,} rows: give one a row")
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
    """Values (n,) of any type; refused where they are no column, or partly masked."""
    values = list(values) if isinstance(values, ORDERED) else values
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
        raise bad(path, f"{role} are a {kind}: give a list or array of one integer or string a row, in row order")
    dtype = getattr(values, "dtype", None)
    if str(dtype) == "torch.bfloat16" or (isinstance(dtype, np.dtype) and is_bfloat16(dtype)):
        raise bad(path, f"{role} have type bfloat16, exact to 256 only: save integers")
    masked = int(np.ma.getmaskarray(values).sum()) if isinstance(values, np.ma.MaskedArray) else 0
    if masked and role != "labels":
        raise bad(path, f"{role} hold {masked:,} masked values: give every row one")
    array = values if masked else np.asarray(to_numpy(values))
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        one_hot = " (of one-hot labels y.argmax(1))" if role == "labels" and array.ndim == 2 else ""
        raise bad(path, f"{role} have shape {tuple(array.shape)}: give one value a row{one_hot}")
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
    if 4 * widest * len(items) > WIDEST:
        raise bad(path, f"{role} hold a string of {widest:,} characters: shorten it, ids are names")
    return np.array(items, dtype=str)


def _decoded(values: list[bytes]) -> list[str]:
    r"""Bytes as text where all are UTF-8; else 16 bytes as a UUID, others in hexadecimal digits.

    >>> _decoded([b"a", b"b"]), _decoded([b"a", b"\xff"])
    (['a', 'b'], ['61', 'ff'])
    """
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError:
        return [str(uuid.UUID(bytes=value)) if len(value) == 16 else value.hex() for value in values]


def from_text(cells: np.ndarray, role: str = "ids") -> np.ndarray:
    """Cells of a text file: integers where every cell is one written plainly ("7", not "007"), else strings.

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
    contents: Contents, beside: str, n: int, labelled: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The ids and, where ``labelled``, the labels in the file of the feature entry ``beside``, checked against its n
    rows."""
    found = []
    for role, names in (("ids", ID_NAMES), ("labels", LABEL_NAMES if labelled else ())):
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


def ids_among(contents: Contents, beside: str, n: int, known: Any) -> np.ndarray | None:
    """The column of n values, other than the feature column ``beside``, that holds ids of ``known`` under another name,
    if one does.

    It is one where more than half of its values are known ids.
    """
    name = None if known is None else id_candidate(contents, beside, n)
    if name is None:
        return None
    ids = open_column(contents, name, "ids", n)
    rows = clean_column(known, "ids", contents.path)
    return ids if 2 * np.isin(ids.astype(str), rows.astype(str)).sum() > n else None


def open_column(contents: Contents, key: str, role: str, n: int | None = None) -> np.ndarray:
    """The entry ``key`` as a clean column, its length checked before it is opened."""
    entry = contents.entries[key]
    if entry.problem is not None:
        raise bad(contents.path, f"key '{key}' {entry.problem}")
    if len(entry.shape) != 1 and entry.shape[1:] != (1,):
        one_hot = " (of one-hot labels y.argmax(1))" if role == "labels" and len(entry.shape) == 2 else ""
        raise bad(contents.path, f"key '{key}' has shape {entry.shape}: {role} are one value a row{one_hot}")
    if n is not None and entry.shape[0] != n:
        raise bad(contents.path, f"key '{key}' holds {entry.shape[0]:,} {role} for {n:,} rows: give one a row")
    return clean_column(entry.open(), role, contents.path, n)


def pick_column(
    contents: Contents, key: str | None, names: tuple[str, ...], default: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """The column ``key`` (else the first called one of ``names``, else the only one), and the ids in the same file."""
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
