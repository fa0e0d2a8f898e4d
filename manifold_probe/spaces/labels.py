"""Class labels, one per row, with one definition of "no label" for every file format and library.

Labels are int64 or str arrays (n,). A row without a label holds `NO_INTEGER` (the lowest int64) or "" (`NO_NAME`); test
it with `is_labelled`, and write labels with `plain_labels`, which gives None for such rows. "No label" is:

- None, NaN, NaT, pd.NA, null, a masked entry, an empty or blank string, in any column (`label_column`);
- -1 if it is the only negative integer of the whole column (also of integers written as strings), and the codes that
  the user names (`marked`). A column of only -1 and 1 has two classes.

Text such as "nan" or "None" is a class name unless the user lists it: `suspicious` reports it for an alarm.
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
MAX_STRING_BYTES = 2 * 2**30  # of a fixed-width string array, where one long string sets the width of all
EXACT_BELOW = {"float16": 2**11, "float32": 2**24, "float64": 2**53}  # larger whole numbers may be rounded
MISSING_AS_TEXT = {"nan", "none", "null", "na", "n/a", "<na>", "nat", "-1"}
IGNORED = -100  # ignore_index of torch's losses
INTEGER = re.compile(r"-?[0-9]+")
NUMBER_CELL = re.compile(r"(-?(?:0|[1-9]\d{0,17}))(?:\.0*)?|nan", re.IGNORECASE)
MAX_CELLS = 1_000_000  # of a table of two codings for which the best recoding is found exactly
PERMUTATIONS = 5


def plain_value(value: Any) -> Any:
    """NumPy scalars and 0-d tensors as Python values; bytes, UUIDs and paths as strings; anything else unchanged.

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
        For numbers that are not whole, mixed types, and types that cannot be class names.

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
    """A mask (n,) of the rows that have a label.

    >>> is_labelled(np.array(["ant", "", "bee"]))
    array([ True, False,  True])
    """
    return labels != (NO_NAME if labels.dtype.kind == "U" else NO_INTEGER)


def plain_labels(labels: np.ndarray) -> list[Any]:
    """Labels as Python values, None for rows without a label.

    >>> plain_labels(np.array(["ant", ""]))
    ['ant', None]
    """
    return [label if known else None for label, known in zip(labels.tolist(), is_labelled(labels), strict=True)]


def as_text(labels: np.ndarray) -> np.ndarray:
    """Labels as strings; rows without a label still have none.

    >>> as_text(np.array([7, NO_INTEGER])).tolist()
    ['7', '']
    """
    return np.where(is_labelled(labels), labels.astype(str), NO_NAME)


def of_one_kind(*columns: np.ndarray) -> list[np.ndarray]:
    """Label columns unchanged if all are integers or all strings, else all as strings: 7 becomes "7"."""
    kinds = {column.dtype.kind for column in columns if is_labelled(column).any()}
    if len(kinds) == 1 and kinds <= {"i"}:
        return [column if column.dtype.kind == "i" else np.full(len(column), NO_INTEGER) for column in columns]
    return [column if column.dtype.kind == "U" else as_text(column) for column in columns]


def marked(labels: np.ndarray, unlabelled: Iterable[Any] = ()) -> np.ndarray:
    """A whole label column (n,) with codes that mean "no label" replaced by `NO_INTEGER` or `NO_NAME`.

    Parameters
    ----------
    labels : np.ndarray of int64 or str, shape (n,)
    unlabelled : values
        Further codes, compared as text: 255 is "255".

    Examples
    --------
    >>> plain_labels(marked(np.array([0, -1, 2])))
    [0, None, 2]
    >>> plain_labels(marked(np.array([-2, -1, 0])))
    [-2, -1, 0]
    >>> plain_labels(marked(np.array(["ant", "unknown"]), ["unknown"]))
    ['ant', None]
    """
    has_label = is_labelled(labels)
    codes = list(unlabelled)
    no_label = has_label & has_code(labels, codes) if codes else np.zeros(len(labels), dtype=bool)
    values = np.unique(labels[has_label & ~no_label]).tolist()
    if labels.dtype.kind == "U" and "-1" in values and all(INTEGER.fullmatch(value) for value in values):
        values = sorted(map(int, values))
    if [value for value in values if isinstance(value, int) and value < 0] == [-1] and values != [-1, 1]:
        no_label |= labels == ("-1" if labels.dtype.kind == "U" else -1)
    return np.where(no_label, NO_NAME if labels.dtype.kind == "U" else NO_INTEGER, labels)


def has_code(labels: np.ndarray, codes: Iterable[Any]) -> np.ndarray:
    """A mask (n,) of the labels that are one of ``codes``, compared as text: 255 is "255".

    >>> has_code(np.array([0, 255]), ["255"])
    array([False,  True])
    """
    return np.isin(labels.astype(str), sorted({_as_code(code) for code in codes}))


def suspicious(labels: np.ndarray) -> list[tuple[str, int]]:
    """Labels that may mean "no label" but count as classes, and the number of rows with each.

    >>> suspicious(np.array(["ant", "None", "bee", "nan"]))
    [('None', 1), ('nan', 1)]
    """
    names, counts = np.unique(labels[is_labelled(labels)], return_counts=True)
    if labels.dtype.kind == "U":
        is_suspicious = np.array([name.strip().lower() in MISSING_AS_TEXT for name in names.tolist()], dtype=bool)
    else:
        is_suspicious = (names == IGNORED) | ((names < -1) & ((names < 0).sum() == 1))
    return [(str(name), int(count)) for name, count in zip(names[is_suspicious], counts[is_suspicious], strict=True)]


def from_cells(cells: np.ndarray) -> np.ndarray:
    """Label cells (n,) of a text file: integers if all non-blank cells are whole numbers (7, 7.0; nan: no label).

    >>> plain_labels(from_cells(np.array(["1.0", "", "2.0"])))
    [1, None, 2]
    >>> from_cells(np.array(["007", "7"])).tolist()
    ['007', '7']
    """
    cells = _without_blanks(cells)
    has_label = is_labelled(cells)
    distinct, inverse = np.unique(cells[has_label], return_inverse=True)
    matches = [NUMBER_CELL.fullmatch(cell) for cell in distinct.tolist()]
    if not all(matches) or not any(match and match[1] for match in matches):
        return cells
    numbers = np.full(len(cells), NO_INTEGER)
    numbers[has_label] = np.array([int(match[1]) if match and match[1] else NO_INTEGER for match in matches])[inverse]
    return numbers


def conflicts(left: np.ndarray, right: np.ndarray, verified: bool) -> tuple[int, int]:
    """The number of rows in which two label columns (n,) disagree: (as written, after the best one-to-one recoding).

    Use the second number. A recoding could hide rows in the wrong order (a file sorted by class and its reverse). So it
    counts only if the files may name the same classes differently, because their codes differ or ids confirm the
    pairing (``verified``), and if it explains at least half of the disagreement, and more than for shuffled rows;
    otherwise the second number equals the first. If the columns share no code, a recoding always counts. Rows without a
    label on either side are no conflict.

    Examples
    --------
    >>> conflicts(np.array(["a", "b", "c"] * 20), np.array([0, 1, 2] * 20), verified=True)
    (60, 0)
    >>> conflicts(np.array([0, 1, 2] * 20), np.array([1, 2, 3] * 20), verified=False)
    (60, 0)
    """
    both = is_labelled(left) & is_labelled(right)
    left, right = of_one_kind(left[both], right[both])
    as_written = int((left != right).sum())
    if not as_written:
        return 0, 0
    left_names, right_names = np.unique(left), np.unique(right)
    left_codes, right_codes = np.searchsorted(left_names, left), np.searchsorted(right_names, right)
    recoded = len(left) - _matched(left_codes, right_codes)
    if not np.isin(left_names, right_names).any():
        return as_written, recoded
    rng = np.random.default_rng(0)
    shuffled = min(len(left) - _matched(left_codes, rng.permutation(right_codes)) for _ in range(PERMUTATIONS))
    possible = verified or not np.array_equal(left_names, right_names)
    return as_written, recoded if possible and recoded < shuffled and recoded <= as_written / 2 else as_written


def _matched(left: np.ndarray, right: np.ndarray) -> int:
    """Rows that agree after the best one-to-one recoding of codes ``right`` (n,) into codes ``left`` (n,)."""
    height, width = int(left.max()) + 1, int(right.max()) + 1
    cells, counts = np.unique(left * width + right, return_counts=True)
    rows, columns = cells // width, cells % width
    if height * width <= MAX_CELLS:
        from scipy.optimize import linear_sum_assignment

        table = np.zeros((height, width))
        table[rows, columns] = counts
        return int(table[linear_sum_assignment(table, maximize=True)].sum())
    total, used_rows, used_columns = 0, set(), set()  # too many classes: greedily, the most frequent pairs first
    for cell in np.argsort(-counts, kind="stable").tolist():
        row, column = int(rows[cell]), int(columns[cell])
        if row not in used_rows and column not in used_columns:
            used_rows.add(row)
            used_columns.add(column)
            total += int(counts[cell])
    return total


def _as_code(value: Any) -> str:
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
    invalid = ~missing & ~((np.floor(array) == array) & (np.abs(array) < limit))
    if invalid.any():
        row = int(np.argmax(invalid))
        raise _not_a_class(array[row], row, path)
    return np.where(missing, NO_INTEGER, np.where(missing, 0, array).astype(np.int64))


def _not_a_class(value: float, row: int, path: str) -> InputError:
    return bad(
        path,
        f"labels hold {value} in row {row}: classes are integers or strings; "
        "bin these targets into classes, or leave labels out with --ignore-labels (ignore_labels=True)",
    )


def _from_objects(array: np.ndarray, path: str) -> np.ndarray:
    items = [plain_value(item) for item in array.tolist()]
    missing = np.array([_is_missing(item) for item in items], dtype=bool)
    first = next((item for item, no_label in zip(items, missing, strict=True) if not no_label), None)
    kind: Any = str if isinstance(first, str) else int
    for row in np.flatnonzero(~missing).tolist():
        item = items[row]
        if isinstance(item, float) and kind is int:
            if not item.is_integer() or abs(item) >= EXACT_BELOW["float64"]:
                raise _not_a_class(item, row, path)
            items[row] = int(item)
        elif not isinstance(item, kind):
            problem = f"labels hold {str(item)[:40]!r} ({type(item).__name__}) in row {row}"
            raise bad(path, f"{problem}: save all integers or all strings, None for no label")
    if first is None:
        return np.full(len(items), NO_INTEGER)
    if kind is int:
        if not all(no_label or -(2**63) < item < 2**63 for item, no_label in zip(items, missing, strict=True)):
            raise bad(path, "labels hold integers beyond 64 bits: save them as strings")
        return np.array([NO_INTEGER if no_label else int(item) for item, no_label in zip(items, missing, strict=True)])
    names = [NO_NAME if no_label else item for item, no_label in zip(items, missing, strict=True)]
    widest = max(map(len, names))
    if 4 * widest * len(names) > MAX_STRING_BYTES:
        raise bad(path, f"labels hold a string of {widest:,} characters: shorten it; labels are short names")
    return _without_blanks(np.array(names, dtype=str))


def _is_missing(item: Any) -> bool:
    """Whether a value is None, NaN, NaT or pd.NA; all but None differ from themselves."""
    if item is None:
        return True
    same = item == item if not isinstance(item, list | tuple | dict) else True
    return type(item).__name__ == "NAType" or not isinstance(same, bool | np.bool_) or not same
