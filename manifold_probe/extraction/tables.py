"""Manifests and texts in tables: .csv, .tsv and .parquet files with one row per item.

A column ``path`` makes the table a manifest of images, a column ``text`` a table of texts. ``id`` (or ``ids``) holds
the ids and ``label`` (or ``labels``) the classes; every further column becomes a slice. A slice called ``id``,
``label`` or ``content`` (if other columns hold ids and labels) is stored as ``id_``, ``label_`` or ``content_``,
because the store uses these names.
"""

from __future__ import annotations

import csv
import os
import posixpath
from functools import partial
from typing import Any

import numpy as np

from manifold_probe.extraction.image_folder import file_bytes, read_file
from manifold_probe.extraction.items import Data, make_data
from manifold_probe.extraction.texts import pack, read_text, text_bytes
from manifold_probe.spaces.arrow_file import open_parquet
from manifold_probe.spaces.checks import bad, refusing
from manifold_probe.spaces.columns import clean_column, from_text
from manifold_probe.spaces.contents import ID_NAMES, LABEL_NAMES
from manifold_probe.spaces.text_layout import BLANKS, separator_of

Columns = dict[str, np.ndarray]


def open_table_data(source: str, path: str, text: str | None, ids: str | None, labels: str | None) -> Data:
    """The images or texts that a table lists; ``text``, ``ids`` and ``labels`` name its columns.

    A manifest's paths are relative to its folder and may not leave it. Without an id column the normalised paths
    ("a//b/../c.png" is "a/c.png") are the ids, so that a manifest and its folder pair. An absolute path is allowed, but
    needs an id, because it is valid on one machine only. Texts always need ids.

    A text that is null is `Unreadable` later. Raises InputError for a table that is damaged, has neither column, lacks
    a given column, or has empty cells for a path or an id.
    """
    columns = _read_csv(path) if path.lower().endswith((".csv", ".tsv")) else _read_parquet(path, text or "text")
    images = text is None and "path" in columns
    if images and "text" in columns:
        raise bad(path, f"has a column 'path' and a column 'text'; drop one, or pick the texts with {path}::text")
    content = "path" if images else text or "text"
    if content not in columns:
        wanted = f"no column '{text}'" if text else "neither a column 'path' (images) nor a column 'text'"
        raise bad(path, f"has {wanted}; it holds {_listed(columns)}; pick the texts with {path}::COLUMN")
    id_column = _role(path, columns, ids, ID_NAMES, "ids", content)
    label_column = _role(path, columns, labels, LABEL_NAMES, "labels", content)
    names = None if id_column is None else clean_column(columns[id_column], "ids", path).astype(str)
    classes = None if label_column is None else _plain(path, columns[label_column], "labels")
    slices = {
        name: _plain(path, column, f"column '{name}'")
        for name, column in columns.items()
        if name not in (content, id_column, label_column)
    }
    cells = columns[content].tolist()
    _check_text(path, content, cells, allow_nulls=not images)
    if not images:
        if names is None:
            raise bad(
                path, "has no column 'id': texts in a table need stable ids; add one, or give its name with --ids"
            )
        packed = pack(path, cells)
        return make_data(
            "texts", source, names, classes, slices, partial(read_text, packed), partial(text_bytes, packed)
        )
    paths = [_inside(path, cell, row, names is not None) for row, cell in enumerate(cells)]
    names = np.array(paths, dtype=str) if names is None else names
    folder = os.path.dirname(path)
    reader, raw = partial(read_file, folder, paths), partial(file_bytes, folder, paths)
    return make_data("images", source, names, classes, slices, reader, raw)


def _role(
    path: str, columns: Columns, given: str | None, names: tuple[str, ...], role: str, content: str
) -> str | None:
    """The column for ids or labels: the ``given`` one, else the first of its usual names, if any."""
    if given is not None and given not in columns:
        raise bad(path, f"has no column '{given}' for the {role}; it holds {_listed(columns)}")
    return given if given is not None else next((name for name in names if name in columns and name != content), None)


def _listed(columns: Columns) -> str:
    names = list(columns)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _plain(path: str, column: np.ndarray, role: str) -> np.ndarray:
    """A column of labels or of a slice as integers or strings; floats, dates and booleans of slices become text."""
    if role == "labels":
        cleaned = clean_column(column, role, path)
        return from_text(cleaned, role) if cleaned.dtype.kind == "U" else cleaned
    if column.dtype.kind in "fMmb":
        column = column.astype(str)
    cleaned = clean_column(column, role, path)
    return from_text(cleaned) if cleaned.dtype.kind == "U" else cleaned


def _check_text(path: str, name: str, cells: list[Any], allow_nulls: bool) -> None:
    if allow_nulls and cells and all(cell is None for cell in cells):
        raise bad(path, f"column '{name}' holds only nulls; give texts")
    for row, cell in enumerate(cells):
        if cell is None and not allow_nulls:
            nulls = cells.count(None)
            raise bad(path, f"column '{name}' holds {nulls:,} nulls (first in row {row}); drop those rows")
        if not isinstance(cell, str) and cell is not None:
            raise bad(path, f"column '{name}' holds {str(cell)[:40]!r} ({type(cell).__name__}) in row {row}: save text")


def _inside(table: str, cell: str, row: int, has_ids: bool) -> str:
    """The path in a manifest's cell, normalised and checked."""
    if not cell or "\0" in cell:
        raise bad(table, f"column 'path' holds {cell!r} in row {row}; write the file's path there, or drop the row")
    if os.path.isabs(cell):
        if not has_ids:
            raise bad(
                table,
                f"column 'path' holds the absolute path {cell!r} in row {row}, which is not an id on other machines; "
                "add a column 'id', or make the paths relative to the table's folder",
            )
        return cell
    normal = posixpath.normpath(cell)
    if normal == ".." or normal.startswith("../"):
        raise bad(table, f"column 'path' holds {cell!r} in row {row}, which leaves the table's folder; move the table")
    return normal


def _read_csv(path: str) -> Columns:
    with refusing(path, "a table"):
        separator = separator_of(path)
    if separator == BLANKS:
        raise bad(path, "holds numbers separated by blanks, not paths or texts; give a table of paths or texts")
    with refusing(path, "a table"), open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        names = [name.strip() for name in next(reader, [])]
        _check_unique(path, names)
        rows = []
        for row in reader:
            if row and len(row) != len(names):
                raise bad(
                    path,
                    f"has {len(row)} cells in line {reader.line_num}, but {len(names)} in its first; make them equal",
                )
            rows += [row] if row else []  # skip blank lines
    cells = list(zip(*rows, strict=True)) or [()] * len(names)
    # An unnamed column is the row number that pandas writes.
    return {name: np.array(column, dtype=object) for name, column in zip(names, cells, strict=True) if name}


def _read_parquet(path: str, text: str) -> Columns:
    """The columns of a Parquet file; only the column ``text`` may hold nulls, as None."""
    contents = open_parquet(path)
    columns = {}
    for name, entry in contents.entries.items():
        if name == "features" and len(entry.shape) == 2:  # the reader's entry for all numeric columns
            continue
        readable = entry.dtype == "str" or entry.dtype.startswith(("int", "uint", "float", "bool", "timestamp", "date"))
        if len(entry.shape) != 1 or entry.problem is not None or not readable:
            raise bad(path, f"column '{name}' holds {entry.dtype}, not text or numbers; drop it")
        columns[name] = _with_nulls(path, name) if name == text and entry.dtype == "str" else entry.open()
    return columns


def _with_nulls(path: str, name: str) -> np.ndarray:
    import pyarrow.parquet as pq

    with refusing(path, "a Parquet file"):
        return np.array(pq.read_table(path, columns=[name]).column(0).to_pylist(), dtype=object)


def _check_unique(path: str, names: list[str]) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise bad(path, f"has two columns called '{twice[0]}'; rename one")
