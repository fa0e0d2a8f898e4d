"""Read pairs of spaces to evaluate from files of features, labels and logits."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from manifold_probe.extraction.agree import check_same_content
from manifold_probe.spaces.given import labels_with_ids
from manifold_probe.spaces.pairing import Pair, pair
from manifold_probe.spaces.read import as_space, open_contents, split_key
from manifold_probe.spaces.tokens import check_same_tokens


def read_pair(
    teacher: Any,
    student: Any,
    labels: Any = None,
    *,
    positional: bool = False,
    allow_missing: bool = False,
    unlabelled: Iterable[Any] = (),
    ignore_labels: bool = False,
    keep_first: bool = False,
    rows: str | None = None,
) -> Pair:
    """Teacher and student rows joined by id, or by position if there are no ids; with labels, if given.

    Parameters
    ----------
    teacher, student : path, array, tensor, DataFrame or Space
    labels : sequence, path, or table with ids, optional
        Labels in the teacher's row order, or with ids; by default those in the teacher's file, or the student's.
    positional, allow_missing, unlabelled, ignore_labels, keep_first, rows
        As in `compare`.

    Raises
    ------
    InputError
        If a file cannot be used or rows cannot be paired.

    Examples
    --------
    >>> import numpy as np
    >>> read_pair(np.eye(3), 2 * np.eye(3)).by
    'position'
    """
    sides = {"teacher": teacher, "student": student}
    spaces = {name: as_space(side, name, not ignore_labels, rows=rows) for name, side in sides.items()}
    teacher_space = spaces.pop("teacher")
    check_same_tokens(teacher_space, spaces["student"])
    values, ids = labels_with_ids(labels, teacher_space, None)
    paired = pair(
        teacher_space,
        spaces,
        labels=values,
        labels_ids=ids,
        positional=positional,
        allow_missing=allow_missing,
        unlabelled=unlabelled,
        ignore_labels=ignore_labels,
        keep_first=keep_first,
    )["student"]
    if not positional:
        check_same_content(paired.teacher.source.path, paired.student.source.path)
    return paired


def logits_path(path: str) -> str | None:
    """The path of a feature file's logits, ``FILE::logits``, or None; a path that names logits is returned unchanged.

    >>> logits_path("t.npz::logits")
    't.npz::logits'
    """
    file, key = split_key(path)
    if key is not None and key.endswith("logits"):
        return path
    return None if os.path.isdir(file) or "logits" not in open_contents(file).entries else f"{file}::logits"
