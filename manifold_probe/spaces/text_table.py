"""Reading .csv and .tsv: one column a dimension, beside columns called ids (or id) and labels (or label).

Ids and labels are read as text, so that "007" stays "007". A first line that is all numbers counts as data unless it
just numbers the columns 0, 1, 2, ... (as pandas writes them); an unnamed first column is pandas' index.
"""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from manifold_probe.spaces.checks import bad, refusing
from manifold_probe.spaces.columns import clean_column, from_text
from manifold_probe.spaces.contents import ID_NAMES, LABEL_NAMES, Contents, array_entry
from manifold_probe.spaces.spool import gather

BLOCK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class _Layout:
    """The columns' names and whether the file's first line gives them."""

    names: list[str]
    header: bool
    separator: str

    def place(self, names: tuple[str, ...]) -> int | None:
        """The place of the first column called one of ``names``."""
        return next((self.names.index(name) for name in names if name in self.names), None)


def open_table(path: str) -> Contents:
    """The whole table: features as float64, ids and labels as integers where all are, else strings."""
    with refusing(path, "a table"):
        layout = _layout(path)
        index = 0 if layout.header and layout.names[0] == "" else None
        text = {"ids": layout.place(ID_NAMES), "labels": layout.place(LABEL_NAMES), "index": index}
        places = {role: place for role, place in text.items() if place is not None}
        dims = [place for place in range(len(layout.names)) if place not in places.values()]
        features, cells = _parse(path, layout, dims, places)
    columns = {
        role: from_text(clean_column(np.array(found, dtype=object), role, path), role) for role, found in cells.items()
    }
    index_column = columns.pop("index", None)
    if index_column is not None and "ids" not in columns and not np.array_equal(index_column, np.arange(len(features))):
        columns["ids"] = index_column
    arrays = ({"features": features} if dims else {}) | columns
    return Contents(path, "table", {name: array_entry(name, array) for name, array in arrays.items()})


def read_text_columns(
    path: str, key: str | None, names: tuple[str, ...], default: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """The column ``key`` (else the first called one of ``names``, else the only one) as text, and the ids beside it."""
    with refusing(path, "a table"):
        layout = _layout(path)
        ids = layout.place(ID_NAMES)
        others = [place for place in range(len(layout.names)) if place != ids]
        place = layout.place((key,) if key is not None else names)
        if place is None and key is None and len(others) == 1:
            place = others[0]
        if place is None:
            wanted = key if key is not None else " or ".join(names)
            listed = ", ".join(layout.names[:8])
            raise bad(path, f"has no column '{wanted}', only {listed}; name the {default} column with {path}::COLUMN")
        places = {default: place} if ids is None or ids == place else {default: place, "beside": ids}
        _, cells = _parse(path, layout, [], places)
    values = from_text(clean_column(np.array(cells[default], dtype=object), default, path), default)
    beside = cells.get("beside")
    return values, None if beside is None else from_text(clean_column(np.array(beside, dtype=object), "ids", path))


def read_lines(path: str, role: str = "ids") -> np.ndarray:
    """The lines of a text file as a column: integers where all are, else strings."""
    with refusing(path, "a text file"), open(path, encoding="utf-8-sig") as file:
        lines = file.read().split("\n")  # not splitlines(), which would split ids at odd control characters
    lines = lines[:-1] if lines[-1] == "" else lines
    return from_text(clean_column(np.array(lines, dtype=object), role, path), role)


def _layout(path: str) -> _Layout:
    separator = "\t" if path.lower().endswith(".tsv") else ","
    with open(path, encoding="utf-8-sig", newline="") as file:
        first = [cell.strip() for cell in next(csv.reader(file, delimiter=separator), [])]
    if not first:
        raise bad(path, "begins with an empty line; write the column names there")
    numbered = first == [str(place) for place in range(len(first))]
    if not numbered and all(_is_number(cell) for cell in first):
        return _Layout([str(place) for place in range(len(first))], False, separator)
    return _Layout(first, True, separator)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _parse(
    path: str, layout: _Layout, dims: list[int], texts: dict[str, int]
) -> tuple[np.ndarray, dict[str, list[Any]]]:
    """The columns ``dims`` as one matrix and the cells of each column in ``texts``, in one pass."""
    cells: dict[str, list[Any]] = {role: [] for role in texts}

    def blocks() -> Iterator[np.ndarray]:
        row = 0
        for frame in _frames(path, layout, dims, texts):
            for role, place in texts.items():
                cells[role].extend(frame[place].tolist())
            yield _numbers(path, layout, frame, dims, row)
            row += len(frame)

    # Each cell takes at least two bytes of the file (a digit and its separator).
    most_rows = min(_lines(path), os.path.getsize(path) // (2 * max(1, len(dims))) + 1)
    return gather(blocks(), (most_rows, len(dims)), "float64", path), cells


def _frames(path: str, layout: _Layout, dims: list[int], texts: dict[str, int]) -> Iterator[Any]:
    import pandas as pd

    # From pandas 3.1 numbers are always parsed exactly and the argument is on its way out.
    version = tuple(int(part) for part in pd.__version__.split(".")[:2])
    exact: dict[str, Any] = {} if version >= (3, 1) else {"float_precision": "round_trip"}
    # pandas cuts lines that are all longer than the first to fit, with no more than this warning.
    warnings.simplefilter("error", pd.errors.ParserWarning)
    width = len(layout.names)
    try:
        with pd.read_csv(
            path,
            sep=layout.separator,
            header=None,
            skiprows=int(layout.header),
            names=range(width),
            dtype=dict.fromkeys(texts.values(), str),
            index_col=False,
            keep_default_na=False,
            na_values={place: [""] for place in dims},
            low_memory=False,
            encoding="utf-8-sig",
            chunksize=max(1, BLOCK_BYTES // (8 * width)),
            **exact,
        ) as frames:
            yield from frames
    except pd.errors.ParserWarning as error:
        raise bad(
            path, f"has lines of more than {width} cells, but its first line has {width}; make them equal"
        ) from error


def _numbers(path: str, layout: _Layout, frame: Any, dims: list[int], row: int) -> np.ndarray:
    block = np.empty((len(frame), len(dims)))
    if frame.empty:
        return block
    for place, dim in enumerate(dims):
        column = frame[dim]
        if column.dtype.kind not in "iuf" or column.isna().any():
            _refuse_cell(path, layout, column.tolist(), dim, row)
        block[:, place] = column
    return block


def _refuse_cell(path: str, layout: _Layout, cells: list[Any], dim: int, row: int) -> None:
    for at, cell in enumerate(cells):
        if cell != cell or not _is_number(str(cell)) or isinstance(cell, bool) or str(cell).lower() == "nan":
            line = row + at + 1 + int(layout.header)
            found = "is empty" if cell != cell else f"holds '{str(cell)[:40]}'"
            raise bad(
                path, f"column '{layout.names[dim]}' {found} in line {line}: features are numbers, fix or drop it"
            )
    raise bad(path, f"column '{layout.names[dim]}' is not all numbers; fix or drop it")


def _lines(path: str) -> int:
    with open(path, "rb") as file:
        count = 1
        while chunk := file.read(2**20):
            count += chunk.count(b"\n") + chunk.count(b"\r")
    return count
