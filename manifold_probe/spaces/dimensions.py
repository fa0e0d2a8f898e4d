"""Which columns of a wide table are its dimensions: one rule for text tables, Arrow tables and DataFrames.

Dimensions are numbered: ``emb_0, emb_1, ...``, ``f1_v2, F2_v2, ...`` or ``0, 1, ...``. Where the columns of one such
pattern are the greater part, or three or more that count up without a gap, they are the dimensions. Where there is no
pattern (``height``, ``width``), every column of numbers is one, but whole numbers next to columns with fractions
(``year``, ``token_count``) are not. A column that counts the rows (``Unnamed: 0``, ``index``) never is. Two patterns of
like size leave the choice to the user.
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

SAMPLE = 256  # rows that are looked at
FEWEST = 16  # fewer rows may be whole, or count up, by chance
RUN = 3  # columns that count up without a gap: no coincidence
CLEAR = 4  # times as many columns as the next pattern has
NUMBER = re.compile(r"[0-9]+")
COUNTS_ROWS, WHOLE_NUMBERS = "counts the rows", "whole numbers next to columns with fractions"


@dataclass(frozen=True)
class Dimensions:
    """``taken``: places of the columns that are dimensions, none where two patterns compete.

    ``left`` says of every other column of numbers why it is none; ``patterns`` gives the places of each pattern of two
    columns or more by its name ("emb_").
    """

    taken: list[int]
    left: dict[str, str]
    patterns: dict[str, list[int]]

    @property
    def groups(self) -> dict[str, list[int]]:
        """The matrices that the columns make: "features", and each of several patterns by its name."""
        return ({"features": self.taken} if self.taken else {}) | (self.patterns if len(self.patterns) > 1 else {})

    def rivals(self, d: int) -> dict[str, list[int]]:
        """The patterns that may be meant in addition to a column of vectors of length ``d``, which are not clearly
        wider."""
        wide = {name: places for name, places in self.patterns.items() if len(places) >= RUN}
        return {name: places for name, places in wide.items() if CLEAR * len(places) > d}


def choose_dimensions(names: Sequence[str], samples: Mapping[int, np.ndarray], named: bool = True) -> Dimensions:
    """The dimensions among columns called ``names``.

    Parameters
    ----------
    names : sequence of str
        All columns, in file order.
    samples : mapping of int to np.ndarray, shape (m,)
        The first rows of each column that may be a dimension, by its place; an array of another type than numbers
        stands for a column of text. Columns called ids, labels or logits are passed over.
    named : bool
        The file names its columns. Without names there are no patterns, and a constant column may be a dead dimension.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> columns = {"Unnamed: 0": np.arange(20), "emb_0": rng.normal(size=20), "emb_1": rng.normal(size=20)}
    >>> found = choose_dimensions(list(columns), dict(enumerate(columns.values())))
    >>> found.taken, found.left
    ([1, 2], {'Unnamed: 0': 'counts the rows'})
    """
    places = [place for place in samples if names[place].lower() not in RESERVED]
    numeric = [place for place in places if samples[place].dtype.kind in "iuf"]
    counters = {place for place in numeric if _counts(samples[place])}
    free = [place for place in numeric if place not in counters]
    candidates = [place for place in places if place in free or place not in numeric]
    numbered = _patterns(names, candidates, free) if named else {}
    patterns = {name: list(members) for name, members in numbered.items()}
    ordered = sorted(numbered.values(), key=len, reverse=True)
    if ordered and _convincing(ordered[0], free):
        first = list(ordered[0])
        rivals = any(CLEAR * len(other) > len(first) for other in ordered[1:])
        reason = f"named unlike {names[first[0]]}"
        taken, reasons = [] if rivals else first, dict.fromkeys(free, reason)
    else:
        whole = {place for place in free if _whole(samples[place]) and (named or _varies(samples[place]))}
        taken = [place for place in free if place not in whole] or free
        reasons = dict.fromkeys(whole, WHOLE_NUMBERS)
    reasons |= dict.fromkeys(counters, COUNTS_ROWS)
    left = {names[place]: reasons[place] for place in numeric if place not in taken} if taken else {}
    return Dimensions(taken, left, patterns)


def _patterns(names: Sequence[str], places: list[int], free: list[int]) -> dict[str, dict[int, int]]:
    """The places of each pattern that is mostly numbers, with the number in each name.

    Columns of text stay in a pattern, so that they are refused by name. A name with several numbers belongs to the
    largest pattern it fits, of equal ones to that of its last number.
    """
    fitting: dict[tuple[str, str], dict[int, int]] = {}  # what stands before and after the number
    fits: dict[int, list[tuple[str, str]]] = {place: [] for place in places}
    for place in places:
        for match in reversed(list(NUMBER.finditer(names[place]))):
            around = names[place][: match.start()], names[place][match.end() :]
            fitting.setdefault(around, {})[place] = int(match[0])
            fits[place].append(around)
    found: dict[tuple[str, str], dict[int, int]] = {}
    for place, patterns in fits.items():
        if patterns:
            around = max(patterns, key=lambda pattern: len(fitting[pattern]))
            found.setdefault(around, {})[place] = fitting[around][place]
    for place in places:  # pandas writes the columns x, x, x as x, x.1, x.2
        if (f"{names[place]}.", "") in found:
            found[f"{names[place]}.", ""][place] = 0
    return {
        "".join(around) or "0": dict(sorted(members.items()))
        for around, members in _without_case(found).items()
        if len(members) > 1 and 2 * len(set(members) & set(free)) > len(members)
    }


def _without_case(patterns: dict[tuple[str, str], dict[int, int]]) -> dict[tuple[str, str], dict[int, int]]:
    """Patterns that differ in capitals alone as one, unless a number stands in both: X_0 and x_0 together are two."""
    joined: dict[tuple[str, str], dict[int, int]] = {}
    for around, members in patterns.items():
        written = [part.lower() for part in around]
        alike = next((key for key in joined if [part.lower() for part in key] == written), None)
        if alike is not None and not set(joined[alike].values()) & set(members.values()):
            joined[alike] |= members
        else:
            joined[around] = members
    return joined


def _convincing(pattern: dict[int, int], free: list[int]) -> bool:
    """Whether a pattern can be no coincidence."""
    if 2 * len(pattern) > len(free):
        return True
    numbers = sorted(pattern.values())
    return len(pattern) >= RUN and numbers == list(range(numbers[0], numbers[0] + len(numbers))) and numbers[0] < 2


def _counts(sample: np.ndarray) -> bool:
    """Whether it holds consecutive whole numbers, each once, in any order."""
    if len(sample) < FEWEST or not np.isfinite(sample).all():
        return False
    ordered = np.sort(sample)
    return bool(ordered[0] == np.floor(ordered[0]) and (ordered[1:] - ordered[:-1] == 1).all())


def _varies(sample: np.ndarray) -> bool:
    return bool((sample != sample[0]).any())


def _whole(sample: np.ndarray) -> bool:
    """Whether it is a column of integers; one with gaps comes as floats and NaN."""
    if len(sample) < FEWEST:
        return False
    if sample.dtype.kind in "iu":
        return True
    there = sample[~np.isnan(sample)]
    return len(there) < len(sample) and bool((np.floor(there) == there).all())


def frame_dimensions(frame: Any, name: str) -> dict[str, Entry]:
    """The matrices that a DataFrame's columns make: each column of vectors written as text, else `Dimensions.groups`.

    Missing numbers are NaN.

    Raises
    ------
    InputError
        For a column that is called like the dimensions and holds no numbers, and for text that is no vector.
    """
    import pandas as pd

    names = [str(column) for column in frame.columns]
    filled = [frame.iloc[:SAMPLE, place].dropna() for place in range(len(names))]
    first = [cells.iloc[0] if len(cells) else None for cells in filled]
    vectors = [place for place in range(len(names)) if is_vector(first[place]) and names[place].lower() not in RESERVED]
    if vectors:
        cells = {names[place]: frame.iloc[:, place].tolist() for place in vectors}
        return {column: array_entry(column, parse_vectors(found, name, column, 0)) for column, found in cells.items()}
    numeric = [pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype) for dtype in frame.dtypes]
    samples = {place: _values(frame.iloc[:SAMPLE, place]) for place in range(len(names)) if numeric[place]}
    text = {place: np.empty(0, object) for place in range(len(names)) if not numeric[place]}
    chosen = choose_dimensions(names, samples | text)
    entries = {}
    for key, places in chosen.groups.items():
        for place in places:
            if not numeric[place]:
                raise bad(
                    name, f"column '{names[place]}' has type {frame.dtypes.iloc[place]}; features are numbers, drop it"
                )
        chosen_frame = frame.iloc[:, places]
        nullable = any(pd.api.types.is_extension_array_dtype(dtype) for dtype in chosen_frame.dtypes)
        values = chosen_frame.to_numpy(dtype=np.float64, na_value=np.nan) if nullable else chosen_frame.to_numpy()
        entry = array_entry(key, values)
        left = chosen.left if key == "features" else {}
        entries[key] = replace(entry, columns=tuple(names[place] for place in places), left=left)
    return entries


def _values(column: Any) -> np.ndarray:
    """The numbers of a column; those of pandas' nullable types as floats only where some are missing."""
    values = column.to_numpy()
    if values.dtype.kind in "iuf":
        return values
    gaps = column.isna().any()
    return (
        column.to_numpy(dtype="float64", na_value=np.nan)
        if gaps or "Float" in str(column.dtype)
        else column.to_numpy("int64")
    )
