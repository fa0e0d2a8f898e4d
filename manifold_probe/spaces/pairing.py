"""Pairing of teacher rows with student rows.

Rows are joined by id, in the teacher's row order; without ids they are paired by position, which is unverified. All
students get the same teacher rows, so that they can be compared row by row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.checks import bad
from manifold_probe.spaces.columns import clean_column
from manifold_probe.spaces.labels import NO_INTEGER, NO_NAME, conflicts, is_labelled, marked
from manifold_probe.spaces.space import Space

ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Pair:
    """Two spaces whose i-th rows belong to the same item.

    ``by`` is "id" or "position"; ``coverage`` the share of the larger side's rows that are in the pair; ``verified``
    whether ids on both sides confirm the pairing; ``ids`` and ``labels`` (n,) in the paired row order, ``labels`` None
    if no row has one; ``unlabelled`` the number of rows without a label if there is a column of labels.
    ``label_conflicts`` is the number of rows in which the labels of the two files disagree, after the best one-to-one
    recoding if ``recoded``; ``label_conflicts_as_written`` without recoding. ``copies_left_out`` is the number of rows
    of both sides that repeated the id and the vector of an earlier row and were left out.
    """

    teacher: Space
    student: Space
    ids: np.ndarray | None
    labels: np.ndarray | None
    by: str
    coverage: float
    verified: bool
    label_conflicts: int = 0
    unlabelled: int = 0
    label_conflicts_as_written: int = 0
    copies_left_out: int = 0

    @property
    def recoded(self) -> bool:
        """Whether the two files name the same classes differently."""
        return self.label_conflicts < self.label_conflicts_as_written


@dataclass(frozen=True)
class _Match:
    """For each paired row its row in the teacher (ascending) and in the student."""

    teacher: np.ndarray
    student: np.ndarray
    by: str
    verified: bool


def pair(
    teacher: Space,
    students: dict[str, Space],
    *,
    teacher_ids: np.ndarray | None = None,
    student_ids: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    labels_ids: np.ndarray | None = None,
    positional: bool = False,
    allow_missing: bool = False,
    unlabelled: Iterable[Any] = (),
    ignore_labels: bool = False,
    keep_first: bool = False,
) -> dict[str, Pair]:
    """Pair every student with the teacher, all with the same teacher rows.

    Parameters
    ----------
    teacher, students
        The spaces; the students by name.
    teacher_ids, student_ids : np.ndarray, shape (n,), optional
        Ids that replace those of the teacher, and of every student.
    labels : np.ndarray, shape (m,), optional
        Labels in the teacher's row order, or joined by ``labels_ids`` (m,), which may cover only some of the rows. By
        default the teacher's labels, else the student's.
    positional : bool
        Pair by position and ignore the ids.
    allow_missing : bool
        Keep the rows that are on both sides; by default unmatched rows are an error.
    unlabelled : values
        Labels that mean "no label", in addition to those of `spaces.labels`.
    ignore_labels : bool
        Ignore the labels of the spaces; ``labels`` still count.
    keep_first : bool
        Keep the first of identical rows with the same id, such as the copies that a distributed sampler adds.

    Raises
    ------
    InputError
        Duplicate ids (with ``keep_first``: with different rows), ids on one side only, unmatched rows, different row
        counts, fewer than 2 paired rows.

    Examples
    --------
    >>> t = Space(np.eye(3), ids=np.array(["a", "b", "c"]))
    >>> s = Space(np.eye(3)[::-1], ids=np.array(["c", "b", "a"]))
    >>> pair(t, {"student": s})["student"].student.read(0, 1)
    array([[1., 0., 0.]])
    """
    if teacher_ids is not None:
        teacher = teacher.with_ids(clean_column(teacher_ids, "ids", teacher.name, teacher.n))
    if student_ids is not None:
        students = {
            name: space.with_ids(clean_column(student_ids, "ids", space.name, space.n))
            for name, space in students.items()
        }
    if ignore_labels:
        teacher = teacher.with_labels(None)
        students = {name: space.with_labels(None) for name, space in students.items()}
    codes = list(unlabelled)
    teacher, students = _marked(teacher, codes), {name: _marked(space, codes) for name, space in students.items()}
    given = _given_labels(teacher, labels, labels_ids, positional)
    given = None if given is None else marked(given, codes)
    all_of_teacher, all_of_students = teacher, students
    if keep_first:
        teacher, students, rows = _without_copies(teacher, students)
        given = None if given is None else given[rows]
    matches = {name: _match(teacher, space, positional, allow_missing) for name, space in students.items()}
    kept = _kept_rows(teacher, students, matches)
    pairs = {}
    for name, space in students.items():
        match = matches[name]
        rows = match.student[np.searchsorted(match.teacher, kept)]
        copies = all_of_teacher.n - teacher.n + all_of_students[name].n - space.n
        pairs[name] = replace(_paired(teacher, space, kept, rows, match, given), copies_left_out=copies)
    return pairs


def _match(teacher: Space, student: Space, positional: bool, allow_missing: bool) -> _Match:
    if positional or (teacher.ids is None and student.ids is None):
        if teacher.n != student.n:
            hint = "" if positional else "; add ids to both files, or make the row counts agree"
            raise bad(
                student.name,
                f"has {student.n:,} rows and {teacher.name} has {teacher.n:,}, so they cannot be paired by "
                f"position{hint}",
            )
        both = teacher.ids is not None and student.ids is not None
        rows = np.arange(teacher.n)
        return _Match(rows, rows, "position", both and bool(np.array_equal(*_comparable(teacher.ids, student.ids))))
    for with_ids, without in ((teacher, student), (student, teacher)):
        if without.ids is None:
            side = "teacher" if without is teacher else "student"
            raise bad(
                without.name,
                f"has no ids but {with_ids.name} has; {_ids_to_give(without, side)}, "
                "or pair by position with --positional (positional=True)",
            )
    return _match_by_id(teacher, student, allow_missing)


def _match_by_id(teacher: Space, student: Space, allow_missing: bool) -> _Match:
    for space in (teacher, student):
        _check_unique(space)
    left, right = _comparable(teacher.ids, student.ids)
    student_row = locate(left, right)
    rows = np.flatnonzero(student_row >= 0)
    if not allow_missing and (len(rows) < teacher.n or len(rows) < student.n):
        unmatched = np.setdiff1d(np.arange(student.n), student_row[rows], assume_unique=True)
        raise bad(
            student.name,
            f"does not match {teacher.name} by id: {_count_of(left[student_row < 0])} are only there and "
            f"{_count_of(right[unmatched])} only here; fix the ids or keep the common rows "
            "with --allow-missing (allow_missing=True)",
        )
    return _Match(rows, student_row[rows], "id", True)


def _ids_to_give(space: Space, side: str) -> str:
    """The fix for a space without ids, with the column that may hold them."""
    key = space.source.id_candidate
    if key is None:
        return "add ids to it"
    option = space.source.ids_option(side) if space.source.path else f"ids=(..., the column '{key}')"
    return f"'{key}' may hold them: give {option}"


def _count_of(ids: np.ndarray) -> str:
    """ "2 ('a', 'b')"."""
    return f"{len(ids):,}" + (f" ({_named(ids)})" if len(ids) else "")


def _named(ids: np.ndarray) -> str:
    first = ", ".join(repr(item) for item in ids[:3].tolist())
    return first + (", ..." if len(ids) > 3 else "")


def _check_unique(space: Space, of_rows: bool = True) -> None:
    """Refuse duplicate ids; if ``of_rows``, the message states whether rows with the same id are identical."""
    later, first = _repeated(np.asarray(space.ids))
    if not len(later):
        return
    fix = "; make every id unique"
    if of_rows and _differing(space, later, first).any():
        fix = ", and rows with the same id differ; make every id unique"
    elif of_rows:
        fix = " whose rows are identical; keep the first of them with --keep-first (keep_first=True)"
    sample = np.asarray(space.ids)[later[:1]].tolist()[0]
    raise bad(space.name, f"ids hold {len(later):,} duplicates (such as {sample!r}){fix}")


def _without_copies(teacher: Space, students: dict[str, Space]) -> tuple[Space, dict[str, Space], np.ndarray]:
    """The spaces without rows that repeat an earlier id and vector, and the numbers of the teacher's remaining rows."""
    if teacher.ids is None and all(space.ids is None for space in students.values()):
        raise bad(teacher.name, "has no ids, which --keep-first (keep_first=True) needs to recognise copies; add ids")
    rows = _first_rows(teacher)
    firsts = {name: _rows_of(space, _first_rows(space)) for name, space in students.items()}
    return _rows_of(teacher, rows), firsts, rows


def _first_rows(space: Space) -> np.ndarray:
    """The numbers of the rows that do not repeat an earlier id and vector."""
    if space.ids is None:
        return np.arange(space.n)
    later, first = _repeated(np.asarray(space.ids))
    differing = later[_differing(space, later, first)]
    if len(differing):
        count = _count_of(np.unique(np.asarray(space.ids)[differing]))
        raise bad(space.name, f"rows with the same id differ for {count} ids, so they are no copies; make ids unique")
    return np.delete(np.arange(space.n), later)


def _repeated(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows that repeat an earlier id, in ascending order, and for each the first row with that id."""
    _, first, group = np.unique(ids, return_index=True, return_inverse=True)
    first = first[group]
    later = np.flatnonzero(first != np.arange(len(ids)))
    return later, first[later]


def _differing(space: Space, later: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Whether the rows of each pair differ, computed in blocks."""
    different = np.zeros(len(later), dtype=bool)
    for start in range(0, len(later), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        different[part] = (space.take(later[part]) != space.take(first[part])).any(axis=1)
    return different


def _comparable(left: np.ndarray | None, right: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Both unchanged if they are of one kind, else both as strings: 7 matches "7"."""
    left, right = np.asarray(left), np.asarray(right)
    return (left, right) if left.dtype.kind == right.dtype.kind else (left.astype(str), right.astype(str))


def locate(wanted: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """For each of ``wanted`` (m,) its position in the unique ``ids`` (n,), or -1.

    >>> locate(np.array([5, 7]), np.array([7, 8]))
    array([-1,  0])
    """
    if np.array_equal(wanted, ids):
        return np.arange(len(ids))
    if not len(ids):
        return np.full(len(wanted), -1)
    order = np.argsort(ids, kind="stable")
    position = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
    return np.where(ids[position] == wanted, position, -1)


def _kept_rows(teacher: Space, students: dict[str, Space], matches: dict[str, _Match]) -> np.ndarray:
    kept = np.arange(teacher.n)
    for match in matches.values():
        kept = np.intersect1d(kept, match.teacher, assume_unique=True)
    if len(kept) < 2:
        others = next(iter(students.values())).name if len(students) == 1 else "every student"
        raise bad(
            teacher.name,
            f"only {len(kept)} of its {teacher.n:,} rows are in {others}; at least 2 are needed, compare the ids",
        )
    return kept


def _paired(
    teacher: Space, student: Space, kept: np.ndarray, rows: np.ndarray, match: _Match, given: np.ndarray | None
) -> Pair:
    larger = max(teacher.n, student.n)
    teacher, student = _rows_of(teacher, kept), _rows_of(student, rows)
    columns = [labels for labels in (teacher.labels, student.labels) if labels is not None]
    columns = columns if given is None else [given[kept]]
    columns.sort(key=lambda labels: not is_labelled(labels).any())  # stable: the teacher's first, if it has any
    as_written = conflicting = unlabelled = 0
    if teacher.labels is not None and student.labels is not None:
        as_written, conflicting = conflicts(teacher.labels, student.labels, match.verified)
    if columns:
        unlabelled = int((~is_labelled(columns[0])).sum())
    return Pair(
        teacher=teacher,
        student=student,
        ids=teacher.ids if teacher.ids is not None else student.ids,
        labels=columns[0] if unlabelled < len(kept) and columns else None,
        by=match.by,
        coverage=len(kept) / larger,
        verified=match.verified,
        label_conflicts=conflicting,
        label_conflicts_as_written=as_written,
        unlabelled=unlabelled,
    )


def _marked(space: Space, unlabelled: list[Any]) -> Space:
    if space.labels is None:
        return space
    return space.with_labels(marked(clean_column(space.labels, "labels", space.name, space.n), unlabelled))


def _rows_of(space: Space, rows: np.ndarray) -> Space:
    # unchanged rows keep their fast contiguous reads
    return space if np.array_equal(rows, np.arange(space.n)) else space.select(rows)


def _given_labels(
    teacher: Space, labels: np.ndarray | None, labels_ids: np.ndarray | None, positional: bool
) -> np.ndarray | None:
    """The given labels in the teacher's row order."""
    if labels is None:
        return None
    if labels_ids is None or (positional and teacher.ids is None):
        return clean_column(labels, "labels", "labels", teacher.n)
    if teacher.ids is None:
        raise bad(
            teacher.name, "has no ids but the labels have; add ids to it, or give labels in its row order without ids"
        )
    labels = clean_column(labels, "labels", "labels")
    table = Space(labels[:, None], ids=clean_column(labels_ids, "ids", "labels", len(labels)), name="labels")
    _check_unique(table, of_rows=False)
    wanted, ids = _comparable(teacher.ids, table.ids)
    row = locate(wanted, ids)
    if (row < 0).all():
        raise InputError(
            f"labels: none of {teacher.name}'s ids ({_named(wanted)}) is in the table, which has {_named(ids)}; "
            "write the ids the same way in both"
        )
    no_label = NO_NAME if labels.dtype.kind == "U" else NO_INTEGER
    return np.where(row < 0, no_label, labels[row])  # a table may cover only some of the rows
