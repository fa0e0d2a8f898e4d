"""Reading .csv, .tsv and .txt: one column per dimension, or a vector in each cell, and ids, labels and other columns.

Ids and labels are read as text, so that "007" stays "007"; an unnamed first column is pandas' index.
`choose_dimensions` decides which columns of numbers are dimensions; any other column can be read by its name.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from manifold_probe.spaces.checks import bad, refusing
from manifold_probe.spaces.columns import from_text
from manifold_probe.spaces.contents import ID_NAMES, LABEL_NAMES, RESERVED, Contents, Entry, array_entry
from manifold_probe.spaces.dimensions import SAMPLE_ROWS, choose_dimensions
from manifold_probe.spaces.lines import is_number, text_column, without_blank_end
from manifold_probe.spaces.spool import gather
from manifold_probe.spaces.text_layout import Layout, layout_of, refuse_short_lines
from manifold_probe.spaces.vector_text import is_vector, parse_vectors

BLOCK_BYTES = 16 * 2**20


def open_table(path: str) -> Contents:
    """The features as float64; ids and labels as integers if all are, else strings; other columns on demand."""
    with refusing(path, "a table"):
        layout = layout_of(path)
        index = 0 if layout.header and layout.names[0] == "" else None
        roles = {"ids": layout.position(ID_NAMES), "labels": layout.position(LABEL_NAMES), "index": index}
        column_of = {role: column for role, column in roles.items() if column is not None}
        samples = {at: sample for at, sample in _samples(path, layout).items() if at not in column_of.values()}
        vectors = {at: cell for at, sample in samples.items() if (cell := _first_vector(sample)) is not None}
        single = {at: sample for at, sample in samples.items() if at not in vectors}
        if not layout.header:  # without names a column of text cannot be meant as a dimension
            single = {at: sample for at, sample in single.items() if sample.dtype != object}
        dimensions = choose_dimensions(layout.names, single, named=layout.header)
        widths = {at: parse_vectors([cell], path, layout.names[at], 0).shape[1] for at, cell in vectors.items()}
        widest = max((d for at, d in widths.items() if layout.names[at].lower() not in RESERVED), default=0)
        groups = dimensions.rivals(widest) if widest else dimensions.groups
        chosen = groups.pop("features", [])
        # without dimensions and ids, the first column gives the number of rows
        features, cells = _parse(path, layout, chosen, column_of if column_of or chosen else {"rows": 0})
    n = len(features)
    columns = {role: text_column(cells[role], role, path) for role in column_of}
    index_column = columns.pop("index", None)
    if index_column is not None and "ids" not in columns and not np.array_equal(index_column, np.arange(n)):
        columns["ids"] = index_column
    entries = {}
    if chosen:
        names = tuple(layout.names[at] for at in chosen)
        entries["features"] = Entry(
            "features", features.shape, "float64", lambda: features, None, names, dimensions.left_out
        )
    entries |= {role: array_entry(role, column) for role, column in columns.items()}
    for name, group in groups.items():
        opened = partial(_matrix, path, layout, group)
        entries.setdefault(name, Entry(name, (n, len(group)), "float64", opened))
    for at, sample in samples.items():
        name = layout.names[at]
        if at in vectors:
            d = widths[at]
            entries.setdefault(name, Entry(name, (n, d), "float64", partial(_vectors, path, layout, at, d)))
        elif at not in chosen:
            dtype = "str" if sample.dtype == object else sample.dtype.name
            entries.setdefault(name, Entry(name, (n,), dtype, partial(_column, path, layout, at)))
    return Contents(path, "table", entries)


def read_text_columns(
    path: str, key: str | None, names: tuple[str, ...], default: str, n: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The column ``key``, by default the first with one of ``names``, else the only one; and the ids in the same file.

    Without a header the columns are called 0, 1, ...; ``n`` is the expected number of rows, which shows whether there
    is a header.
    """
    with refusing(path, "a table"):
        layout = layout_of(path, n)
        if key is not None and layout.position((key,)) is None and key.isdigit() and int(key) < len(layout.names):
            layout = Layout([str(at) for at in range(len(layout.names))], False, layout.separator)
        ids = layout.position(ID_NAMES)
        others = [at for at in range(len(layout.names)) if at != ids]
        column = layout.position((key,) if key is not None else names)
        if column is None and key is None and len(others) == 1:
            column = others[0]
        if column is None:
            wanted = key if key is not None else " or ".join(names)
            listed = ", ".join(name[:40] for name in layout.names[:8])
            raise bad(path, f"has no column '{wanted}', only {listed}; name the {default} column with {path}::COLUMN")
        wanted_columns = {"values": column} if ids is None or ids == column else {"values": column, "ids": ids}
        _, cells = _parse(path, layout, [], wanted_columns)
    values = without_blank_end(cells["values"], n) if len(layout.names) == 1 else cells["values"]
    ids_column = text_column(cells["ids"], "ids", path) if "ids" in cells else None
    return text_column(values, default, path), ids_column


def _samples(path: str, layout: Layout) -> dict[int, np.ndarray]:
    """The first rows of every column: as numbers if at least half of the non-blank cells are numbers, else as text."""
    import pandas as pd

    frame = next(_frames(path, layout, [], dict(enumerate(range(len(layout.names)))), SAMPLE_ROWS), None)
    samples = {}
    for column in range(len(layout.names)):
        cells = [] if frame is None else frame[column].tolist()
        filled = [cell for cell in cells if cell.strip()]
        numbers = pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce").to_numpy()
        numeric = not cells or 2 * sum(map(is_number, filled)) >= max(1, len(filled))
        samples[column] = numbers if numeric else np.array(cells, dtype=object)
    return samples


def _first_vector(column: np.ndarray) -> str | None:
    """The first cell of a column of vectors; None for any other column."""
    first = next((cell for cell in column.tolist() if cell.strip()), "") if column.dtype == object else ""
    return first if is_vector(first) else None


def _matrix(path: str, layout: Layout, dims: list[int]) -> np.ndarray:
    with refusing(path, "a table"):
        return _parse(path, layout, dims, {})[0]


def _column(path: str, layout: Layout, column: int) -> np.ndarray:
    with refusing(path, "a table"):
        return from_text(np.array(_parse(path, layout, [], {"column": column})[1]["column"], dtype=object))


def _vectors(path: str, layout: Layout, column: int, d: int) -> np.ndarray:
    def blocks() -> Iterator[np.ndarray]:
        row = 0
        for frame in _frames(path, layout, [], {"vectors": column}, max(1, BLOCK_BYTES // (8 * max(1, d)))):
            yield parse_vectors(frame[column].tolist(), path, layout.names[column], row, d)
            row += len(frame)

    with refusing(path, "a table"):
        return gather(blocks(), (_max_rows(path, d), d), "float64", path)


def _parse(
    path: str, layout: Layout, dims: list[int], texts: dict[str, int]
) -> tuple[np.ndarray, dict[str, list[Any]]]:
    """The columns ``dims`` as one matrix and the cells of each column in ``texts``, in one pass."""
    cells: dict[str, list[Any]] = {role: [] for role in texts}
    last = len(layout.names) - 1
    # the last column shows short lines: their last cells are read as empty
    wanted: dict[Any, int] = dict(texts) if last in dims else {**texts, None: last}

    def blocks() -> Iterator[np.ndarray]:
        row = 0
        for frame in _frames(path, layout, dims, wanted, max(1, BLOCK_BYTES // (8 * len(layout.names)))):
            if last not in dims and (frame[last] == "").any():
                refuse_short_lines(path, layout)
            for role, column in texts.items():
                cells[role].extend(frame[column].tolist())
            yield _numbers(path, layout, frame, dims, row)
            row += len(frame)

    return gather(blocks(), (_max_rows(path, len(dims)), len(dims)), "float64", path), cells


def _frames(path: str, layout: Layout, dims: list[int], texts: dict[Any, int], rows: int) -> Iterator[Any]:
    """The columns ``dims``, as pandas reads them, and those of ``texts`` as text, ``rows`` rows at a time."""
    import pandas as pd

    # From pandas 3.1 numbers are always parsed exactly and the argument is deprecated.
    version = tuple(int(part) for part in pd.__version__.split(".")[:2])
    exact: dict[str, Any] = {} if version >= (3, 1) else {"float_precision": "round_trip"}
    # If all lines are longer than the first, pandas drops the extra cells with only this warning.
    warnings.simplefilter("error", pd.errors.ParserWarning)
    width = len(layout.names)
    wanted = sorted({*dims, *texts.values()})
    try:
        with pd.read_csv(
            path,
            sep=layout.separator,
            header=None,
            skiprows=int(layout.header),
            skip_blank_lines=width > 1,
            names=range(width),
            dtype={column: str for column in wanted if column not in dims},
            index_col=False,
            keep_default_na=False,
            na_values={dim: [""] for dim in dims},
            low_memory=False,
            encoding="utf-8-sig",
            chunksize=rows,
            **exact,
        ) as frames:
            yield from frames
    except pd.errors.ParserError as error:
        match = re.search(r"in line (\d+), saw (\d+)", str(error))
        if match is None:
            raise
        raise bad(
            path,
            f"has {match[2]} cells in line {match[1]}, but {width} in its first; make them equal, or remove lines "
            "before the table",
        ) from error
    except pd.errors.ParserWarning as error:
        raise bad(
            path, f"has lines of more than {width} cells, but its first line has {width}; make them equal"
        ) from error


def _numbers(path: str, layout: Layout, frame: Any, dims: list[int], row: int) -> np.ndarray:
    block = np.empty((len(frame), len(dims)))
    if frame.empty:
        return block
    for index, dim in enumerate(dims):
        column = frame[dim]
        if column.dtype.kind not in "iuf" or column.isna().any():
            _refuse_cell(path, layout, column.tolist(), dim, row)
        block[:, index] = column
    return block


def _refuse_cell(path: str, layout: Layout, cells: list[Any], dim: int, row: int) -> None:
    name = layout.names[dim][:40]
    for at, cell in enumerate(cells):
        if cell != cell or not is_number(str(cell)) or isinstance(cell, bool) or str(cell).lower() == "nan":
            line = row + at + 1 + int(layout.header)
            problem = "is empty" if cell != cell else f"holds '{str(cell)[:40]}'"
            raise bad(path, f"column '{name}' {problem} in line {line}: features are numbers, fix or drop it")
    raise bad(path, f"column '{name}' is not all numbers; fix or drop it")


def _max_rows(path: str, d: int) -> int:
    """An upper bound of the number of rows: every number takes at least two bytes, a digit and a separator."""
    with open(path, "rb") as file:
        lines = 1
        while chunk := file.read(2**20):
            lines += chunk.count(b"\n") + chunk.count(b"\r")
    return min(lines, os.path.getsize(path) // (2 * max(1, d)) + 1)
