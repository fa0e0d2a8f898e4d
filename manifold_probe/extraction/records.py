"""Reading and writing of a feature store's JSON files and its table of rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.checks import bad, check_file, refusing
from manifold_probe.spaces.labels import plain_labels

COLUMNS = ("id", "label", "content")  # of the table of rows; further columns are slices
FIX = "remove the folder, or give another --out"


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises
    ------
    InputError
        If the file cannot be read or holds no object.
    """
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the folder") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); {FIX}") from error
    if not isinstance(record, dict):
        raise InputError(f"{path}: holds no JSON object; {FIX}")
    return record


def checked(record: dict[str, Any], fields: Mapping[str, type], path: Path) -> dict[str, Any]:
    """The record, after a check that it has all the fields.

    Raises
    ------
    InputError
        For a field that is missing or of another type.
    """
    for name, kind in fields.items():
        if not isinstance(record.get(name), kind):
            raise InputError(f"{path}: field {name!r} is missing or not of type {kind.__name__}; {FIX}")
    return record


def write_rows(data: Any, rows: list[int], digests: list[str]) -> bytes:
    """The Parquet table of ids, labels, slices and content digests.

    A slice with a name in `COLUMNS` gets an underscore appended.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {"id": data.ids[rows]}
    if data.labels is not None:
        columns["label"] = label_array(data.labels[rows])
    for name, values in data.slices.items():
        while name in COLUMNS or name in columns:
            name += "_"
        columns[name] = values[rows]
    columns["content"] = digests
    out = pa.BufferOutputStream()
    arrays = {
        name: values if isinstance(values, pa.Array) else pa.array(list(values)) for name, values in columns.items()
    }
    pq.write_table(pa.table(arrays), out)
    return out.getvalue().to_pybytes()


def label_array(labels: np.ndarray) -> Any:
    """Labels (n,) as an Arrow array, null for rows without a label."""
    import pyarrow as pa

    return pa.array(plain_labels(labels), pa.string() if labels.dtype.kind == "U" else pa.int64())


def read_table(path: Path, columns: list[str] | None = None) -> Any:
    """The table of rows as a DataFrame, with the columns ``id`` and ``content`` at least.

    Raises
    ------
    InputError
        If it is missing, damaged or another table.
    """
    import pandas as pd

    check_file(str(path))
    with refusing(str(path), "a Parquet table"):
        table = pd.read_parquet(path, columns=columns)
    for name in ("id", "content"):
        if name not in table:
            raise bad(str(path), f"has no column {name!r}; {FIX}")
    return table


def file_digest(path: Path) -> str | None:
    """The sha256 of a file; None if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
