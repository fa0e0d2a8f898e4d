"""Reading .jsonl and .ndjson (a record per line) and .json (a list of records, or a dict of columns).

A record is a dict with a vector, a list of numbers, and usually an id: ``{"id": "a", "vector": [0.1, 0.2]}``. Nested
dicts are flattened: ``{"output": {"vector": [...]}}`` has the field ``output.vector``. Lines are read one at a time, so
that a large file is never in memory as Python objects.
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
from manifold_probe.spaces.dimensions import SAMPLE_ROWS, choose_dimensions
from manifold_probe.spaces.spool import gather
from manifold_probe.spaces.values import typed_column
from manifold_probe.spaces.vector_text import is_vector, parse_vectors

BLOCK_ROWS = 1024


def open_json_lines(path: str) -> Contents:
    """The fields of a file with one record per line; blank lines are skipped."""
    with refusing(path, "JSON lines"):
        with open(path, "rb") as file:
            lines = 1 + sum(chunk.count(b"\n") for chunk in iter(partial(file.read, 2**20), b""))
        return _contents(path, "jsonl", Records(path, partial(_lines, path), lines))


def open_json(path: str) -> Contents:
    """The fields of a list of records, the columns of a dict, or the vectors of a dict {id: vector}."""
    with refusing(path, "JSON"), open(path, encoding="utf-8-sig") as file:
        data = json.load(file)
    if isinstance(data, dict) and str(data.get("schema", "")).startswith("manifold-probe/"):
        raise bad(path, f"is a saved result ({data['schema']}), not features; show it with probe figures")
    lists = [value for value in data.values() if isinstance(value, list)] if isinstance(data, dict) else []
    if len(lists) == 1 and _is_list_of(lists[0], dict):
        data = lists[0]  # {"model": "m", "data": [records]}
    if _is_list_of(data, list):
        data = {"features": data}
    if (
        isinstance(data, dict)
        and data
        and not set(map(str.lower, data)) & set(RESERVED)
        and all(map(_is_vector, data.values()))
    ):
        data = [{"ids": name, "features": vector} for name, vector in data.items()]
    if isinstance(data, dict):
        columns = {name: column for name, column in data.items() if isinstance(column, list)}
        if not columns:
            fix = "write records, from a DataFrame with df.to_json(path, orient='records')"
            raise bad(path, f"holds no matrix of features (n, d) and no list; {fix}")
        return _of_columns(path, columns)
    if not _is_list_of(data, dict):
        raise bad(path, 'holds neither a list of records such as {"id": "a", "vector": [0.1, 0.2]} nor columns')
    return _contents(path, "json", Records(path, partial(_numbered, data), len(data)))


def _numbered(records: list[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"record {row}", record) for row, record in enumerate(records))


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], kind)


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) in (int, float) for item in value)


def _of_columns(path: str, columns: dict[str, list[Any]]) -> Contents:
    """Lists of lists as matrices, other lists as columns."""
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
    """The records of a file, read again for every request.

    ``located()`` yields the location of a record ("line 3") and the record; ``limit`` is an upper bound of their count.
    """

    path: str
    located: Callable[[], Iterator[tuple[str, Any]]]
    limit: int

    def flat(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(location, record) with nested dicts flattened."""
        return ((where, _flat(self.path, where, record)) for where, record in self.located())

    def matrix(
        self, fields: list[str], what: str, d: int, others: Iterable[str] = ()
    ) -> tuple[np.ndarray, dict[str, list[Any]]]:
        """The vectors (n, d) in one field, or in d fields of numbers, and the values of the fields ``others``.

        Without fields the vectors are empty: (n, 0). ``what`` names the fields in messages.
        """
        columns: dict[str, list[Any]] = {name: [] for name in others}

        def blocks() -> Iterator[np.ndarray]:
            rows = self.flat()
            while block := list(islice(rows, BLOCK_ROWS)):
                out = np.empty((len(block), d))
                for at, (where, record) in enumerate(block):
                    for name, column in columns.items():
                        column.append(record.get(name))
                    if fields:
                        values = record.get(fields[0]) if len(fields) == 1 else [record.get(name) for name in fields]
                        out[at] = _vector(self.path, where, what, values, d)
                yield out

        with refusing(self.path, "JSON"):
            return gather(blocks(), (self.limit, d), "float64", self.path), columns

    def column(self, name: str) -> np.ndarray:
        """The values (n,) of a field, None for records without it."""
        return _column(self.matrix([], "", 0, [name])[1][name])


def _contents(path: str, kind: str, records: Records) -> Contents:
    """The fields of the first records. A single vector field, ids and labels are read now, other fields on demand."""
    first = [flat for _, flat in islice(records.flat(), SAMPLE_ROWS)]
    if not first:
        raise bad(path, "holds no record; write it again")
    example: dict[str, Any] = {}  # every field, with its first value that is not null
    for name, value in (item for flat in first for item in flat.items()):
        example[name] = value if example.get(name) is None else example[name]
    vectors = {name: value for name, value in example.items() if isinstance(value, list) or is_vector(value)}
    vectors = {
        name: parse_vectors([value], path, name, 0)[0].tolist() if isinstance(value, str) else value
        for name, value in vectors.items()
    }
    fields = {name: value for name, value in example.items() if name not in vectors}
    reserved = [name for name in fields if last_part(name).lower() in RESERVED]
    single = [name for name in vectors if _is_vector(vectors[name])] if len(vectors) == 1 else []
    d = len(vectors[single[0]]) if single else 0
    matrix, columns = records.matrix(single, f"field '{''.join(single)}'", d, reserved)
    n = len(matrix)
    entries = {name: array_entry(name, matrix) for name in single}
    for name, value in vectors.items() if not single else ():
        problem = (
            None
            if _is_vector(value)
            else "holds lists that are not vectors of numbers: write one list of numbers per record"
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
    samples = {position: _column([flat.get(name) for flat in first]) for position, name in enumerate(names)}
    dimensions = choose_dimensions(names, samples)
    entries = {}
    for key, positions in (dimensions.rivals(widest) if widest else dimensions.groups).items():
        fields = [names[position] for position in positions]
        opened = partial(_matrix, records, fields, f"one of the fields {fields[0]}, ...", len(fields))
        left_out = dimensions.left_out if key == "features" else {}
        entries[key] = Entry(key, (n, len(fields)), "float64", opened, None, tuple(fields), left_out)
    return entries


def _matrix(records: Records, fields: list[str], what: str, d: int) -> np.ndarray:
    return records.matrix(fields, what, d)[0]


def _column(values: list[Any]) -> np.ndarray:
    """Numbers as a numeric array, anything else as objects."""
    kinds = set(map(type, values))
    return np.array(values) if kinds in ({int}, {float}, {int, float}, {bool}) else np.array(values, dtype=object)


def _vector(path: str, where: str, what: str, value: Any, d: int) -> list[float]:
    if is_vector(value):  # as text
        value = parse_vectors([value], path, what, 0)[0].tolist()
    if not _is_vector(value):
        problem = "is missing" if value is None else "holds null" if isinstance(value, list) and None in value else None
        problem = problem or f"holds {str(value)[:40]!r}, not a list of numbers,"
        raise bad(path, f"{what} {problem} in {where}; fix or drop it")
    if len(value) != d:
        raise bad(path, f"{what} is ragged: {where} has {len(value)} values, others {d}; make them equal")
    if not all(map(math.isfinite, value)):
        raise bad(path, f"{what} holds NaN or Inf in {where}; drop that row or fix the extraction")
    return value


def _flat(path: str, where: str, record: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(record, list):
        record = {"features": record}
    if not isinstance(record, dict):
        raise bad(path, f'{where} is not a record such as {{"id": "a", "vector": [0.1, 0.2]}}; fix or drop it')
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            flat |= _flat(path, where, value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _lines(path: str) -> Iterator[tuple[str, Any]]:
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                where = f"line {number}"
                try:
                    yield where, json.loads(line)
                except ValueError as error:
                    raise bad(path, f"{where} is not JSON ({str(error)[:80]}); fix or drop it") from error
