"""Reading .jsonl and .ndjson (a record a line) and .json (a list of records, or a dict of columns).

A record is a dict with a vector, a list of numbers, and usually an id: ``{"id": "a", "vector": [0.1, 0.2]}``. Dicts
inside it are opened: ``{"output": {"vector": [...]}}`` has the field ``output.vector``. Lines are read one at a time,
so that a large file never stands in memory as Python objects.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from manifold_probe.spaces.checks import bad, refusing
from manifold_probe.spaces.contents import RESERVED, Contents, Entry, array_entry, last_part
from manifold_probe.spaces.dimensions import SAMPLE, choose_dimensions
from manifold_probe.spaces.spool import gather

BLOCK = 1024  # rows
Records = Callable[[], Iterator[tuple[str, Any]]]  # -> where each record stands ("line 3"), and the record


def open_json_lines(path: str) -> Contents:
    """The fields of a file with one record a line; blank lines are passed over."""
    with refusing(path, "JSON lines"):
        return _contents(path, "jsonl", partial(_lines, path))


def open_json(path: str) -> Contents:
    """The fields of a list of records, the columns of a dict, or the vectors of a dict {id: vector}."""
    with refusing(path, "JSON"), open(path, encoding="utf-8-sig") as file:
        whole = json.load(file)
    if isinstance(whole, dict) and str(whole.get("schema", "")).startswith("manifold-probe/"):
        raise bad(path, f"is a saved result ({whole['schema']}), not features; look at it with probe figures")
    lists = [value for value in whole.values() if isinstance(value, list)] if isinstance(whole, dict) else []
    if len(lists) == 1 and _is_list_of(lists[0], dict):
        whole = lists[0]  # {"model": "m", "data": [records]}
    if _is_list_of(whole, list):
        whole = {"features": whole}
    if isinstance(whole, dict) and whole and not set(map(str.lower, whole)) & set(RESERVED) and _only_vectors(whole):
        whole = [{"ids": name, "features": vector} for name, vector in whole.items()]
    if isinstance(whole, dict):
        columns = {name: column for name, column in whole.items() if isinstance(column, list)}
        return _of_columns(path, columns)
    if not _is_list_of(whole, dict):
        raise bad(path, 'holds neither a list of records such as {"id": "a", "vector": [0.1, 0.2]} nor columns')
    return _contents(path, "json", lambda: ((f"record {row}", record) for row, record in enumerate(whole)))


def _is_list_of(thing: Any, kind: type) -> bool:
    return isinstance(thing, list) and bool(thing) and isinstance(thing[0], kind)


def _only_vectors(whole: dict[str, Any]) -> bool:
    return all(_is_vector(value) for value in whole.values())


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) in (int, float) for item in value)


def _of_columns(path: str, columns: dict[str, list[Any]]) -> Contents:
    """Each list of lists as a matrix, each other list as a column."""
    entries = {}
    for name, column in columns.items():
        if _is_list_of(column, list):
            rows = partial(_rows, name, column)
            matrix = _matrix(path, f"key '{name}'", len(column), len(column[0]), rows, partial(_field, name))
            entries[name] = array_entry(name, matrix)
        else:
            entries[name] = array_entry(name, _column(column))
    return Contents(path, "json", entries)


def _rows(name: str, column: list[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"row {row}", {name: vector}) for row, vector in enumerate(column))


def _contents(path: str, kind: str, records: Records) -> Contents:
    """The fields of the first record; ids and labels are read at once, the rest when it is asked for."""
    first = [_flat(path, place, record) for place, record in islice(records(), SAMPLE)]
    if not first:
        raise bad(path, "holds no record; write it again")
    fields = {name: value for name, value in first[0].items() if not isinstance(value, list)}
    columns, n = _columns(path, records, [name for name in fields if last_part(name).lower() in RESERVED])
    entries = {}
    for name in (name for name in first[0] if name not in fields):
        d = len(first[0][name])
        problem = None if _is_vector(first[0][name]) else "holds lists that are no vectors of numbers"
        opened = partial(_matrix, path, f"field '{name}'", n, d, records, partial(_field, name))
        entries[name] = Entry(name, (n, d), "float64" if problem is None else "object", opened, problem)
    if all(last_part(name).lower() in RESERVED for name in entries):
        entries |= _wide_entries(path, n, records, first, list(fields))
    for name, value in fields.items():
        dtype = {str: "str", int: "int64", float: "float64", bool: "bool"}.get(type(value), "object")
        opened = partial(_column, columns[name]) if name in columns else partial(_later, path, records, name)
        entries.setdefault(name, Entry(name, (n,), dtype, opened))
    return Contents(path, kind, entries)


def _wide_entries(
    path: str, n: int, records: Records, first: list[dict[str, Any]], names: list[str]
) -> dict[str, Entry]:
    """Fields of single numbers that are dimensions, together as "features"."""
    samples = {place: _column([flat.get(name) for flat in first]) for place, name in enumerate(names)}
    chosen = choose_dimensions(names, samples)
    entries = {}
    for name, places in chosen.groups.items():
        taken = tuple(names[place] for place in places)
        opened = partial(
            _matrix, path, f"one of the fields {taken[0]}, ...", n, len(taken), records, partial(_fields, taken)
        )
        left = chosen.left if name == "features" else {}
        entries[name] = Entry(name, (n, len(taken)), "float64", opened, None, taken, left)
    return entries


def _field(name: str, flat: dict[str, Any]) -> Any:
    return flat.get(name)


def _fields(names: tuple[str, ...], flat: dict[str, Any]) -> list[Any]:
    return [flat.get(name) for name in names]


def _columns(path: str, records: Records, names: list[str]) -> tuple[dict[str, list[Any]], int]:
    """The values of some fields, None where a record lacks one, and the number of records."""
    columns: dict[str, list[Any]] = {name: [] for name in names}
    n = 0
    for place, record in records():
        flat = _flat(path, place, record)
        for name in names:
            columns[name].append(flat.get(name))
        n += 1
    return columns, n


def _later(path: str, records: Records, name: str) -> np.ndarray:
    with refusing(path, "JSON"):
        return _column(_columns(path, records, [name])[0][name])


def _column(values: list[Any]) -> np.ndarray:
    """Numbers of one type as such, anything else as objects."""
    kinds = set(map(type, values))
    return np.array(values) if kinds in ({int}, {float}, {int, float}, {bool}) else np.array(values, dtype=object)


def _matrix(
    path: str, what: str, n: int, d: int, records: Records, vector_of: Callable[[dict[str, Any]], Any]
) -> np.ndarray:
    def blocks() -> Iterator[np.ndarray]:
        rows = records()
        while block := list(islice(rows, BLOCK)):
            out = np.empty((len(block), d))
            for at, (place, record) in enumerate(block):
                out[at] = _vector(path, place, what, vector_of(_flat(path, place, record)), d)
            yield out

    with refusing(path, "JSON"):
        return gather(blocks(), (n, d), "float64", path)


def _vector(path: str, place: str, what: str, value: Any, d: int) -> list[float]:
    if not _is_vector(value):
        found = "is missing" if value is None else "holds null" if isinstance(value, list) and None in value else None
        found = found or f"holds {str(value)[:40]!r}, no list of numbers,"
        raise bad(path, f"{what} {found} in {place}; fix or drop it")
    if len(value) != d:
        raise bad(path, f"{what} is ragged: {place} has {len(value)} values, others {d}; make them equal")
    if not all(map(math.isfinite, value)):
        raise bad(path, f"{what} holds NaN or Inf in {place}; drop that row or fix the extraction")
    return value


def _flat(path: str, place: str, record: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(record, dict):
        raise bad(path, f'{place} is no record such as {{"id": "a", "vector": [0.1, 0.2]}}; fix or drop it')
    found: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            found |= _flat(path, place, value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _lines(path: str) -> Iterator[tuple[str, Any]]:
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                place = f"line {number}"
                try:
                    yield place, json.loads(line)
                except ValueError as error:
                    raise bad(path, f"{place} is no JSON ({str(error)[:80]}); fix or drop it") from error
