"""Text files with one value per line: lists of ids and of labels.

Lists of ids that this package writes hold a JSON string per line, so that quotes, outer blanks and line breaks are
kept. Other lists hold plain values.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np

from manifold_probe.spaces.checks import refusing
from manifold_probe.spaces.columns import clean_column, from_text
from manifold_probe.spaces.vector_text import is_vector

HEADERS = frozenset(
    {
        *("id", "ids", "uid", "uuid", "key", "keys", "index", "name", "names", "path", "paths", "image", "images"),
        *("file", "files", "filename", "filenames"),
        *("label", "labels", "class", "classes", "target", "targets", "category", "y"),
    }
)


def id_lines(ids: Iterable[object]) -> str:
    r"""Ids as the text of a file for `read_lines`: a JSON string per line.

    >>> id_lines(["a", 7, "b\n"])
    '"a"\n"7"\n"b\\n"\n'
    """
    return "".join(f"{json.dumps(str(item))}\n" for item in ids)


def read_lines(path: str, role: str = "ids", n: int | None = None) -> np.ndarray:
    """The lines of a text file as a column (m,) of ids or labels: integers if all are, else strings.

    A header line is left out: see `has_header`, also for ``n``.
    """
    with refusing(path, "a text file"), open(path, encoding="utf-8-sig") as file:
        lines = file.read().split("\n")  # not splitlines(), which would split ids at odd control characters
    lines = without_blank_end(lines[:-1] if lines[-1] == "" else lines, n)
    strings = _json_strings(lines)
    if strings is not None:
        return clean_column(np.array(strings, dtype=object), role, path)
    return text_column(lines[1:] if has_header(lines, n) else lines, role, path)


def without_blank_end(lines: list[str], n: int | None) -> list[str]:
    """The lines without blank ones at the end beyond ``n`` expected rows; other blank lines are rows without a label.

    >>> without_blank_end(["cat", "", "", ""], 2), without_blank_end(["label", "cat", "", ""], 2)
    (['cat', ''], ['label', 'cat', ''])
    """
    if n is not None:
        expected = n + (lines[0].strip().lower() in HEADERS if lines else 0)
        while len(lines) > expected and not lines[-1].strip():
            lines = lines[:-1]
    return lines


def text_column(cells: list[str], role: str, path: str) -> np.ndarray:
    """The cells of a column of ids or labels: integers if all are, else strings."""
    return from_text(clean_column(np.array(cells, dtype=object), role, path), role)


def _json_strings(lines: list[str]) -> list[str] | None:
    """The strings in the lines if all lines are JSON strings, else None."""
    if not all(len(line) > 1 and line[0] == line[-1] == '"' for line in lines):
        return None
    try:
        strings = [json.loads(line) for line in lines]
    except ValueError:
        return None
    return strings if all(isinstance(item, str) for item in strings) else None


def has_header(cells: list[str], n: int | None = None, count: int | None = None) -> bool:
    """Whether the first of a column's cells is its name.

    If ``n`` values are expected, the ``count`` of cells decides (by default the number of ``cells``). Otherwise the
    first cell is a name if it is a usual one ("label"), or if all other cells are numbers, or vectors, and it is not.

    Examples
    --------
    >>> has_header(["label", "cat", "dog"]), has_header(["cat", "cat", "dog"]), has_header(["species", "0", "1"])
    (True, False, True)
    >>> has_header(["species", "cat", "dog"], n=2)
    True
    """
    count = len(cells) if count is None else count
    if n is not None and count in (n, n + 1):
        return count == n + 1
    first, rest = cells[0].strip() if cells else "", cells[1:]
    if not rest:
        return first.lower() in HEADERS
    if first.lower() in HEADERS:
        return True
    if is_number(first):  # pandas names a single unnamed column 0; its cells are then fractions
        return first == "0" and all(is_number(cell) and not _is_whole(cell) for cell in rest)
    return all(is_number(cell) for cell in rest) or (is_vector(rest[0]) and not is_vector(first))


def is_number(cell: str) -> bool:
    """Whether a cell is a number that Python's float reads.

    >>> is_number("-1.5e3"), is_number("1_000"), is_number("7a")
    (True, False, False)
    """
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _is_whole(cell: str) -> bool:
    return cell.strip().lstrip("+-").isdigit()
