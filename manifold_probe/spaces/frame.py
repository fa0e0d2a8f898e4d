"""DataFrames and Series as contents: a column of vectors is a matrix, or columns of numbers are dimensions.

Ids are the column "ids" or "id", else an index other than 0..n-1.
"""

from __future__ import annotations

from typing import Any

from manifold_probe.spaces.checks import bad
from manifold_probe.spaces.contents import ID_NAMES, RESERVED, Contents, Entry, array_entry
from manifold_probe.spaces.dimensions import frame_dimensions
from manifold_probe.spaces.values import entries_of, typed_column
from manifold_probe.spaces.vector_text import is_vector


def frame_contents(frame: Any, name: str) -> Contents:
    """The columns of a pandas DataFrame, or the vectors of a Series."""
    import pandas as pd

    if isinstance(frame, pd.Series):
        is_text = len(frame) > 0 and is_vector(frame.iloc[0])
        entries = (
            frame_dimensions(frame.to_frame("features"), name)
            if is_text
            else entries_of({"features": frame.to_numpy()})
        )
    else:
        names = ["_".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in frame.columns]
        frame = frame.set_axis(names, axis=1)
        if frame.columns.has_duplicates:
            twice = frame.columns[frame.columns.duplicated()][0]
            raise bad(name, f"has two columns called '{twice}'; rename one")
        entries = {}
        for column in frame.columns:
            entries |= _column(name, column, frame[column])
        if not any(
            len(entry.shape) == 2 or entry.problem for key, entry in entries.items() if key.lower() not in RESERVED
        ):
            entries |= frame_dimensions(frame, name)
    if not {key.lower() for key in entries} & set(ID_NAMES) and not frame.index.equals(pd.RangeIndex(len(frame))):
        entries["ids"] = array_entry("ids", frame.index.to_numpy())
    return Contents(name, "DataFrame", entries)


def _column(name: str, column: str, values: Any) -> dict[str, Entry]:
    """One column: a matrix if its cells are vectors, else n values."""
    array = values.to_numpy()
    if array.dtype != object or not _is_vector(
        next((cell for cell in array if cell is not None and cell is cell), None)
    ):
        return {column: typed_column(column, array) if array.dtype == object else array_entry(column, array)}
    odd = next((row for row, cell in enumerate(array) if not _is_vector(cell)), None)
    if odd is not None:
        kind = type(array[odd]).__name__
        raise bad(
            name, f"column '{column}' holds vectors, but a {kind} in row {odd}; drop that row or extract it again"
        )
    return entries_of({column: array})


def _is_vector(cell: Any) -> bool:
    return isinstance(cell, list | tuple) or getattr(cell, "ndim", 0) > 0
