"""A vector written as the text of one cell.

JSON (``[0.1, 0.2]``), NumPy's print (``[0.1 0.2]``), PostgreSQL (``{0.1,0.2}``), Python's repr of arrays
(``array([0.1, 0.2], dtype=float32)``, ``tensor([[0.1, 0.2]])``, ``[np.float32(0.1), np.float32(0.2)]``), and only the
numbers, separated by commas, semicolons, bars or blanks. A vector that NumPy shortened to ``[0.1 ... 0.9]`` is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from manifold_probe.spaces.checks import bad

CLOSING = {"[": "]", "{": "}", "(": ")"}
BRACKETED = re.compile(
    r"\s*[\[{(](?=.*\d)([\s\d.,;+-]|e[-+]?\d|nan|inf|null|none)*[\])}]\s*", re.IGNORECASE | re.DOTALL
)
ARRAY_REPR = re.compile(r"(?:np\.)?(?:array|tensor)\((.*?\])(?:,\s*\w+=[^,()]+)*\)", re.DOTALL)
SCALAR = re.compile(r"(?:np\.float\d+|tensor)\(([^()]*)\)")
DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+([eE][-+]?\d+)?\s*")
MIN_NUMBERS = 3  # without brackets: a pair of numbers in a text is not a vector


def is_vector(cell: object) -> bool:
    """Whether a cell looks like a vector: brackets around numbers, or three numbers, one of them with a fraction.

    >>> [is_vector(cell) for cell in ("[1, 2]", "0.1 0.2 0.3", "2021 03 04", "a [1]", 7)]
    [True, True, False, False, False]
    """
    if not isinstance(cell, str):
        return False
    try:
        return BRACKETED.fullmatch(_plain(cell)) is not None or ("." in cell and len(_numbers(cell)) >= MIN_NUMBERS)
    except ValueError:
        return False


def parse_vectors(cells: Sequence[object], path: str, column: str, first_row: int, d: int | None = None) -> np.ndarray:
    """The cells as a float64 matrix (m, d).

    ``first_row`` is the row of the first cell, for messages; ``d`` the length of the vectors in earlier rows.

    Raises
    ------
    InputError
        For a cell that is empty, holds something else, or has another length, with its column and row.

    Examples
    --------
    >>> parse_vectors(["[1, 2.5]", "{3,4}"], "t.csv", "embedding", 0)
    array([[1. , 2.5],
           [3. , 4. ]])
    """
    out: np.ndarray | None = None
    for at, cell in enumerate(cells):
        row = first_row + at
        if not isinstance(cell, str) or not cell.strip():
            raise bad(path, f"column '{column}' holds no vector in row {row}; drop that row")
        try:
            values = _numbers(cell)
        except ValueError:
            raise bad(path, f"column '{column}' in row {row} {_why_not(cell)}") from None
        d = len(values) if d is None else d
        if len(values) != d:
            raise bad(
                path, f"column '{column}' is ragged: row {row} has {len(values)} values, others {d}; make them equal"
            )
        out = np.empty((len(cells), d)) if out is None else out
        out[at] = values
    return np.empty((0, d or 0)) if out is None else out


def _plain(cell: str) -> str:
    """The numbers in one pair of brackets, without the type names of a Python repr."""
    text = cell.strip()
    if text[-1:] == ")":
        match = ARRAY_REPR.fullmatch(text)
        text = match[1] if match else text
    if "(" in text[1:]:
        text = SCALAR.sub(r"\1", text)
    return text[1:-1].strip() if text[:2] == "[[" and text[-2:] == "]]" else text


def _numbers(cell: str) -> list[float]:
    text = _plain(cell)
    if text[:1] in CLOSING:
        if text[-1] != CLOSING[text[0]]:
            raise ValueError("no closing bracket")
        text = text[1:-1].strip()
    if "_" in text or ("," in text and ";" in text):
        raise ValueError("no number")
    separator = next((mark for mark in ",;|" if mark in text), None)
    return [float(part) for part in text.split(separator)]


def _why_not(cell: str) -> str:
    if "..." in cell:
        return "was shortened to '...' by NumPy, so its values are lost; write json.dumps(v.tolist())"
    if ";" in cell and "," in cell:
        return "has decimal commas; write decimal points"
    return f"holds {' '.join(cell.split())[:40]!r}, not a vector of numbers such as '[0.1, 0.2]'"
