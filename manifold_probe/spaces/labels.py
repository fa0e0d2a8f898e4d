"""Class labels, one a row, with one notion of "no label" for every file format and library.

Labels are int64 or str arrays (n,). A row without a label holds `NO_INTEGER` (the least int64) or "" (`NO_NAME`); ask
`is_labelled`, and write labels out with `plain_labels`, which gives None for such rows. What means "no label":

- None, NaN, NaT, pd.NA, null, a masked entry, an empty or blank string, wherever a column is read (`label_column`);
- -1 where it is the only negative integer of the whole column (also of integers written as strings), and
  the codes that the user names (`marked`). Labels
  that are -1 and 1 alone are two classes.

Text such as "nan" or "None" is a name until the user says otherwise: `suspicious` finds it for an alarm.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.checks import bad

NO_INTEGER, NO_NAME = np.iinfo(np.int64).min, ""
WIDEST = 2 * 2**30  # bytes of a fixed-width string array: one huge string must not multiply by n
EXACT_BELOW = {"float16": 2**11, "float32": 2**24, "float64": 2**53}  # where whole numbers begin to be rounded
MISSING_AS_TEXT = {"nan", "none", "null", "na", "n/a", "<na>", "nat", "-1"}
IGNORED = -100  # what torch's losses ignore
INTEGER = re.compile(r"-?[0-9]+")
NUMBER_CELL = re.compile(r"(-?(?:0|[1-9]\d{0,17}))(?:\.0*)?|nan", re.IGNORECASE)
MOST_CELLS = 1_000_000  # of the table of two codings that is solved exactly
PERMUTATIONS = 5


def plain_value(value: Any) -> Any:
    """NumPy scalars and 0-d tensors as Python values; bytes, UUIDs and paths as strings; anything else as it is.

    >>> plain_value(np.int64(7)), plain_value(b"a")
    (7, 'a')
    """
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, uuid.UUID | os.PathLike):
        return str(value)
    if isinstance(value, np.generic) or (hasattr(value, "item") and getattr(value, "ndim", 1) == 0):
        return value.item()
    return value


def label_column(array: np.ndarray, path: str) -> np.ndarray:
    """Labels (n,) as int64 or str from an array (n,) of any type; ``path`` names it in messages.

    Raises
    ------
    InputError
        For numbers that are not whole, mixed types, and types that are no class names.

    Examples
    --------
    >>> label_column(np.array(["ant", None, " "], dtype=object), "t.pt").tolist()
    ['ant', '', '']
    >>> is_labelled(label_column(np.array([2.0, np.nan]), "t.npz"))
    array([ True, False])
    """
    if isinstance(array, np.ma.MaskedArray):
        masked, array = np.ma.getmaskarray(array), np.array(array.data, dtype=object)
        array[masked] = None
    kind = array.dtype.kind
    if kind == "S":
        array, kind = np.char.decode(array, "utf-8", "replace"), "U"
    if kind == "U":
        return _without_blanks(np.array(array, dtype=str))
    if kind in "OT":
        return _from_objects(array.astype(object), path)
    if kind == "b" or kind == "i" or (kind == "u" and (not len(array) or array.max() < 2**63)):
        return array.astype(np.int64)
    if kind == "f":
        return _from_floats(array, path)
    raise bad(path, f"labels have type {array.dtype.name}: save integers or strings")


def is_labelled(labels: np.ndarray) -> np.ndarray:
    """Which rows have a label, (n,).

    >>> is_labelled(np.array(["ant", "", "bee"]))
    array([ True, False,  True])
    """
    return labels != (NO_NAME if labels.dtype.kind == "U" else NO_INTEGER)


def plain_labels(labels: np.ndarray) -> list[Any]:
    """Labels as Python's own values, None where there is none.

    >>> plain_labels(np.array(["ant", ""]))
    ['ant', None]
    """
    return [label if known else None for label, known in zip(labels.tolist(), is_labelled(labels), strict=True)]


def as_text(labels: np.ndarray) -> np.ndarray:
    """Labels as strings; rows without a label stay without.

    >>> as_text(np.array([7, NO_INTEGER])).tolist()
    ['7', '']
    """
    return np.where(is_labelled(labels), labels.astype(str), NO_NAME)


def of_one_kind(*columns: np.ndarray) -> list[np.ndarray]:
    """Label columns as they are where all are integers or all strings, else all as strings: 7 is "7"."""
    kinds = {column.dtype.kind for column in columns if is_labelled(column).any()}
    if len(kinds) == 1 and kinds <= {"i"}:
        return [column if column.dtype.kind == "i" else np.full(len(column), NO_INTEGER) for column in columns]
    return [column if column.dtype.kind == "U" else as_text(column) for column in columns]


def marked(labels: np.ndarray, unlabelled: Iterable[Any] = ()) -> np.ndarray:
    """A whole label column (n,) with the codes that mean "no label" taken out.

    Parameters
    ----------
    labels : np.ndarray of int64 or str, shape (n,)
    unlabelled : values
        Further codes, compared as they are written: 255 is "255".

    Examples
    --------
    >>> plain_labels(marked(np.array([0, -1, 2])))
    [0, None, 2]
    >>> plain_labels(marked(np.array([-2, -1, 0])))
    [-2, -1, 0]
    >>> plain_labels(marked(np.array(["ant", "unknown"]), ["unknown"]))
    ['ant', None]
    """
    known = is_labelled(labels)
    codes = list(unlabelled)
    none = known & has_code(labels, codes) if codes else np.zeros(len(labels), dtype=bool)
    values = np.unique(labels[known & ~none]).tolist()
    if labels.dtype.kind == "U" and "-1" in values and all(INTEGER.fullmatch(value) for value in values):
        values = sorted(map(int, values))
    if [value for value in values if isinstance(value, int) and value < 0] == [-1] and values != [-1, 1]:
        none |= labels == ("-1" if labels.dtype.kind == "U" else -1)
    return np.where(none, NO_NAME if labels.dtype.kind == "U" else NO_INTEGER, labels)


def has_code(labels: np.ndarray, codes: Iterable[Any]) -> np.ndarray:
    """Which labels (n,) are one of ``codes``, compared as they are written: 255 is "255".

    >>> has_code(np.array([0, 255]), ["255"])
    array([False,  True])
    """
    return np.isin(labels.astype(str), sorted({_written(code) for code in codes}))


def suspicious(labels: np.ndarray) -> list[tuple[str, int]]:
    """Labels that probably mean "no label" but are not taken so, and how many rows have each.

    >>> suspicious(np.array(["ant", "None", "bee", "nan"]))
    [('None', 1), ('nan', 1)]
    """
    names, counts = np.unique(labels[is_labelled(labels)], return_counts=True)
    if labels.dtype.kind == "U":
        odd = np.array([name.strip().lower() in MISSING_AS_TEXT for name in names.tolist()], dtype=bool)
    else:
        odd = (names == IGNORED) | ((names < -1) & ((names < 0).sum() == 1))
    return [(str(name), int(count)) for name, count in zip(names[odd], counts[odd], strict=True)]


def from_cells(cells: np.ndarray) -> np.ndarray:
    """Label cells (n,) of a text file: integers where all that are not blank are whole numbers (7, 7.0, nan for none).

    >>> plain_labels(from_cells(np.array(["1.0", "", "2.0"])))
    [1, None, 2]
    >>> from_cells(np.array(["007", "7"])).tolist()
    ['007', '7']
    """
    cells = _without_blanks(cells)
    known = is_labelled(cells)
    distinct, inverse = np.unique(cells[known], return_inverse=True)
    matches = [NUMBER_CELL.fullmatch(cell) for cell in distinct.tolist()]
    if not all(matches) or not any(match and match[1] for match in matches):
        return cells
    numbers = np.full(len(cells), NO_INTEGER)
    numbers[known] = np.array([int(match[1]) if match and match[1] else NO_INTEGER for match in matches])[inverse]
    return numbers


def conflicts(left: np.ndarray, right: np.ndarray, vouched: bool) -> tuple[int, int]:
    """In how many rows two label columns (n,) disagree: (as they are written, after the best one-to-one recoding).

    The second number is that to believe. It is the first where a recoding could hide rows in the wrong order (a file
    sorted by class and its reverse): unless the files may name the same classes differently, because their codes differ
    or ids vouch for the rows (``vouched``), and the recoding explains at least half of the disagreement, and more than
    it does of shuffled rows. Where no code stands in both columns, only a recoding can tell. Rows without a label on
    either side are no conflict.

    Examples
    --------
    >>> conflicts(np.array(["a", "b", "c"] * 20), np.array([0, 1, 2] * 20), vouched=True)
    (60, 0)
    >>> conflicts(np.array([0, 1, 2] * 20), np.array([1, 2, 3] * 20), vouched=False)
    (60, 0)
    """
    both = is_labelled(left) & is_labelled(right)
    left, right = of_one_kind(left[both], right[both])
    written = int((left != right).sum())
    if not written:
        return 0, 0
    names, others = np.unique(left), np.unique(right)
    one, two = np.searchsorted(names, left), np.searchsorted(others, right)
    best = len(one) - _matched(one, two)
    if not np.isin(names, others).any():
        return written, best
    rng = np.random.default_rng(0)
    shuffled = min(len(one) - _matched(one, rng.permutation(two)) for _ in range(PERMUTATIONS))
    possible = vouched or not np.array_equal(names, others)
    return written, best if possible and best < shuffled and best <= written / 2 else written


def _matched(one: np.ndarray, two: np.ndarray) -> int:
    """Rows that agree after the best one-to-one recoding of codes ``two`` (n,) into codes ``one`` (n,)."""
    wide = int(two.max()) + 1
    cells, counts = np.unique(one * wide + two, return_counts=True)
    rows, columns = cells // wide, cells % wide
    if (int(one.max()) + 1) * wide <= MOST_CELLS:
        from scipy.optimize import linear_sum_assignment

        table = np.zeros((int(one.max()) + 1, wide))
        table[rows, columns] = counts
        return int(table[linear_sum_assignment(table, maximize=True)].sum())
    total, taken, given = 0, set(), set()  # too many classes: the most frequent pairs first
    for place in np.argsort(-counts, kind="stable").tolist():
        row, column = int(rows[place]), int(columns[place])
        if row not in taken and column not in given:
            taken.add(row)
            given.add(column)
            total += int(counts[place])
    return total


def _written(value: Any) -> str:
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    if not isinstance(value, str | int | np.integer):
        raise InputError(f"unlabelled is {value!r}; give labels that mean 'no label', integers or strings")
    return str(value)


def _without_blanks(names: np.ndarray) -> np.ndarray:
    return np.where(np.char.strip(names) == "", NO_NAME, names) if len(names) else names


def _from_floats(array: np.ndarray, path: str) -> np.ndarray:
    limit, array = EXACT_BELOW.get(array.dtype.name, 2**53), array.astype(np.float64)
    missing = np.isnan(array)
    off = ~missing & ~((np.floor(array) == array) & (np.abs(array) < limit))
    if off.any():
        row = int(np.argmax(off))
        raise _no_class(array[row], row, path)
    return np.where(missing, NO_INTEGER, np.where(missing, 0, array).astype(np.int64))


def _no_class(value: float, row: int, path: str) -> InputError:
    return bad(
        path,
        f"labels hold {value} in row {row}: classes are integers or strings; "
        "bin such targets into classes, or leave labels out with --ignore-labels (ignore_labels=True)",
    )


def _from_objects(array: np.ndarray, path: str) -> np.ndarray:
    items = [plain_value(item) for item in array.tolist()]
    missing = np.array([_is_missing(item) for item in items], dtype=bool)
    first = next((item for item, none in zip(items, missing, strict=True) if not none), None)
    kind: Any = str if isinstance(first, str) else int
    for row in np.flatnonzero(~missing).tolist():
        item = items[row]
        if isinstance(item, float) and kind is int:
            if not item.is_integer() or abs(item) >= EXACT_BELOW["float64"]:
                raise _no_class(item, row, path)
            items[row] = int(item)
        elif not isinstance(item, kind):
            found = f"labels hold {str(item)[:40]!r} ({type(item).__name__}) in row {row}"
            raise bad(path, f"{found}: save all integers or all strings, None for no label")
    if first is None:
        return np.full(len(items), NO_INTEGER)
    if kind is int:
        if not all(none or -(2**63) < item < 2**63 for item, none in zip(items, missing, strict=True)):
            raise bad(path, "labels hold integers beyond 64 bits: save them as strings")
        return np.array([NO_INTEGER if none else int(item) for item, none in zip(items, missing, strict=True)])
    names = [NO_NAME if none else item for item, none in zip(items, missing, strict=True)]
    widest = max(map(len, names))
    if 4 * widest * len(names) > WIDEST:
        raise bad(path, f"labels hold a string of {widest:,} characters: shorten it, labels are names")
    return _without_blanks(np.array(names, dtype=str))


def _is_missing(item: Any) -> bool:
    """None, NaN, NaT and pd.NA: what is nothing, or differs from itself."""
    if item is None:
        return True
    same = item == item if not isinstance(item, list | tuple | dict) else True
    return type(item).__name__ == "NAType" or not isinstance(same, bool | np.bool_) or not same
