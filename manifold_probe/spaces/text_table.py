"""Reading .csv, .tsv and .txt: one column a dimension, or a vector in each cell, and ids, labels and other columns.

Ids and labels are read as text, so that "007" stays "007"; an unnamed first column is pandas' index. Which columns of
numbers are dimensions says `choose_dimensions`; every other column is there to be asked for by its name.
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
from manifold_probe.spaces.dimensions import SAMPLE, choose_dimensions
from manifold_probe.spaces.lines import is_number, text_column, without_blank_end
from manifold_probe.spaces.spool import gather
from manifold_probe.spaces.text_layout import Layout, layout_of, refuse_short_lines
from manifold_probe.spaces.vector_text import is_vector, parse_vectors

BLOCK_BYTES = 16 * 2**20


def open_table(path: str) -> Contents:
    """The features as float64, ids and labels as integers where all are, else strings; other columns when asked for."""
    with refusing(path, "a table"):
        layout = layout_of(path)
        index = 0 if layout.header and layout.names[0] == "" else None
        roles = {"ids": layout.place(ID_NAMES), "labels": layout.place(LABEL_NAMES), "index": index}
        texts = {role: place for role, place in roles.items() if place is not None}
        samples = {place: column for place, column in _samples(path, layout).items() if place not in texts.values()}
        vectors = {place: cell for place, column in samples.items() if (cell := _vector_in(column)) is not None}
        single = {place: column for place, column in samples.items() if place not in vectors}
        if not layout.header:  # the names are ours, and no promise that a column of text should be numbers
            single = {place: column for place, column in single.items() if column.dtype != object}
        chosen = choose_dimensions(layout.names, single, named=layout.header)
        widths = {
            place: parse_vectors([cell], path, layout.names[place], 0).shape[1] for place, cell in vectors.items()
        }
        widest = max((d for place, d in widths.items() if layout.names[place].lower() not in RESERVED), default=0)
        groups = chosen.rivals(widest) if widest else chosen.groups
        taken = groups.pop("features", [])
        # Where there are neither dimensions nor ids, any column says how many rows there are.
        features, cells = _parse(path, layout, taken, texts if texts or taken else {"rows": 0})
    n = len(features)
    columns = {role: text_column(cells[role], role, path) for role in texts}
    index_column = columns.pop("index", None)
    if index_column is not None and "ids" not in columns and not np.array_equal(index_column, np.arange(n)):
        columns["ids"] = index_column
    entries = {}
    if taken:
        columns_taken = tuple(layout.names[place] for place in taken)
        entries["features"] = Entry(
            "features", features.shape, "float64", lambda: features, None, columns_taken, chosen.left
        )
    entries |= {role: array_entry(role, column) for role, column in columns.items()}
    for name, places in groups.items():
        opened = partial(_matrix, path, layout, places)
        entries.setdefault(name, Entry(name, (n, len(places)), "float64", opened))
    for place, column in samples.items():
        name = layout.names[place]
        if place in vectors:
            d = widths[place]
            entries.setdefault(name, Entry(name, (n, d), "float64", partial(_vectors, path, layout, place, d)))
        elif place not in taken:
            dtype = "str" if column.dtype == object else column.dtype.name
            entries.setdefault(name, Entry(name, (n,), dtype, partial(_column, path, layout, place)))
    return Contents(path, "table", entries)


def read_text_columns(
    path: str, key: str | None, names: tuple[str, ...], default: str, n: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The column ``key`` (else the first called one of ``names``, else the only one) as text, and the ids in the same
    file.

    Without a header the columns are called 0, 1, ...; ``n`` is how many rows are expected, which shows whether there
    is one.
    """
    with refusing(path, "a table"):
        layout = layout_of(path, n)
        if key is not None and layout.place((key,)) is None and key.isdigit() and int(key) < len(layout.names):
            layout = Layout([str(place) for place in range(len(layout.names))], False, layout.separator)
        ids = layout.place(ID_NAMES)
        others = [place for place in range(len(layout.names)) if place != ids]
        place = layout.place((key,) if key is not None else names)
        if place is None and key is None and len(others) == 1:
            place = others[0]
        if place is None:
            wanted = key if key is not None else " or ".join(names)
            listed = ", ".join(name[:40] for name in layout.names[:8])
            raise bad(path, f"has no column '{wanted}', only {listed}; name the {default} column with {path}::COLUMN")
        places = {default: place} if ids is None or ids == place else {default: place, "beside": ids}
        _, cells = _parse(path, layout, [], places)
    beside = cells.get("beside")
    if len(layout.names) == 1:
        cells[default] = without_blank_end(cells[default], n)
    return text_column(cells[default], default, path), None if beside is None else text_column(beside, "ids", path)


def _samples(path: str, layout: Layout) -> dict[int, np.ndarray]:
    """The first rows of every column: as numbers where half of the cells that are filled are, else as text."""
    import pandas as pd

    frame = next(_frames(path, layout, [], dict(enumerate(range(len(layout.names)))), SAMPLE), None)
    found = {}
    for place in range(len(layout.names)):
        cells = [] if frame is None else frame[place].tolist()
        filled = [cell for cell in cells if cell.strip()]
        numbers = pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce").to_numpy()
        numeric = not cells or 2 * sum(map(is_number, filled)) >= max(1, len(filled))
        found[place] = numbers if numeric else np.array(cells, dtype=object)
    return found


def _vector_in(column: np.ndarray) -> str | None:
    """The first cell of a column of vectors; None for another column."""
    first = next((cell for cell in column.tolist() if cell.strip()), "") if column.dtype == object else ""
    return first if is_vector(first) else None


def _matrix(path: str, layout: Layout, dims: list[int]) -> np.ndarray:
    with refusing(path, "a table"):
        return _parse(path, layout, dims, {})[0]


def _column(path: str, layout: Layout, place: int) -> np.ndarray:
    with refusing(path, "a table"):
        return from_text(np.array(_parse(path, layout, [], {"column": place})[1]["column"], dtype=object))


def _vectors(path: str, layout: Layout, place: int, d: int) -> np.ndarray:
    def blocks() -> Iterator[np.ndarray]:
        row = 0
        for frame in _frames(path, layout, [], {"vectors": place}, max(1, BLOCK_BYTES // (8 * max(1, d)))):
            yield parse_vectors(frame[place].tolist(), path, layout.names[place], row, d)
            row += len(frame)

    with refusing(path, "a table"):
        return gather(blocks(), (_most_rows(path, d), d), "float64", path)


def _parse(
    path: str, layout: Layout, dims: list[int], texts: dict[str, int]
) -> tuple[np.ndarray, dict[str, list[Any]]]:
    """The columns ``dims`` as one matrix and the cells of each column in ``texts``, in one pass."""
    cells: dict[str, list[Any]] = {role: [] for role in texts}
    last = len(layout.names) - 1
    wanted: dict[Any, int] = (
        dict(texts) if last in dims else {**texts, None: last}
    )  # where a line is short, its last cells seem empty

    def blocks() -> Iterator[np.ndarray]:
        row = 0
        for frame in _frames(path, layout, dims, wanted, max(1, BLOCK_BYTES // (8 * len(layout.names)))):
            if last not in dims and (frame[last] == "").any():
                refuse_short_lines(path, layout)
            for role, place in texts.items():
                cells[role].extend(frame[place].tolist())
            yield _numbers(path, layout, frame, dims, row)
            row += len(frame)

    return gather(blocks(), (_most_rows(path, len(dims)), len(dims)), "float64", path), cells


def _frames(path: str, layout: Layout, dims: list[int], texts: dict[Any, int], rows: int) -> Iterator[Any]:
    """The columns ``dims``, as pandas reads them, and those of ``texts`` as text, ``rows`` rows at a time."""
    import pandas as pd

    # From pandas 3.1 numbers are always parsed exactly and the argument is on its way out.
    version = tuple(int(part) for part in pd.__version__.split(".")[:2])
    exact: dict[str, Any] = {} if version >= (3, 1) else {"float_precision": "round_trip"}
    # pandas cuts lines that are all longer than the first to fit, with no more than this warning.
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
            dtype={place: str for place in wanted if place not in dims},
            index_col=False,
            keep_default_na=False,
            na_values={place: [""] for place in dims},
            low_memory=False,
            encoding="utf-8-sig",
            chunksize=rows,
            **exact,
        ) as frames:
            yield from frames
    except pd.errors.ParserError as error:
        found = re.search(r"in line (\d+), saw (\d+)", str(error))
        if found is None:
            raise
        raise bad(
            path,
            f"has {found[2]} cells in line {found[1]}, and {width} in its first; make them equal, or remove lines "
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
    for place, dim in enumerate(dims):
        column = frame[dim]
        if column.dtype.kind not in "iuf" or column.isna().any():
            _refuse_cell(path, layout, column.tolist(), dim, row)
        block[:, place] = column
    return block


def _refuse_cell(path: str, layout: Layout, cells: list[Any], dim: int, row: int) -> None:
    name = layout.names[dim][:40]
    for at, cell in enumerate(cells):
        if cell != cell or not is_number(str(cell)) or isinstance(cell, bool) or str(cell).lower() == "nan":
            line = row + at + 1 + int(layout.header)
            found = "is empty" if cell != cell else f"holds '{str(cell)[:40]}'"
            raise bad(path, f"column '{name}' {found} in line {line}: features are numbers, fix or drop it")
    raise bad(path, f"column '{name}' is not all numbers; fix or drop it")


def _most_rows(path: str, d: int) -> int:
    """At least as many rows as the file can have: each number takes two bytes, a digit and what follows."""
    with open(path, "rb") as file:
        lines = 1
        while chunk := file.read(2**20):
            lines += chunk.count(b"\n") + chunk.count(b"\r")
    return min(lines, os.path.getsize(path) // (2 * max(1, d)) + 1)
