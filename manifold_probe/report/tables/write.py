"""Results as files: CSV and Parquet for machines, Markdown and LaTeX for people."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from manifold_probe.errors import InputError
from manifold_probe.files import write_whole
from manifold_probe.report.figures.look import inches_of
from manifold_probe.report.frame import COLUMNS, tidy_rows
from manifold_probe.report.tables.latex import latex_table
from manifold_probe.report.tables.markdown import markdown_table
from manifold_probe.report.words import one_line

INTEGERS = ("k", "n")
NUMBERS = ("value", "low", "high", "chance", "class_chance", "reference")
# What a spreadsheet takes for the start of a formula, also in the full width of East Asian keyboards.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def write_table(document: dict[str, Any], path: str | Path, width: str | float | None = None) -> None:
    """Write the result as a table, whole or not at all.

    ``.csv`` and ``.parquet`` hold a row for every student, measure, k, metric and class, in full precision; ``.md`` and
    ``.tex`` hold the main measures as a paper prints them, a row for every student. ``width`` is that of a ``.tex``
    table, see `latex_table`; by default a page's.

    Raises
    ------
    InputError
        For another suffix or a width that does not exist, or a place that cannot be written to.
    """
    check_table(path, width)
    suffix = Path(path).suffix.lower()
    write_whole(path, latex_table(document, width or "page") if suffix == ".tex" else WRITERS[suffix](document))


def check_table(path: str | Path, width: str | float | None = None) -> None:
    """Refuse a file whose suffix names no kind of table, and a width that does not exist, before any work.

    Raises
    ------
    InputError
        When the suffix is none of .csv, .parquet, .tex and .md, or for the width.
    """
    if width is not None:
        inches_of(width)
    suffix = Path(path).suffix
    if suffix.lower() not in WRITERS:
        raise InputError(
            f"{one_line(str(path))}: {f'no table is written as {one_line(suffix)}' if suffix else 'has no suffix'}; "
            "choose a name that ends in .csv, .parquet, .tex or .md"
        )


def csv_table(document: dict[str, Any]) -> str:
    """The tidy rows as CSV: an empty cell where there is nothing, quotes where a text needs them, one line end."""
    return csv_text([COLUMNS, *(row.values() for row in tidy_rows(document))])


def parquet_table(document: dict[str, Any]) -> bytes:
    """The tidy rows as Parquet, one type a column: classes are integers where every one is, and text otherwise."""
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

    rows = [{column: _storable(cell) for column, cell in row.items()} for row in tidy_rows(document)]
    integers: tuple[str, ...] = INTEGERS
    if all(type(row["class"]) is int and abs(row["class"]) < 2**63 for row in rows if row["class"] is not None):
        integers = (*INTEGERS, "class")
    else:
        rows = [{**row, "class": None if row["class"] is None else str(row["class"])} for row in rows]
    types = {column: pa.float64() if column in NUMBERS else pa.string() for column in COLUMNS}
    types.update(dict.fromkeys(integers, pa.int64()))
    # by way of pandas, so that it reads whole numbers next to missing ones as integers
    frame = pd.DataFrame({column: pd.Series([row[column] for row in rows], dtype=object) for column in COLUMNS})
    frame = frame.astype(dict.fromkeys(integers, "Int64"))
    out = io.BytesIO()
    parquet.write_table(pa.Table.from_pandas(frame, schema=pa.schema(types), preserve_index=False), out)
    return out.getvalue()


def columns_as(suffix: str, columns: dict[str, list[Any]]) -> str | bytes:
    """Columns of one length as CSV or Parquet, which keeps lists as lists."""
    if suffix == ".csv":
        return csv_text([columns, *zip(*columns.values(), strict=True)])
    import pyarrow as pa
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pa.table({name: pa.array(column) for name, column in columns.items()}), out)
    return out.getvalue()


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as CSV."""
    return "".join(",".join(map(csv_cell, row)) + "\n" for row in rows)


def csv_cell(cell: Any) -> str:
    r"""One cell, a list joined by ";"; a text that a spreadsheet would run gets a leading apostrophe.

    Quoted here, because the csv module leaves a lone carriage return bare, which ends the row for many readers.

    >>> csv_cell(0.1), csv_cell(None), csv_cell("=1+1"), csv_cell("-1.5"), csv_cell("a,b")
    ('0.1', '', "'=1+1", '-1.5', '"a,b"')
    """
    if cell is None or isinstance(cell, int | float):
        return "" if cell is None else str(cell)
    if isinstance(cell, list):
        cell = ";".join(map(str, cell))
    text = str(_storable(cell)).replace("\0", r"\x00")
    if text.startswith(FORMULA) and not PLAIN_NUMBER.fullmatch(text):
        text = f"'{text}"
    doubled = text.replace('"', '""')
    return f'"{doubled}"' if not text or any(character in text for character in ',"\r\n') else text


def _storable(cell: Any) -> Any:
    """Half of a surrogate pair, which JSON can hold and UTF-8 cannot, made visible."""
    return cell.encode(errors="backslashreplace").decode() if isinstance(cell, str) else cell


WRITERS: dict[str, Callable[[dict[str, Any]], str | bytes]] = {
    ".csv": csv_table,
    ".parquet": parquet_table,
    ".tex": latex_table,
    ".md": markdown_table,
}
