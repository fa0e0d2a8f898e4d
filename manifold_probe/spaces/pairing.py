"""Pairing: which teacher row belongs to which student row, decided once.

Ids on both sides join, in the teacher's row order; without ids rows pair by position and nothing vouches for it. All
students end on the same teacher rows, so that they can be compared row by row.
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
    """Two spaces whose i-th rows belong together.

    ``by`` is "id" or "position"; ``coverage`` the share of all rows (of the larger side) that are in the pair;
    ``verified`` whether ids on both sides vouch for the pairing; ``ids`` and ``labels`` (n,) in the paired row order,
    ``labels`` None where no row has one; ``unlabelled`` how many rows lack a label that others have, or that a column
    was there for. ``label_conflicts`` says in how many rows the labels of the two files disagree, by the best
    one-to-one recoding where ``recoded``; ``label_conflicts_as_written`` without one. ``copies_left_out``: how many
    rows of both sides repeated an earlier one, id and vector, and were left out.
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
    """For each paired row its place in the teacher (ascending) and in the student."""

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
    """Each student paired with the teacher, all on the same teacher rows.

    Parameters
    ----------
    teacher, students
        The spaces; every student is named.
    teacher_ids, student_ids : np.ndarray, shape (n,), optional
        Ids that replace those of the teacher, and of every student.
    labels : np.ndarray, shape (m,), optional
        Labels in the teacher's row order, or joined by ``labels_ids`` (m,), which may name a part of the rows alone. By
        default the teacher's own labels, else the student's.
    positional : bool
        Pair by position and ignore the ids.
    allow_missing : bool
        Go on with the rows that found a partner; otherwise every row must.
    unlabelled : values
        Labels that mean "no label", in addition to what `spaces.labels` takes for that.
    ignore_labels : bool
        Go on as if the spaces had no labels; ``labels`` still count.
    keep_first : bool
        Where one id stands on several identical rows, as the copies do that a distributed sampler adds, keep the first.

    Raises
    ------
    InputError
        Duplicate ids (with ``keep_first``: whose rows differ), ids on one side only, unmatched rows, different row
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
        teacher, students = _bare(teacher), {name: _bare(space) for name, space in students.items()}
    codes = list(unlabelled)
    teacher, students = _marked(teacher, codes), {name: _marked(space, codes) for name, space in students.items()}
    given = _given_labels(teacher, labels, labels_ids, positional)
    given = None if given is None else marked(given, codes)
    before, originals = teacher, students
    if keep_first:
        teacher, students, rows = _without_copies(teacher, students)
        given = None if given is None else given[rows]
    matches = {name: _match(teacher, space, positional, allow_missing) for name, space in students.items()}
    kept = _kept_rows(teacher, matches)
    pairs = {}
    for name, space in students.items():
        match = matches[name]
        rows = match.student[np.searchsorted(match.teacher, kept)]
        copies = before.n - teacher.n + originals[name].n - space.n
        pairs[name] = replace(_paired(teacher, space, kept, rows, match, given), copies_left_out=copies)
    return pairs


def _match(teacher: Space, student: Space, positional: bool, allow_missing: bool) -> _Match:
    if positional or (teacher.ids is None and student.ids is None):
        if teacher.n != student.n:
            hint = "" if positional else "; add ids to both files, or make the row counts agree"
            raise bad(
                student.name,
                f"has {student.n:,} rows and {teacher.name} has {teacher.n:,}, so they cannot pair by position{hint}",
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
    place = locate(left, right)
    rows = np.flatnonzero(place >= 0)
    if not allow_missing and (len(rows) < teacher.n or len(rows) < student.n):
        lost = np.setdiff1d(np.arange(student.n), place[rows], assume_unique=True)
        raise bad(
            student.name,
            f"does not match {teacher.name} by id: {_unmatched(left[place < 0])} of the teacher's and "
            f"{_unmatched(right[lost])} of the student's are alone; fix the ids or keep the common rows "
            "with --allow-missing (allow_missing=True)",
        )
    return _Match(rows, place[rows], "id", True)


def _ids_to_give(space: Space, side: str) -> str:
    """What to do about a space without ids: name the column that may hold them."""
    key = space.source.id_candidate
    if key is None:
        return "add ids to it"
    option = space.source.ids_option(side) if space.source.path else f"ids=(..., the column '{key}')"
    return f"'{key}' may hold them: give {option}"


def _unmatched(ids: np.ndarray) -> str:
    return f"{len(ids):,}" + (f" ({_named(ids)})" if len(ids) else "")


def _named(ids: np.ndarray) -> str:
    named = ", ".join(repr(item) for item in ids[:3].tolist())
    return named + (", ..." if len(ids) > 3 else "")


def _check_unique(space: Space, of_rows: bool = True) -> None:
    """Refuse ids that stand several times, saying of rows whether these are copies."""
    later, first = _repeated(np.asarray(space.ids))
    if not len(later):
        return
    fix = "; make every id unique"
    if of_rows and _differing(space, later, first).any():
        fix = ", and rows under one id differ; make every id unique"
    elif of_rows:
        fix = " whose rows are identical; keep the first of each with --keep-first (keep_first=True)"
    sample = np.asarray(space.ids)[later[:1]].tolist()[0]
    raise bad(space.name, f"ids hold {len(later):,} duplicates (such as {sample!r}){fix}")


def _without_copies(teacher: Space, students: dict[str, Space]) -> tuple[Space, dict[str, Space], np.ndarray]:
    """All spaces with the first of identical rows under one id, and which of the teacher's rows these are."""
    if teacher.ids is None and all(space.ids is None for space in students.values()):
        raise bad(teacher.name, "has no ids, by which --keep-first (keep_first=True) knows copies; add ids")
    rows = _first_rows(teacher)
    firsts = {name: _rows_of(space, _first_rows(space)) for name, space in students.items()}
    return _rows_of(teacher, rows), firsts, rows


def _first_rows(space: Space) -> np.ndarray:
    """The rows without those that repeat an earlier one, id and vector."""
    if space.ids is None:
        return np.arange(space.n)
    later, first = _repeated(np.asarray(space.ids))
    differing = later[_differing(space, later, first)]
    if len(differing):
        named = _unmatched(np.unique(np.asarray(space.ids)[differing]))
        raise bad(space.name, f"rows under one id differ for {named} ids, so none is a copy; make every id unique")
    return np.delete(np.arange(space.n), later)


def _repeated(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows whose id stood before, in ascending order, and for each the first row with that id."""
    _, first, group = np.unique(ids, return_index=True, return_inverse=True)
    first = first[group]
    later = np.flatnonzero(first != np.arange(len(ids)))
    return later, first[later]


def _differing(space: Space, later: np.ndarray, first: np.ndarray) -> np.ndarray:
    """For each pair of rows whether they differ, a block at a time."""
    different = np.zeros(len(later), dtype=bool)
    for start in range(0, len(later), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        different[part] = (space.take(later[part]) != space.take(first[part])).any(axis=1)
    return different


def _comparable(left: np.ndarray | None, right: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Both as they are when of one kind, else both as strings: 7 matches "7"."""
    left, right = np.asarray(left), np.asarray(right)
    return (left, right) if left.dtype.kind == right.dtype.kind else (left.astype(str), right.astype(str))


def locate(wanted: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """For each of ``wanted`` (m,) its place in the unique ``ids`` (n,), or -1.

    >>> locate(np.array([5, 7]), np.array([7, 8]))
    array([-1,  0])
    """
    if np.array_equal(wanted, ids):
        return np.arange(len(ids))
    if not len(ids):
        return np.full(len(wanted), -1)
    order = np.argsort(ids, kind="stable")
    place = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
    return np.where(ids[place] == wanted, place, -1)


def _kept_rows(teacher: Space, matches: dict[str, _Match]) -> np.ndarray:
    kept = np.arange(teacher.n)
    for match in matches.values():
        kept = np.intersect1d(kept, match.teacher, assume_unique=True)
    if len(kept) < 2:
        raise bad(
            teacher.name,
            f"only {len(kept)} of its {teacher.n:,} rows are in every student; at least 2 are needed, compare the ids",
        )
    return kept


def _paired(
    teacher: Space, student: Space, kept: np.ndarray, rows: np.ndarray, match: _Match, given: np.ndarray | None
) -> Pair:
    larger = max(teacher.n, student.n)
    teacher, student = _rows_of(teacher, kept), _rows_of(student, rows)
    known = [labels for labels in (teacher.labels, student.labels) if labels is not None]
    known = known if given is None else [given[kept]]
    known.sort(key=lambda labels: not is_labelled(labels).any())  # stable: the teacher's first, where it has any
    written = conflicting = without = 0
    if teacher.labels is not None and student.labels is not None:
        written, conflicting = conflicts(teacher.labels, student.labels, match.verified)
    if known:
        without = int((~is_labelled(known[0])).sum())
    return Pair(
        teacher=teacher,
        student=student,
        ids=teacher.ids if teacher.ids is not None else student.ids,
        labels=known[0] if without < len(kept) and known else None,
        by=match.by,
        coverage=len(kept) / larger,
        verified=match.verified,
        label_conflicts=conflicting,
        label_conflicts_as_written=written,
        unlabelled=without,
    )


def _bare(space: Space) -> Space:
    return space.with_labels(None)


def _marked(space: Space, unlabelled: list[Any]) -> Space:
    if space.labels is None:
        return space
    return space.with_labels(marked(clean_column(space.labels, "labels", space.name, space.n), unlabelled))


def _rows_of(space: Space, rows: np.ndarray) -> Space:
    # Rows already in place keep their fast contiguous reads.
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
    known = Space(labels[:, None], ids=clean_column(labels_ids, "ids", "labels", len(labels)), name="labels")
    _check_unique(known, of_rows=False)
    wanted, ids = _comparable(teacher.ids, known.ids)
    place = locate(wanted, ids)
    if (place < 0).all():
        raise InputError(
            f"labels: none of {teacher.name}'s ids ({_named(wanted)}) is in the table, which has {_named(ids)}; "
            "write the ids alike"
        )
    none = NO_NAME if labels.dtype.kind == "U" else NO_INTEGER
    return np.where(place < 0, none, labels[place])  # a table may cover a part of the rows
