"""The columns of a wide table that are its dimensions: one rule for text tables, Arrow tables and DataFrames.

Dimensions are numbered: ``emb_0, emb_1, ...``, ``f1_v2, F2_v2, ...`` or ``0, 1, ...``. If the columns of one such
pattern are the majority, or three or more with consecutive numbers, they are the dimensions. If there is no pattern
(``height``, ``width``), every numeric column is a dimension, except whole numbers next to columns with fractions
(``year``, ``token_count``). A column that counts the rows (``Unnamed: 0``, ``index``) never is one. With two patterns
of similar size the user must choose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from manifold_probe.spaces.checks import bad
from manifold_probe.spaces.contents import RESERVED, Entry, array_entry
from manifold_probe.spaces.vector_text import is_vector, parse_vectors

SAMPLE_ROWS = 256
MIN_ROWS = 16  # with fewer rows a column may be whole numbers, or consecutive, by chance
MIN_CONSECUTIVE = 3  # columns with consecutive numbers that are a pattern
CLEARLY_MORE = 4  # times as many columns as the next pattern
NUMBER = re.compile(r"[0-9]+")
COUNTS_ROWS, WHOLE_NUMBERS = "counts the rows", "whole numbers next to columns with fractions"


@dataclass(frozen=True)
class Dimensions:
    """``chosen``: positions of the columns that are dimensions, empty if two patterns compete.

    ``left_out`` gives the reason for every other numeric column; ``patterns`` gives the positions of the columns of
    every pattern with at least two columns, by its name ("emb_").
    """

    chosen: list[int]
    left_out: dict[str, str]
    patterns: dict[str, list[int]]

    @property
    def groups(self) -> dict[str, list[int]]:
        """The matrices that the columns form: "features", and the patterns by name if there are several."""
        return ({"features": self.chosen} if self.chosen else {}) | (self.patterns if len(self.patterns) > 1 else {})

    def rivals(self, d: int) -> dict[str, list[int]]:
        """The patterns that compete with a column of vectors of length ``d``, unless that is clearly wider."""
        wide = {name: positions for name, positions in self.patterns.items() if len(positions) >= MIN_CONSECUTIVE}
        return {name: positions for name, positions in wide.items() if CLEARLY_MORE * len(positions) > d}


def choose_dimensions(names: Sequence[str], samples: Mapping[int, np.ndarray], named: bool = True) -> Dimensions:
    """The dimensions among columns called ``names``.

    Parameters
    ----------
    names : sequence of str
        All columns, in file order.
    samples : mapping of int to np.ndarray, shape (m,)
        The first rows of every column that may be a dimension, by its position; an array of another type than numbers
        stands for a column of text. Columns called ids, labels or logits are skipped.
    named : bool
        Whether the file names its columns. Without names there are no patterns, and a constant column may be a dead
        dimension.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> columns = {"Unnamed: 0": np.arange(20), "emb_0": rng.normal(size=20), "emb_1": rng.normal(size=20)}
    >>> dimensions = choose_dimensions(list(columns), dict(enumerate(columns.values())))
    >>> dimensions.chosen, dimensions.left_out
    ([1, 2], {'Unnamed: 0': 'counts the rows'})
    """
    columns = [column for column in samples if names[column].lower() not in RESERVED]
    numeric = [column for column in columns if samples[column].dtype.kind in "iuf"]
    counters = {column for column in numeric if _is_consecutive(samples[column])}
    values = [column for column in numeric if column not in counters]
    candidates = [column for column in columns if column in values or column not in numeric]
    numbered = _patterns(names, candidates, values) if named else {}
    patterns = {name: list(members) for name, members in numbered.items()}
    ordered = sorted(numbered.values(), key=len, reverse=True)
    if ordered and _convincing(ordered[0], values):
        largest = list(ordered[0])
        rivals = any(CLEARLY_MORE * len(other) > len(largest) for other in ordered[1:])
        reason = f"named unlike {names[largest[0]]}"
        chosen, reasons = [] if rivals else largest, dict.fromkeys(values, reason)
    else:
        whole = {column for column in values if _is_whole(samples[column]) and (named or _varies(samples[column]))}
        chosen = [column for column in values if column not in whole] or values
        reasons = dict.fromkeys(whole, WHOLE_NUMBERS)
    reasons |= dict.fromkeys(counters, COUNTS_ROWS)
    left_out = {names[column]: reasons[column] for column in numeric if column not in chosen} if chosen else {}
    return Dimensions(chosen, left_out, patterns)


def _patterns(names: Sequence[str], columns: list[int], values: list[int]) -> dict[str, dict[int, int]]:
    """The columns of every pattern that is mostly numbers (``values``), with the number in their name.

    Columns of text stay in a pattern, so that they are refused by name. A name with several numbers belongs to the
    largest pattern that it fits; of equally large ones to that of its last number.
    """
    members_of: dict[tuple[str, str], dict[int, int]] = {}  # (text before, text after the number) -> columns
    patterns_of: dict[int, list[tuple[str, str]]] = {column: [] for column in columns}
    for column in columns:
        for match in reversed(list(NUMBER.finditer(names[column]))):
            pattern = names[column][: match.start()], names[column][match.end() :]
            members_of.setdefault(pattern, {})[column] = int(match[0])
            patterns_of[column].append(pattern)
    assigned: dict[tuple[str, str], dict[int, int]] = {}
    for column, patterns in patterns_of.items():
        if patterns:
            pattern = max(patterns, key=lambda pattern: len(members_of[pattern]))
            assigned.setdefault(pattern, {})[column] = members_of[pattern][column]
    for column in columns:  # pandas writes the columns x, x, x as x, x.1, x.2
        if (f"{names[column]}.", "") in assigned:
            assigned[f"{names[column]}.", ""][column] = 0
    return {
        "".join(pattern) or "0": dict(sorted(members.items()))
        for pattern, members in _without_case(assigned).items()
        if len(members) > 1 and 2 * len(set(members) & set(values)) > len(members)
    }


def _without_case(patterns: dict[tuple[str, str], dict[int, int]]) -> dict[tuple[str, str], dict[int, int]]:
    """Patterns that differ only in capitals, joined, unless they share a number: X_0 and x_0 are of two patterns."""
    joined: dict[tuple[str, str], dict[int, int]] = {}
    for pattern, members in patterns.items():
        lowered = [part.lower() for part in pattern]
        same = next((key for key in joined if [part.lower() for part in key] == lowered), None)
        if same is not None and not set(joined[same].values()) & set(members.values()):
            joined[same] |= members
        else:
            joined[pattern] = members
    return joined


def _convincing(pattern: dict[int, int], values: list[int]) -> bool:
    """Whether a pattern cannot be a coincidence."""
    if 2 * len(pattern) > len(values):
        return True
    numbers = sorted(pattern.values())
    return (
        len(pattern) >= MIN_CONSECUTIVE
        and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        and numbers[0] < 2
    )


def _is_consecutive(sample: np.ndarray) -> bool:
    """Whether it holds consecutive whole numbers without repeats, in any order."""
    if len(sample) < MIN_ROWS or not np.isfinite(sample).all():
        return False
    ordered = np.sort(sample)
    return bool(ordered[0] == np.floor(ordered[0]) and (ordered[1:] - ordered[:-1] == 1).all())


def _varies(sample: np.ndarray) -> bool:
    return bool((sample != sample[0]).any())


def _is_whole(sample: np.ndarray) -> bool:
    """Whether it is a column of integers, or one with gaps, which is read as floats and NaN."""
    if len(sample) < MIN_ROWS:
        return False
    if sample.dtype.kind in "iu":
        return True
    present = sample[~np.isnan(sample)]
    return len(present) < len(sample) and bool((np.floor(present) == present).all())


def frame_dimensions(frame: Any, name: str) -> dict[str, Entry]:
    """The matrices in a DataFrame: columns of vectors written as text, else `Dimensions.groups`.

    Missing numbers are NaN.

    Raises
    ------
    InputError
        For a column named like the dimensions that holds no numbers, and for text that is not a vector.
    """
    import pandas as pd

    names = [str(column) for column in frame.columns]
    filled = [frame.iloc[:SAMPLE_ROWS, index].dropna() for index in range(len(names))]
    first = [cells.iloc[0] if len(cells) else None for cells in filled]
    vectors = [index for index in range(len(names)) if is_vector(first[index]) and names[index].lower() not in RESERVED]
    if vectors:
        cells_of = {names[index]: frame.iloc[:, index].tolist() for index in vectors}
        return {
            column: array_entry(column, parse_vectors(cells, name, column, 0)) for column, cells in cells_of.items()
        }
    numeric = [pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype) for dtype in frame.dtypes]
    samples = {index: _values(frame.iloc[:SAMPLE_ROWS, index]) for index in range(len(names)) if numeric[index]}
    text = {index: np.empty(0, object) for index in range(len(names)) if not numeric[index]}
    dimensions = choose_dimensions(names, samples | text)
    entries = {}
    for key, columns in dimensions.groups.items():
        for index in columns:
            if not numeric[index]:
                raise bad(
                    name, f"column '{names[index]}' has type {frame.dtypes.iloc[index]}; features are numbers, drop it"
                )
        part = frame.iloc[:, columns]
        nullable = any(pd.api.types.is_extension_array_dtype(dtype) for dtype in part.dtypes)
        values = part.to_numpy(dtype=np.float64, na_value=np.nan) if nullable else part.to_numpy()
        left_out = dimensions.left_out if key == "features" else {}
        entries[key] = replace(
            array_entry(key, values), columns=tuple(names[index] for index in columns), left_out=left_out
        )
    return entries


def _values(column: Any) -> np.ndarray:
    """The numbers of a column; pandas' nullable integers become floats only if some are missing."""
    values = column.to_numpy()
    if values.dtype.kind in "iuf":
        return values
    if column.isna().any() or "Float" in str(column.dtype):
        return column.to_numpy(dtype="float64", na_value=np.nan)
    return column.to_numpy("int64")
