"""Ids and labels given by a caller: arrays, tables with ids, files, and the codes that mean "no label"."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.columns import clean_column, ids_among
from manifold_probe.spaces.frame import frame_contents
from manifold_probe.spaces.labels import has_code
from manifold_probe.spaces.read import read_column
from manifold_probe.spaces.space import Space
from manifold_probe.spaces.tokens import per_token, token_ids

TABLE_IDS, TABLE_LABELS, TABLE_SLICES = ("ids", "id"), ("labels", "label"), ("slices", "slice", "labels", "label")


def ids_of_both(ids: Any, teacher: Space, student: Space) -> tuple[Any, Any]:
    """Ids of the teacher's and the student's rows, from one column for both or a pair; either may be None.

    Where tokens are rows, ids of their sets become those of the tokens.
    """
    paths = (str, Path) if isinstance(ids, tuple) else Path  # a list of two strings holds the ids of two rows
    is_pair = isinstance(ids, list | tuple) and len(ids) == 2
    is_pair = is_pair and all(side is None or isinstance(side, paths) or _is_column(side) for side in ids)
    return _ids(ids[0] if is_pair else ids, teacher), _ids(ids[1] if is_pair else ids, student)


def _is_column(values: Any) -> bool:
    """Whether these are values of several rows, not a single id: a list, array, tensor or Series."""
    return isinstance(values, list | tuple) or len(getattr(values, "shape", ())) == 1


def _ids(ids: Any, space: Space) -> Any:
    """Ids as given, or read from a file if they are a path."""
    tokens = space.source.tokens
    if isinstance(ids, str | Path):
        ids = read_column(str(ids), TABLE_IDS, "ids", space.n // (tokens or 1))[0]
    if ids is None or tokens is None or len(ids) * tokens != space.n:
        return ids
    return token_ids(clean_column(ids, "ids", space.name, len(ids)), tokens)


def labels_with_ids(
    labels: Any, teacher: Space, ids: Any, names: tuple[str, ...] = TABLE_LABELS, role: str = "labels"
) -> tuple[Any, Any]:
    """Labels (or slices) of the teacher's rows and, if a table has them, their ids.

    Where tokens are rows, labels of their sets stand for each of their tokens.
    """
    if labels is None:
        return None, None
    tokens = teacher.source.tokens
    values, of = _labels_with_ids(labels, teacher, teacher.n // (tokens or 1), ids, names, role)
    if tokens is None:
        return values, of
    if of is None:
        if len(values) not in (teacher.n, teacher.n // tokens):
            raise InputError(
                f"{role}: hold {len(values):,} values for {teacher.n // tokens:,} sets of {tokens} tokens; give one "
                f"per set, which stands for each of its tokens, or one per token ({teacher.n:,})"
            )
        return per_token(values, tokens, teacher.n), None
    if teacher.ids is not None and np.isin(np.asarray(of).astype(str), teacher.ids).any():
        return values, of  # ids of tokens
    return np.repeat(np.asarray(values), tokens), token_ids(clean_column(of, "ids", role, len(of)), tokens)


def _labels_with_ids(
    labels: Any, teacher: Space, n: int, ids: Any, names: tuple[str, ...], role: str
) -> tuple[Any, Any]:
    known = teacher.ids if ids is None else ids_of_both(ids, teacher, teacher)[0]
    if isinstance(labels, str | Path):
        return read_column(str(labels), names, "labels", n, known)
    if hasattr(labels, "to_pandas"):
        labels = labels.to_pandas()
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(labels, pandas.Series):
        labels = labels.rename("labels").to_frame()
    if pandas is None or not isinstance(labels, pandas.DataFrame):
        return labels, None
    column, ids_column = (
        next((name for name in choices if name in labels.columns), None) for choices in (names, TABLE_IDS)
    )
    if column is None:
        columns = f"{names[0]!r} or {names[1]!r}"
        raise InputError(f"{role}: the table has no column {columns}; rename the column that holds them")
    values = labels[column].to_numpy()
    if ids_column is not None:
        return values, labels[ids_column].to_numpy()
    if not labels.index.equals(pandas.RangeIndex(len(labels))):
        return values, labels.index.to_numpy()
    return values, ids_among(frame_contents(labels, role), column, len(labels), known)


def codes_without_label(unlabelled: Any, spaces: list[Space], given: Any) -> list[Any]:
    """The codes that mean "no label", as a list. Raises InputError for a code that no row has."""
    codes = [] if unlabelled is None else [unlabelled] if np.ndim(unlabelled) == 0 else list(unlabelled)
    columns = [space.labels for space in spaces if space.labels is not None]
    columns += [] if given is None else [clean_column(given, "labels", "labels")]
    for code in codes:
        if not any(has_code(column, [code]).any() for column in columns):
            labels = "there are no labels" if not columns else "no row has that label"
            raise InputError(
                f"unlabelled: {code!r} is none of the labels ({labels}); give a label that means 'no label'"
            )
    return codes
