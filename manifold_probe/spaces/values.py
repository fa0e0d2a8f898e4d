"""Python values as entries: what lies in a .pt file, and what people hold in memory.

A dict gives an entry for each key ("train.features" where dicts lie in dicts), a list of records is such a dict, and
anything else is the one entry "features". Lists are joined where there is one way to do it:

    [(n_1, d), (n_2, d), ...]    batches, one after another         [(d,), (d,), ...]    rows
    ids or labels: numbers, strings, 0-d tensors, NumPy scalars, or batches of them

A reserved key (ids, labels, logits) is never left out: what cannot be used becomes an entry whose ``problem`` says what
it is and how to fix it, and whoever needs the key refuses. Only None counts as "not there".
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

DEPTH = 2
HOLDING = ("features", "embeddings")  # keys of a dict that is one space
ORDERED = (range, deque, KeysView, ValuesView)  # as good as a list
COUNTED = re.compile(r"(.*?[A-Za-z_])(\d+)")  # "emb_0": a dimension or a row?


def entries_of(thing: Any) -> dict[str, Entry]:
    """The entries of a saved or given value: a tensor, array, list, dict, or dict of dicts.

    Examples
    --------
    >>> entries_of({"features": [np.eye(3), np.eye(3)], "ids": [np.int64(i) for i in range(6)]})["features"].shape
    (6, 3)
    >>> entries_of({"a.jpg": np.ones(4), "b.jpg": np.ones(4), "c.jpg": np.ones(4)})["ids"].open().tolist()
    ['a.jpg', 'b.jpg', 'c.jpg']
    """
    if _is_records(thing):
        thing = {key: [record[key] for record in thing] for key in thing[0]}
    if isinstance(thing, Mapping):
        return {entry.name: entry for entry in _of_dict(thing, "", 0)}
    entry = _value_entry("features", thing)
    return {} if entry is None else {"features": entry}


def _is_records(thing: Any) -> bool:
    """A list of dicts with the same keys, one a row or one a batch."""
    if not isinstance(thing, list | tuple) or not thing or not all(isinstance(item, Mapping) for item in thing):
        return False
    return all(item.keys() == thing[0].keys() for item in thing)


def _of_dict(thing: Mapping[Any, Any], prefix: str, depth: int) -> list[Entry]:
    found: list[Entry] = []
    for key, value in thing.items():
        name = f"{prefix}{key}"
        if value is None:
            continue
        if isinstance(value, Mapping) and _role(name) not in RESERVED:
            found += _of_dict(value, f"{name}.", depth + 1) if depth < DEPTH else []
        else:
            entry = _value_entry(name, value)
            found += [] if entry is None else [entry]
    return one_a_row(found, prefix)


def _role(name: str) -> str:
    """ "train.IDs" as "ids", to be held against the reserved names."""
    return last_part(name).lower()


def is_one_space(thing: Mapping[Any, Any], name: str) -> bool:
    """Whether a dict is one space, ``{"features": x, "ids": ids}`` or ``{id: vector}``, or else a dict of named spaces.

    It is one where a reserved key, "features" or "embeddings" holds values (a path or a Space there is a named space),
    or where every value is a vector.

    Raises
    ------
    InputError
        Where both could be meant: "features" next to other matrices, without ids or labels.

    Examples
    --------
    >>> is_one_space({"features": np.eye(3), "ids": [1, 2, 3]}, "student"), is_one_space({"best": np.eye(3)}, "student")
    (True, False)
    """
    held = {key: value for key, value in thing.items() if value is not None}
    inside = [key for key in held if key in (*HOLDING, *RESERVED) and _entry_or_none(held[key]) is not None]
    if not inside:
        return bool(held) and all(_is_vector(value) for value in held.values())
    columns = any(key in (*ID_NAMES, *LABEL_NAMES) for key in inside)
    others = [key for key, value in held.items() if key not in (*HOLDING, *RESERVED) and _is_matrix(value)]
    if others and not columns:
        raise InputError(
            f"{name}: the dict holds '{inside[0]}' and '{others[0]}'; for one student give it through "
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
    """{name: vector} as one matrix "features" with the names as "ids"; other entries as they are.

    So a file with one vector an image is read. It takes three vectors or more, of one length and type, and nothing else
    next to them. Names that only count ("emb_0", "emb_1", ...) could be dimensions as well where they are fewer than
    the values of each, so these are left alone.
    """
    shapes = {entry.shape for entry in entries}
    names = [entry.name.removeprefix(prefix) for entry in entries]
    if len(entries) < 3 or len(shapes) > 1 or len({entry.dtype for entry in entries}) > 1:
        return entries
    shape = shapes.pop()
    numbers = entries[0].dtype.startswith(("float", "bfloat", "int", "uint"))
    vectors = len(shape) == 1 or (len(shape) == 2 and shape[0] == 1)
    if not numbers or not vectors or shape[-1] < 2 or any(entry.problem for entry in entries):
        return entries
    if len(entries) < shape[-1] and _counts(names):
        return entries
    if any(_role(name) in RESERVED for name in names):
        return entries
    opened = [entry.open for entry in entries]
    matrix = Entry(
        f"{prefix}features",
        (len(entries), shape[-1]),
        entries[0].dtype,
        lambda: _stack([each().reshape(-1) for each in opened]),
    )
    counted = all(name.isdecimal() and str(int(name)) == name for name in names)
    return [matrix, typed_column(f"{prefix}ids", [int(name) for name in names] if counted else names)]


def _counts(names: list[str]) -> bool:
    """Whether the names are one stem with the numbers 0, 1, 2, ... or 1, 2, 3, ..."""
    found = [COUNTED.fullmatch(name) for name in names]
    if not all(found) or len({match[1] for match in found if match}) > 1:
        return False
    numbers = sorted(int(match[2]) for match in found if match)
    return numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _value_entry(name: str, value: Any) -> Entry | None:
    """One value as an entry; None for what is no array, unless its name is reserved."""
    reserved = _role(name)
    value = list(value) if isinstance(value, ORDERED) else value
    if reserved in (*ID_NAMES, *LABEL_NAMES) and isinstance(value, list | tuple):
        return _column_entry(name, list(value))
    entry = _array_entry(name, value)
    if entry is None and reserved in RESERVED:
        how = "a matrix (n, classes)" if reserved == "logits" else "a list or tensor of one integer or string a row"
        return Entry(name, (), type(value).__name__, list, f"is a {type(value).__name__}: save {how}, in row order")
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
    """Rows, batches or values in a list."""
    if all(isinstance(item, str) for item in items):
        return typed_column(name, items)
    if all(isinstance(item, int | float | np.number) and not isinstance(item, bool) for item in items):
        return array_entry(name, np.asarray(items))
    parts = [_array_entry(name, item) for item in items]
    kinds = list(dict.fromkeys(type(item).__name__ for item in items))
    listed = f"is a list of {', '.join(kinds[:3])}"
    if any(part is None for part in parts):
        return None if name != "features" else _unusable(name, len(items), f"{listed}: {_MATRIX}")
    found = [part for part in parts if part is not None]
    problem = next((f"holds, in item {at}, what {part.problem}" for at, part in enumerate(found) if part.problem), None)
    if problem is not None:
        return _unusable(name, len(items), problem)
    if len({len(part.shape) for part in found}) > 1 or len(found[0].shape) > 2:
        few = ", ".join(f"{part.dtype} {part.shape}" for part in found[:3]) + (", ..." if len(found) > 3 else "")
        return _unusable(name, len(items), f"is a list of arrays ({few}): {_NAMED}")
    return _joined(name, found)


_MATRIX = "save one matrix (n, d), such as torch.stack(rows) or torch.cat(batches)"
_NAMED = "save each under its name: {'features': x, 'labels': y, 'ids': ids}"


def _joined(name: str, parts: list[Entry]) -> Entry:
    """Numbers, rows (d,) or batches (m, d), all of one type, as a column or matrix."""
    types = {part.dtype for part in parts}
    if types <= {"int64", "float64"}:  # Python numbers, 1 among 0.5
        types = {max(types, key=len)}
    dimensions = len(parts[0].shape)
    widths = {part.shape[-1] for part in parts} if dimensions else {0}
    words = {1: "rows of different lengths", 2: "batches of different widths"}.get(dimensions, "values")
    if len(widths) > 1:
        other = next(at for at, part in enumerate(parts) if part.shape[-1] != parts[0].shape[-1])
        sizes = f"{parts[0].shape[-1]} in item 0, {parts[other].shape[-1]} in item {other}"
        return _unusable(name, len(parts), f"is a list of {words} ({sizes}): extract them with one model")
    if len(types) > 1:
        few = ", ".join(sorted(types))
        return _unusable(name, len(parts), f"is a list of mixed types ({few}): convert it to one type")
    dtype = types.pop()
    if dimensions == 2:
        rows = sum(part.shape[0] for part in parts)
        return Entry(name, (rows, widths.pop()), dtype, lambda: _stacked([part.open() for part in parts], dtype))
    shape = (len(parts), *sorted(widths)) if dimensions else (len(parts),)
    return Entry(name, shape, dtype, lambda: _stack([part.open() for part in parts]))


def _unusable(name: str, n: int, problem: str) -> Entry:
    """A list of n items that is no array, and why."""
    return Entry(name, (n,), "object", list, problem)


def _stacked(parts: list[Any], dtype: str) -> Any:
    from manifold_probe.spaces.stacked import Stacked

    return Stacked(parts, dtype)


def _stack(rows: list[Any]) -> Any:
    if isinstance(rows[0], np.ndarray):
        return np.stack(rows)
    return sys.modules["torch"].stack(rows)


def _column_entry(name: str, items: list[Any]) -> Entry:
    """Ids or labels in a list: one value a row, or batches of values one after another."""
    flat: list[Any] = []
    nested = [_elements(item) for item in items]
    if any(each is None for each in nested) and not all(each is None for each in nested):
        odd = next(at for at, each in enumerate(nested) if (each is None) != (nested[0] is None))
        kinds = f"{type(items[0]).__name__} and, in item {odd}, {type(items[odd]).__name__}"
        return _unusable(name, len(items), f"mixes {kinds}: save all integers or all strings")
    for item, each in zip(items, nested, strict=True):
        flat += [_unwrapped(item)] if each is None else each
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
    """The Python value in a 0-d tensor or array; anything else as it is."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value


def typed_column(name: str, items: Iterable[Any]) -> Entry:
    """Python values as a column of objects, its type named where they all have it."""
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
    """A torch tensor as an entry; numpy holds its memory wherever numpy knows the type (bfloat16 stays in torch)."""
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
        return None  # the type check says what to do
    claimed, stored = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
    if claimed > stored:
        return f"is an expanded tensor: {stored:,} bytes claim to be {claimed:,}; save x.contiguous() if that is meant"
    return None


def _plain(tensor: Any) -> Any:
    tensor = tensor.detach().cpu().resolve_neg()
    low_precision = tensor.is_floating_point() and str(tensor.dtype) not in _NUMPY_FLOATS
    return tensor if low_precision else tensor.numpy()


_NUMPY_FLOATS = ("torch.float16", "torch.float32", "torch.float64")
