"""Reading .parquet, .arrow, .feather and .ipc: a column of vectors is a matrix, or columns of numbers are dimensions.

Vectors may be lists or text; `choose_dimensions` decides which columns are dimensions. Both formats are read as record
batches. Sizes are known from schema and metadata, so a decompression bomb is refused before anything is decoded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from manifold_probe.spaces.checks import bad, check_inflation, refusing
from manifold_probe.spaces.contents import ID_NAMES, RESERVED, Contents, Entry
from manifold_probe.spaces.dimensions import SAMPLE_ROWS, Dimensions, choose_dimensions
from manifold_probe.spaces.spool import gather
from manifold_probe.spaces.vector_text import is_vector, parse_vectors

BATCH_BYTES = 16 * 2**20
PANDAS_INDEX = "__index_level_0__"
Batches = Callable[[list[str], int], Iterator[Any]]  # (columns, rows a batch) -> record batches


def open_parquet(path: str) -> Contents:
    """The columns of a Parquet file."""
    import pyarrow.parquet as pq

    with refusing(path, "a Parquet file"):
        file = pq.ParquetFile(path, memory_map=True)

        def batches(columns: list[str], rows: int) -> Iterator[Any]:
            return pq.ParquetFile(path, memory_map=True).iter_batches(batch_size=rows, columns=columns)

        # Only the row count comes from the metadata: reading column metadata of a damaged file can crash the process.
        return open_batches(path, "parquet", file.schema_arrow, file.metadata.num_rows, batches)


def open_ipc(path: str) -> Contents:
    """The columns of an Arrow IPC file (Feather 2) or stream, memory-mapped if it is one uncompressed batch."""
    with refusing(path, "an Arrow file"):
        with _ipc_reader(path) as reader:
            schema = reader.schema
            in_file = hasattr(reader, "count_rows")
            n = reader.count_rows() if in_file else sum(batch.num_rows for batch in reader)
        return open_batches(path, "arrow", schema, n, partial(_ipc_batches, path))


def _ipc_reader(path: str) -> Any:
    import pyarrow as pa

    with open(path, "rb") as file:
        head = file.read(6)
    source = pa.memory_map(path)
    return pa.ipc.open_file(source) if head == b"ARROW1" else pa.ipc.open_stream(source)


def _ipc_batches(path: str, columns: list[str], rows: int) -> Iterator[Any]:
    with _ipc_reader(path) as reader:
        count = getattr(reader, "num_record_batches", None)
        for batch in reader if count is None else map(reader.get_batch, range(count)):
            selected = batch.select(columns)
            selected.validate(full=True)  # damaged offsets would point outside the file
            yield selected


def open_batches(path: str, kind: str, schema: Any, n: int, batches: Batches) -> Contents:
    """The columns of a table of n rows that is read in record batches; ``kind`` is the name of the format."""
    import pyarrow as pa

    if len(set(schema.names)) < len(schema.names):
        raise bad(path, "has two columns of one name; rename one")
    entries: dict[str, Entry] = {}
    scalars: dict[str, str | None] = {}  # numpy type of every column of single values, None for text and others
    for field in schema:
        storage = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
        name = field.name
        if _is_list(storage):
            entries[name] = _matrix_entry(path, field.name, storage, n, batches)
            continue
        text = storage.value_type if pa.types.is_dictionary(storage) else storage
        is_text = pa.types.is_string(text) or pa.types.is_large_string(text)
        first = _first_text(field.name, batches) if is_text and name.lower() not in RESERVED else None
        if is_vector(first):
            entries[name] = _text_entry(path, field.name, first, n, batches)
            continue
        dtype = "str" if is_text else _number(text) or str(text)
        entries[name] = Entry(name, (n,), dtype, partial(_column, path, field.name, batches))
        scalars[name] = _number(storage)
    index = _pandas_index(schema)
    if index in scalars and not _has_ids(schema.names):
        scalars.pop(index)
        if not np.array_equal(entries[index].open(), np.arange(n)):
            entries["ids"] = replace(entries[index], name="ids")
            entries.pop(PANDAS_INDEX, None)
    widths = [
        entry.shape[1] for name, entry in entries.items() if len(entry.shape) == 2 and name.lower() not in RESERVED
    ]
    if "features" not in entries:
        entries = _wide_entries(path, scalars, n, batches, max(widths, default=0)) | entries
    return Contents(path, kind, entries)


def _pandas_index(schema: Any) -> str | None:
    """The column that was a DataFrame's index."""
    columns = (schema.pandas_metadata or {}).get("index_columns", [])
    names = [name for name in columns if isinstance(name, str)]
    return names[0] if len(names) == 1 else PANDAS_INDEX


def _has_ids(names: list[str]) -> bool:
    return any(name.lower() in ID_NAMES for name in names)


def _wide_entries(path: str, scalars: dict[str, str | None], n: int, batches: Batches, widest: int) -> dict[str, Entry]:
    """The dimensions as one entry "features", or an entry for each of several competing patterns of columns.

    With columns of vectors, the widest of ``widest`` dimensions, only patterns that compete with them.
    """
    dimensions = _dimensions(path, scalars, batches)
    names = list(scalars)
    entries = {}
    for name, positions in (dimensions.rivals(widest) if widest else dimensions.groups).items():
        columns = tuple(names[position] for position in positions)
        dtype = np.result_type(*(scalars[column] or "float64" for column in columns)).name
        opened = partial(_table, path, list(columns), n, dtype, batches)
        left_out = dimensions.left_out if name == "features" else {}
        entries[name] = Entry(name, (n, len(columns)), dtype, opened, None, columns, left_out)
    return entries


def _dimensions(path: str, scalars: dict[str, str | None], batches: Batches) -> Dimensions:
    """The columns that are dimensions, from the first rows; nulls count as missing numbers and are refused later."""
    numeric = [name for name, dtype in scalars.items() if dtype and name.lower() not in RESERVED]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in numeric}
    rows = 0
    for batch in batches(numeric, SAMPLE_ROWS) if numeric else ():
        for name in numeric:
            parts[name].append(batch.column(name).slice(0, SAMPLE_ROWS - rows).to_numpy(zero_copy_only=False))
        rows += batch.num_rows
        if rows >= SAMPLE_ROWS:
            break
    samples = {
        position: np.concatenate(parts[name]) if rows and name in parts else np.empty(0, dtype or object)
        for position, (name, dtype) in enumerate(scalars.items())
    }
    return choose_dimensions(list(scalars), samples)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _number(kind: Any) -> str | None:
    import pyarrow as pa

    return np.dtype(kind.to_pandas_dtype()).name if pa.types.is_floating(kind) or pa.types.is_integer(kind) else None


def _matrix_entry(path: str, name: str, kind: Any, n: int, batches: Batches) -> Entry:
    import pyarrow as pa

    dtype = _number(kind.value_type) or str(kind.value_type)
    if _is_list(kind.value_type):
        return Entry(name, (n,), "object", list, "holds lists of lists: pool each row to d numbers first")
    d = kind.list_size if pa.types.is_fixed_size_list(kind) else _first_length(path, name, batches)
    return Entry(name, (n, d), dtype, partial(_matrix, path, name, n, d, dtype, batches))


def _text_entry(path: str, name: str, first: str | None, n: int, batches: Batches) -> Entry:
    d = parse_vectors([first], path, name, 0).shape[1]

    def rows_of(batch: Any, row: int) -> np.ndarray:
        column = batch.column(0)
        _refuse_nulls(path, column, name, row)
        return parse_vectors(column.to_pylist(), path, name, row, d)

    return Entry(name, (n, d), "float64", lambda: _decoded(path, [name], n, d, "float64", batches, rows_of))


def _first_text(name: str, batches: Batches) -> str | None:
    """The first cell of a column of text that is not null."""
    for batch in batches([name], SAMPLE_ROWS):
        cells = batch.column(0).drop_null()
        if len(cells):
            return str(cells.slice(0, 1).cast("string")[0].as_py())
    return None


def _first_length(path: str, name: str, batches: Batches) -> int:
    """The length of the first vector; the others are compared with it when they are decoded."""
    first = next((batch for batch in batches([name], 1) if batch.num_rows), None)
    if first is None:
        return 0
    row = first.column(0).slice(0, 1)
    _refuse_nulls(path, row, name, 0)
    return int(row.value_lengths()[0].as_py())


def _matrix(path: str, name: str, n: int, d: int, dtype: str, batches: Batches) -> np.ndarray:
    return _decoded(
        path, [name], n, d, dtype, batches, lambda batch, row: _list_rows(path, batch.column(0), name, d, row)
    )


def _table(path: str, names: list[str], n: int, dtype: str, batches: Batches) -> np.ndarray:
    def rows_of(batch: Any, row: int) -> np.ndarray:
        return np.stack([_numbers(path, batch.column(name), name, row).astype(dtype) for name in names], axis=1)

    return _decoded(path, names, n, len(names), dtype, batches, rows_of)


def _decoded(
    path: str, names: list[str], n: int, d: int, dtype: str, batches: Batches, rows_of: Callable[[Any, int], np.ndarray]
) -> np.ndarray:
    row_bytes = d * np.dtype(dtype).itemsize
    check_inflation(path, f"column '{names[0]}'", n * row_bytes, os.path.getsize(path))

    def blocks() -> Iterator[np.ndarray]:
        row = 0
        for batch in batches(names, max(1, BATCH_BYTES // row_bytes)):
            if batch.num_rows:
                yield rows_of(batch, row)
            row += batch.num_rows

    with refusing(path, "Arrow data"):
        rest = blocks()
        first = next(rest)
        if len(first) == n:
            return first  # one uncompressed batch stays memory-mapped
        out = gather(_chain(first, rest), (n, d), dtype, path)
        if len(out) != n:
            raise ValueError(f"holds {len(out)} of {n} rows")
        return out


def _chain(first: np.ndarray, rest: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    yield first
    yield from rest


def _list_rows(path: str, array: Any, name: str, d: int, row: int) -> np.ndarray:
    import pyarrow as pa

    array = array.storage if isinstance(array, pa.ExtensionArray) else array
    _refuse_nulls(path, array, name, row)
    lengths = np.asarray(array.value_lengths())
    if (lengths != d).any():
        at = int(np.argmax(lengths != d))
        raise bad(
            path, f"column '{name}' is ragged: row {row + at} has {lengths[at]} values, others {d}; make them equal"
        )
    return _numbers(path, array.flatten(), name, row, d).reshape(len(array), d)


def _numbers(path: str, array: Any, name: str, row: int, d: int = 1) -> np.ndarray:
    _refuse_nulls(path, array, name, row, d)
    if _number(array.type) is None:
        raise bad(path, f"column '{name}' has type {array.type}: features are numbers, convert or drop it")
    return np.asarray(array.to_numpy(zero_copy_only=False))


def _refuse_nulls(path: str, array: Any, name: str, row: int, d: int = 1) -> None:
    if array.null_count:
        at = row + int(np.argmax(array.is_null().to_numpy(zero_copy_only=False))) // d
        raise bad(path, f"column '{name}' holds {array.null_count} nulls (first in row {at}); drop those rows")


def _column(path: str, name: str, batches: Batches) -> np.ndarray:
    import pyarrow as pa

    with refusing(path, "Arrow data"):
        parts = [batch.column(0) for batch in batches([name], 2**16)]
        parts = [part.dictionary_decode() if pa.types.is_dictionary(part.type) else part for part in parts]
        row = 0
        for part in parts if name in (*ID_NAMES, PANDAS_INDEX) else ():
            _refuse_nulls(path, part, name, row)
            row += len(part)
        return np.concatenate([_cells(part) for part in parts])


def _cells(array: Any) -> np.ndarray:
    """The values (n,), with None for nulls: numpy would turn integers into floats."""
    if array.null_count:
        return np.array(array.to_pylist(), dtype=object)
    return np.asarray(array.to_numpy(zero_copy_only=False))
