"""The layout of a text table: the separator of its cells, and whether its first line names the columns.

The separator is that of the extension, unless another splits the first lines into equal numbers of cells and it does
not. Blanks separate only numbers, so that a column of text is not split. A first line that could be a row (a number
with a fraction, a vector) is a row, unless it numbers the columns 0, 1, 2, ... as pandas does.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from manifold_probe.spaces.checks import bad
from manifold_probe.spaces.lines import HEADERS, has_header, is_number
from manifold_probe.spaces.vector_text import DECIMAL_COMMA, MIN_NUMBERS, is_vector

SEPARATORS = ",;\t|"
BLANKS = r"\s+"  # as pandas takes it
SAMPLE_LINES = 20


@dataclass(frozen=True)
class Layout:
    """The names of the columns, whether they are in the first line, and the separator of the cells."""

    names: list[str]
    header: bool
    separator: str

    def position(self, names: tuple[str, ...]) -> int | None:
        """The position of the first column with one of ``names``, or with one in other capitals ("ID")."""
        lowered = [name.lower() for name in self.names]
        exact = [self.names.index(name) for name in names if name in self.names]
        return next(iter(exact + [lowered.index(name.lower()) for name in names if name.lower() in lowered]), None)


def layout_of(path: str, n: int | None = None) -> Layout:
    """The layout of a text table; ``n`` is the expected number of rows, if known."""
    separator = separator_of(path)
    rows = _first_lines(path, separator)
    if not rows or not rows[0]:
        raise bad(path, "begins with an empty line; write the column names there")
    rows = [row for row in rows if row]
    names = [cell.strip() for cell in rows[0]]
    names[0] = names[0].lstrip("#").strip()  # np.savetxt writes its header as a comment
    if len(rows[-1]) == len(names) + 1 and _even_rows(path, separator):
        return Layout(["", *(name.strip('"') for name in names)], True, separator)
    if _first_is_header(path, separator, rows, n):
        return Layout(names, True, separator)
    return Layout([str(position) for position in range(len(names))], False, separator)


def refuse_short_lines(path: str, layout: Layout) -> None:
    """Refuse a table with a line of fewer cells than the others: pandas would shift its values to the left.

    Raises
    ------
    InputError
        With the number of the first such line.
    """
    width = len(layout.names)
    with suppress(csv.Error):
        for line, row in enumerate(_records(path, layout.separator), 1):
            if 0 < len(row) < width and not (line == 1 and layout.header):
                raise bad(path, f"has {len(row)} cells in line {line}, but {width} in others; make them equal")


def _first_is_header(path: str, separator: str, rows: list[list[str]], n: int | None) -> bool:
    first = [cell.strip() for cell in rows[0]]
    numbers = [cell for cell in first if is_number(cell)]
    if len(first) > 1:
        if any(map(is_vector, first)):
            return False
        if len(numbers) > 1 - (first[0] == "") and [float(cell) for cell in numbers] == list(range(len(numbers))):
            return True
        names = {cell.lower() for cell in first}
        looks_like_row = len(numbers) > 2 or any("." in cell for cell in numbers)
        if len(numbers) == len(first) or (looks_like_row and not names & HEADERS):
            return False
        if n is None:
            return True
    count = None if n is None else sum(1 for row in _records(path, separator) if row or len(first) == 1)
    return count != n if len(first) > 1 else has_header([row[0] for row in rows], n, count)


def separator_of(path: str) -> str:
    """The separator of the cells of a text table.

    Raises
    ------
    InputError
        If numbers are written with decimal commas.
    """
    usual = "\t" if path.lower().endswith(".tsv") else ","
    rows_of = {
        mark: _even_rows(path, mark) for mark in (usual, *(mark for mark in SEPARATORS if mark != usual), BLANKS)
    }
    for rows in rows_of.values():
        cells = [cell for row in rows[1:] or rows for cell in row]
        if 2 * sum(DECIMAL_COMMA.fullmatch(cell) is not None for cell in cells) > len(cells):
            raise bad(path, "writes numbers with decimal commas (0,5); write them with decimal points (0.5)")
    for separator, rows in rows_of.items():
        if rows and (separator == usual or _is_table(separator, rows)):
            return separator
    return usual


def _is_table(separator: str, rows: list[list[str]]) -> bool:
    """Whether a separator other than the extension's gives plausible cells."""
    if separator != BLANKS and {cell.strip().lower() for cell in rows[0]} & HEADERS:
        return True
    cells = [cell.strip('"') for row in rows[1:] or rows for cell in row[1:]]
    if not all(map(is_number, cells)):
        return separator != BLANKS and separator != ","
    fractions = len(rows[0]) > MIN_NUMBERS and any("." in cell for cell in cells)
    return separator != BLANKS or fractions or all(is_number(row[0].strip('"')) for row in rows[1:] or rows)


def _even_rows(path: str, separator: str) -> list[list[str]]:
    """The first lines split into cells, if all have the same number of cells, at least two; else an empty list."""
    rows = [row for row in _first_lines(path, separator) if row]
    even = len(rows) > 0 and len({len(row) for row in rows[1:] or rows}) == 1 and len(rows[0]) > 1
    return rows if even and (len(rows[0]) == len(rows[-1]) or _has_row_names(rows)) else []


def _has_row_names(rows: list[list[str]]) -> bool:
    """Whether the rows have one cell more than the header, as in tables of R, whose row names have no column name.

    Row names are text, or 1, 2, 3, ...
    """
    names = [row[0].strip('"') for row in rows[1:]]
    counted = names == [str(row) for row in range(1, len(rows))]
    return len(rows[-1]) == len(rows[0]) + 1 and (counted or not any(map(is_number, names)))


def _first_lines(path: str, separator: str) -> list[list[str]]:
    rows = []
    try:
        for row in islice(_records(path, separator), SAMPLE_LINES):
            rows.append(row)  # noqa: PERF402 - keeps the rows before an error
    except csv.Error:  # a cell that is too long: another separator, or vectors of many dimensions
        pass
    return rows


def _records(path: str, separator: str) -> Iterator[list[str]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        if separator == BLANKS:
            yield from (line.lstrip("#").split() for line in file)
        else:
            yield from csv.reader(file, delimiter=separator)
