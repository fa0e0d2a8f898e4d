"""Reading .jsonl and .ndjson (a record a line) and .json (a list of records, or a dict of columns).

A record is a dict with a vector, a list of numbers, and usually an id: ``{"id": "a", "vector": [0.1, 0.2]}``. Dicts
inside it are opened: ``{"output": {"vector": [...]}}`` has the field ``output.vector``. Lines are read one at a time,
so that a large file never stands in memory as Python objects.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from manifold_probe.spaces.checks import bad, refusing
from manifold_probe.spaces.contents import RESERVED, Contents, Entry, array_entry, last_part
from manifold_probe.spaces.dimensions import SAMPLE, choose_dimensions
from manifold_probe.spaces.spool import gather
from manifold_probe.spaces.values import typed_column
from manifold_probe.spaces.vector_text import is_vector, parse_vectors

BLOCK = 1024  # rows


def open_json_lines(path: str) -> Contents:
    """The fields of a file with one record a line; blank lines are passed over."""
    with refusing(path, "JSON lines"):
        with open(path, "rb") as file:
            most = 1 + sum(chunk.count(b"\n") for chunk in iter(partial(file.read, 2**20), b""))
        return _contents(path, "jsonl", Records(path, partial(_lines, path), most))


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
        if not columns:
            fix = "write records, of a DataFrame df.to_json(path, orient='records')"
            raise bad(path, f"holds no matrix of features (n, d) and no list; {fix}")
        return _of_columns(path, columns)
    if not _is_list_of(whole, dict):
        raise bad(path, 'holds neither a list of records such as {"id": "a", "vector": [0.1, 0.2]} nor columns')
    return _contents(path, "json", Records(path, partial(_numbered, whole), len(whole)))


def _numbered(records: list[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"record {row}", record) for row, record in enumerate(records))


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
            rows = Records(path, partial(_rows, name, column), len(column))
            entries[name] = array_entry(name, rows.matrix([name], f"key '{name}'", len(column[0]))[0])
        else:
            entries[name] = _column_entry(name, column)
    return Contents(path, "json", entries)


def _column_entry(name: str, values: list[Any]) -> Entry:
    column = _column(values)
    return typed_column(name, values) if column.dtype == object else array_entry(name, column)


def _rows(name: str, column: list[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"row {row}", {name: vector}) for row, vector in enumerate(column))


@dataclass(frozen=True)
class Records:
    """The records of a file, read again for each request.

    ``each()`` yields where a record stands ("line 3") and the record; there are ``most`` of them or fewer.
    """

    path: str
    each: Callable[[], Iterator[tuple[str, Any]]]
    most: int

    def flat(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each record with the dicts inside it opened."""
        return ((place, _flat(self.path, place, record)) for place, record in self.each())

    def matrix(
        self, fields: list[str], what: str, d: int, beside: Iterable[str] = ()
    ) -> tuple[np.ndarray, dict[str, list[Any]]]:
        """The vectors (n, d) in a field, or of several fields a number each, and the values of the fields ``beside``.

        Without fields the vectors are empty: (n, 0). ``what`` names the fields in messages.
        """
        columns: dict[str, list[Any]] = {name: [] for name in beside}

        def blocks() -> Iterator[np.ndarray]:
            rows = self.flat()
            while block := list(islice(rows, BLOCK)):
                out = np.empty((len(block), d))
                for at, (place, record) in enumerate(block):
                    for name, column in columns.items():
                        column.append(record.get(name))
                    if fields:
                        values = record.get(fields[0]) if len(fields) == 1 else [record.get(name) for name in fields]
                        out[at] = _vector(self.path, place, what, values, d)
                yield out

        with refusing(self.path, "JSON"):
            return gather(blocks(), (self.most, d), "float64", self.path), columns

    def column(self, name: str) -> np.ndarray:
        """The values (n,) of a field, None where a record lacks it."""
        return _column(self.matrix([], "", 0, [name])[1][name])


def _contents(path: str, kind: str, records: Records) -> Contents:
    """The fields of the first record; a lone vector, ids and labels are read at once, the rest when it is asked for."""
    first = [flat for _, flat in islice(records.flat(), SAMPLE)]
    if not first:
        raise bad(path, "holds no record; write it again")
    known: dict[str, Any] = {}  # every field, with its first value that is not null
    for name, value in (item for flat in first for item in flat.items()):
        known[name] = value if known.get(name) is None else known[name]
    vectors = {name: value for name, value in known.items() if isinstance(value, list) or is_vector(value)}
    vectors = {
        name: parse_vectors([value], path, name, 0)[0].tolist() if isinstance(value, str) else value
        for name, value in vectors.items()
    }
    fields = {name: value for name, value in known.items() if name not in vectors}
    reserved = [name for name in fields if last_part(name).lower() in RESERVED]
    lone = [name for name in vectors if _is_vector(vectors[name])] if len(vectors) == 1 else []
    d = len(vectors[lone[0]]) if lone else 0
    found, columns = records.matrix(lone, f"field '{''.join(lone)}'", d, reserved)
    n = len(found)
    entries = {name: array_entry(name, found) for name in lone}
    for name, value in vectors.items() if not lone else ():
        problem = (
            None
            if _is_vector(value)
            else "holds lists that are no vectors of numbers: write one list of numbers a record"
        )
        opened = partial(_matrix, records, [name], f"field '{name}'", len(value))
        entries[name] = Entry(name, (n, len(value)), "float64" if problem is None else "object", opened, problem)
    widths = [entry.shape[1] for name, entry in entries.items() if last_part(name).lower() not in RESERVED]
    entries = _wide_entries(n, records, first, list(fields), max(widths, default=0)) | entries
    for name, value in fields.items():
        dtype = {str: "str", int: "int64", float: "float64", bool: "bool"}.get(type(value), "object")
        opened = partial(_column, columns[name]) if name in columns else partial(records.column, name)
        entries.setdefault(name, Entry(name, (n,), dtype, opened))
    return Contents(path, kind, entries)


def _wide_entries(
    n: int, records: Records, first: list[dict[str, Any]], names: list[str], widest: int
) -> dict[str, Entry]:
    """Fields of single numbers that are dimensions, as in an Arrow table."""
    samples = {place: _column([flat.get(name) for flat in first]) for place, name in enumerate(names)}
    chosen = choose_dimensions(names, samples)
    entries = {}
    for key, places in (chosen.rivals(widest) if widest else chosen.groups).items():
        taken = [names[place] for place in places]
        opened = partial(_matrix, records, taken, f"one of the fields {taken[0]}, ...", len(taken))
        left = chosen.left if key == "features" else {}
        entries[key] = Entry(key, (n, len(taken)), "float64", opened, None, tuple(taken), left)
    return entries


def _matrix(records: Records, fields: list[str], what: str, d: int) -> np.ndarray:
    return records.matrix(fields, what, d)[0]


def _column(values: list[Any]) -> np.ndarray:
    """Numbers of one type as such, anything else as objects."""
    kinds = set(map(type, values))
    return np.array(values) if kinds in ({int}, {float}, {int, float}, {bool}) else np.array(values, dtype=object)


def _vector(path: str, place: str, what: str, value: Any, d: int) -> list[float]:
    if is_vector(value):  # written as text
        value = parse_vectors([value], path, what, 0)[0].tolist()
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
    if isinstance(record, list):
        record = {"features": record}
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
