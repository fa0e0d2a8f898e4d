"""Python values as entries: the content of a .pt file, or objects in memory.

A dict gives an entry per key ("train.features" for nested dicts), a list of records is such a dict, and any other value
is the single entry "features". Lists are joined if there is only one way to do it:

    [(n_1, d), (n_2, d), ...]    batches, concatenated         [(d,), (d,), ...]    rows
    ids or labels: numbers, strings, 0-d tensors, NumPy scalars, or batches of them

A reserved key (ids, labels, logits) is never left out: a value that cannot be used becomes an entry whose ``problem``
states what it is and the fix, and code that needs the key raises it. Only None counts as absent.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Iterable, KeysView, Mapping, ValuesView
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.contents import ID_NAMES, LABEL_NAMES, RESERVED, Entry, array_entry, last_part

MAX_DEPTH = 2
FEATURE_KEYS = ("features", "embeddings")  # of a dict that is one space
LIST_LIKE = (range, deque, KeysView, ValuesView)
NUMBERED = re.compile(r"(.*?[A-Za-z_])(\d+)")  # "emb_0" may be a dimension or a row


def entries_of(value: Any) -> dict[str, Entry]:
    """The entries of a value: a tensor, array, list, dict, or dict of dicts.

    Examples
    --------
    >>> entries_of({"features": [np.eye(3), np.eye(3)], "ids": [np.int64(i) for i in range(6)]})["features"].shape
    (6, 3)
    >>> entries_of({"a.jpg": np.ones(4), "b.jpg": np.ones(4), "c.jpg": np.ones(4)})["ids"].open().tolist()
    ['a.jpg', 'b.jpg', 'c.jpg']
    """
    if _is_records(value):
        value = {key: [record[key] for record in value] for key in value[0]}
    if isinstance(value, Mapping):
        return {entry.name: entry for entry in _of_dict(value, "", 0)}
    entry = _value_entry("features", value)
    return {} if entry is None else {"features": entry}


def _is_records(value: Any) -> bool:
    """Whether it is a list of dicts with the same keys, one per row or one per batch."""
    if not isinstance(value, list | tuple) or not value or not all(isinstance(item, Mapping) for item in value):
        return False
    return all(item.keys() == value[0].keys() for item in value)


def _of_dict(mapping: Mapping[Any, Any], prefix: str, depth: int) -> list[Entry]:
    entries: list[Entry] = []
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if value is None:
            continue
        if isinstance(value, Mapping) and _role(name) not in RESERVED:
            entries += _of_dict(value, f"{name}.", depth + 1) if depth < MAX_DEPTH else []
        else:
            entry = _value_entry(name, value)
            entries += [] if entry is None else [entry]
    return one_a_row(entries, prefix)


def _role(name: str) -> str:
    """ "train.IDs" as "ids", to be compared with the reserved names."""
    return last_part(name).lower()


def is_one_space(mapping: Mapping[Any, Any], name: str) -> bool:
    """Whether a dict is one space, ``{"features": x, "ids": ids}`` or ``{id: vector}``, or else a dict of named spaces.

    It is one space if a reserved key, "features" or "embeddings" holds values (a path or a Space is a named space), or
    if every value is a vector.

    Raises
    ------
    InputError
        If both are possible: "features" next to other matrices, without ids or labels.

    Examples
    --------
    >>> is_one_space({"features": np.eye(3), "ids": [1, 2, 3]}, "student"), is_one_space({"best": np.eye(3)}, "student")
    (True, False)
    """
    present = {key: value for key, value in mapping.items() if value is not None}
    used_keys = [
        key for key in present if key in (*FEATURE_KEYS, *RESERVED) and _entry_or_none(present[key]) is not None
    ]
    if not used_keys:
        return bool(present) and all(_is_vector(value) for value in present.values())
    has_columns = any(key in (*ID_NAMES, *LABEL_NAMES) for key in used_keys)
    others = [key for key, value in present.items() if key not in (*FEATURE_KEYS, *RESERVED) and _is_matrix(value)]
    if others and not has_columns:
        raise InputError(
            f"{name}: the dict holds '{used_keys[0]}' and '{others[0]}'; for one student convert it with "
            "manifold_probe.spaces.as_space, for several rename them"
        )
    return True


def _entry_or_none(value: Any) -> Entry | None:
    return entries_of(value).get("features") if isinstance(value, Mapping) else _array_entry("features", value)


def _is_vector(value: Any) -> bool:
    entry = _array_entry("row", value)
    return entry is not None and (len(entry.shape) == 1 or (len(entry.shape) == 2 and entry.shape[0] == 1))


def _is_matrix(value: Any) -> bool:
    if hasattr(value, "blocks") or hasattr(value, "columns"):  # a Space, a DataFrame
        return True
    entry = _array_entry("features", value)
    return entry is not None and len(entry.shape) == 2


def one_a_row(entries: list[Entry], prefix: str = "") -> list[Entry]:
    """{name: vector} as one matrix "features" with the names as "ids"; other entries unchanged.

    This reads a file with one vector per image. It needs at least three vectors, of one length and type, and no other
    entries. Numbered names ("emb_0", "emb_1", ...) could also be dimensions if there are fewer of them than values in a
    vector, so these are left unchanged.
    """
    shapes = {entry.shape for entry in entries}
    names = [entry.name.removeprefix(prefix) for entry in entries]
    if len(entries) < 3 or len(shapes) > 1 or len({entry.dtype for entry in entries}) > 1:
        return entries
    shape = shapes.pop()
    are_numbers = entries[0].dtype.startswith(("float", "bfloat", "int", "uint"))
    are_vectors = len(shape) == 1 or (len(shape) == 2 and shape[0] == 1)
    if not are_numbers or not are_vectors or shape[-1] < 2 or any(entry.problem for entry in entries):
        return entries
    if len(entries) < shape[-1] and _are_numbered(names):
        return entries
    if any(_role(name) in RESERVED for name in names):
        return entries
    matrix = Entry(
        f"{prefix}features",
        (len(entries), shape[-1]),
        entries[0].dtype,
        lambda: _stack([entry.open().reshape(-1) for entry in entries]),
    )
    are_integers = all(name.isdecimal() and str(int(name)) == name for name in names)
    return [matrix, typed_column(f"{prefix}ids", [int(name) for name in names] if are_integers else names)]


def _are_numbered(names: list[str]) -> bool:
    """Whether the names are one stem with the numbers 0, 1, 2, ... or 1, 2, 3, ..."""
    matches = [NUMBERED.fullmatch(name) for name in names]
    if not all(matches) or len({match[1] for match in matches if match}) > 1:
        return False
    numbers = sorted(int(match[2]) for match in matches if match)
    return numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _value_entry(name: str, value: Any) -> Entry | None:
    """One value as an entry; None if it is not an array, unless its name is reserved."""
    role = _role(name)
    value = list(value) if isinstance(value, LIST_LIKE) else value
    if role in (*ID_NAMES, *LABEL_NAMES) and isinstance(value, list | tuple):
        return _column_entry(name, list(value))
    entry = _array_entry(name, value)
    if entry is None and role in RESERVED:
        fix = "a matrix (n, classes)" if role == "logits" else "a list or tensor of one integer or string per row"
        return Entry(name, (), type(value).__name__, list, f"is a {type(value).__name__}: save {fix}, in row order")
    return entry


def _array_entry(name: str, value: Any) -> Entry | None:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return tensor_entry(name, value)
    if isinstance(value, list | tuple):
        return _list_entry(name, list(value)) if value else None
    if type(value).__module__.startswith("scipy.sparse"):
        return Entry(name, value.shape, str(value.dtype), list, "is a sparse matrix: give x.toarray()")
    if isinstance(value, np.ma.MaskedArray):
        masked = int(np.ma.getmaskarray(value).sum())
        problem = f"is a masked array with {masked:,} masked values: drop those rows, or fill them" if masked else None
        return Entry(name, value.shape, value.dtype.name, lambda: np.asarray(value.data), problem)
    if isinstance(value, np.generic) or not hasattr(value, "__array__"):
        return None
    array = np.asarray(value)
    if array.dtype == object and array.ndim == 1 and len(array):
        return _list_entry(name, array.tolist())
    return array_entry(name, array)


def _list_entry(name: str, items: list[Any]) -> Entry | None:
    """A list of rows, batches or values as an entry."""
    if all(isinstance(item, str) for item in items):
        return typed_column(name, items)
    if all(isinstance(item, int | float | np.number) and not isinstance(item, bool) for item in items):
        return array_entry(name, np.asarray(items))
    parts = [_array_entry(name, item) for item in items]
    kinds = list(dict.fromkeys(type(item).__name__ for item in items))
    listed = f"is a list of {', '.join(kinds[:3])}"
    if any(part is None for part in parts):
        return None if name != "features" else _unusable(name, len(items), f"{listed}: {_MATRIX}")
    arrays = [part for part in parts if part is not None]
    problem = next((f"has an item {at} that {part.problem}" for at, part in enumerate(arrays) if part.problem), None)
    if problem is not None:
        return _unusable(name, len(items), problem)
    if len({len(part.shape) for part in arrays}) > 1 or len(arrays[0].shape) > 2:
        first = ", ".join(f"{part.dtype} {part.shape}" for part in arrays[:3]) + (", ..." if len(arrays) > 3 else "")
        return _unusable(name, len(items), f"is a list of arrays ({first}): {_NAMED}")
    return _joined(name, arrays)


_MATRIX = "save one matrix (n, d), such as torch.stack(rows) or torch.cat(batches)"
_NAMED = "save them by name: {'features': x, 'labels': y, 'ids': ids}"


def _joined(name: str, parts: list[Entry]) -> Entry:
    """Numbers, rows (d,) or batches (m, d), of one type, as a column or matrix."""
    types = {part.dtype for part in parts}
    if types <= {"int64", "float64"}:  # Python numbers, such as 1 and 0.5
        types = {max(types, key=len)}
    dimensions = len(parts[0].shape)
    widths = {part.shape[-1] for part in parts} if dimensions else {0}
    kind = {1: "rows of different lengths", 2: "batches of different widths"}.get(dimensions, "values")
    if len(widths) > 1:
        other = next(at for at, part in enumerate(parts) if part.shape[-1] != parts[0].shape[-1])
        sizes = f"{parts[0].shape[-1]} in item 0, {parts[other].shape[-1]} in item {other}"
        return _unusable(name, len(parts), f"is a list of {kind} ({sizes}): extract them with one model")
    if len(types) > 1:
        listed = ", ".join(sorted(types))
        return _unusable(name, len(parts), f"is a list of mixed types ({listed}): convert it to one type")
    dtype = types.pop()
    if dimensions == 2:
        rows = sum(part.shape[0] for part in parts)
        return Entry(name, (rows, widths.pop()), dtype, lambda: _stacked([part.open() for part in parts], dtype))
    shape = (len(parts), *sorted(widths)) if dimensions else (len(parts),)
    return Entry(name, shape, dtype, lambda: _stack([part.open() for part in parts]))


def _unusable(name: str, n: int, problem: str) -> Entry:
    """The entry of a list of n items that cannot be used, with the problem."""
    return Entry(name, (n,), "object", list, problem)


def _stacked(parts: list[Any], dtype: str) -> Any:
    from manifold_probe.spaces.stacked import Stacked

    return Stacked(parts, dtype)


def _stack(rows: list[Any]) -> Any:
    if isinstance(rows[0], np.ndarray):
        return np.stack(rows)
    return sys.modules["torch"].stack(rows)


def _column_entry(name: str, items: list[Any]) -> Entry:
    """Ids or labels in a list: one value per row, or batches of values, which are concatenated."""
    flat: list[Any] = []
    batches = [_elements(item) for item in items]
    if any(batch is None for batch in batches) and not all(batch is None for batch in batches):
        odd = next(at for at, batch in enumerate(batches) if (batch is None) != (batches[0] is None))
        kinds = f"{type(items[0]).__name__} and, in item {odd}, {type(items[odd]).__name__}"
        return _unusable(name, len(items), f"mixes {kinds}: save all integers or all strings")
    for item, batch in zip(items, batches, strict=True):
        flat += [_unwrapped(item)] if batch is None else batch
    return typed_column(name, flat)


def _elements(item: Any) -> list[Any] | None:
    """The values of a batch (a list, tuple, or array of at least one dimension); None for a single value."""
    if isinstance(item, list | tuple):
        return [_unwrapped(value) for value in item]
    if hasattr(item, "tolist") and getattr(item, "ndim", 0) > 0:
        array = item.detach().cpu().resolve_neg() if hasattr(item, "detach") else item
        return list(array.reshape(-1).tolist()) if array.ndim == 1 or array.shape[1:] == (1,) else array.tolist()
    return None


def _unwrapped(value: Any) -> Any:
    """The Python value in a 0-d tensor or array; anything else unchanged."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value


def typed_column(name: str, items: Iterable[Any]) -> Entry:
    """Python values as a column of objects; its type is "str" or "int64" if all values are."""
    values = list(items)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    dtype = "object"
    if values and all(isinstance(value, str) for value in values):
        dtype = "str"
    elif values and all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        dtype = "int64"
    return Entry(name, array.shape, dtype, lambda: array)


def tensor_entry(name: str, tensor: Any) -> Entry:
    """A torch tensor as an entry, opened as a numpy array without a copy, or as a tensor if numpy lacks its type."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return Entry(name, tuple(tensor.shape), dtype, lambda: _plain(tensor), _problem(tensor))


def _problem(tensor: Any) -> str | None:
    import torch

    if tensor.is_nested:
        return "is a nested tensor: pad or pool it to (n, d)"
    if tensor.layout != torch.strided:
        return "is a sparse tensor: save x.to_dense()"
    if tensor.is_quantized:
        return "is a quantised tensor: save x.dequantize()"
    if tensor.device.type == "meta":
        return "is a meta tensor, which has a shape but no data: save it from a real device"
    if tensor.is_complex():
        return None  # the type check gives the fix
    claimed, stored = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
    if claimed > stored:
        return f"is an expanded tensor: {stored:,} bytes claim to be {claimed:,}; save x.contiguous() if it is intended"
    return None


def _plain(tensor: Any) -> Any:
    tensor = tensor.detach().cpu().resolve_neg()
    low_precision = tensor.is_floating_point() and str(tensor.dtype) not in _NUMPY_FLOATS
    return tensor if low_precision else tensor.numpy()


_NUMPY_FLOATS = ("torch.float16", "torch.float32", "torch.float64")
