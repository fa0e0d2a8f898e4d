"""The request of a comparison: the two sides as given, how their rows pair, and the resulting spaces and pairs.

With paths as sides, a request can be sent to another machine, which reads the rows itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.given import codes_without_label, ids_of_both, labels_with_ids
from manifold_probe.spaces.pairing import Pair
from manifold_probe.spaces.space import Space
from manifold_probe.spaces.tokens import check_same_tokens

MIN_QUERIES = 20  # of fewer, neither halves nor a reference can be measured


@dataclass(frozen=True)
class Opened:
    """The spaces of a request and their pairs; ``again`` pairs them again, with other labels."""

    teacher: Space
    students: dict[str, Space]
    pairs: dict[str, Pair]
    again: Callable[..., dict[str, Pair]]


@dataclass(frozen=True)
class Request:
    """Two sides and how they pair: the arguments of `compare` with the same names, and students by name."""

    teacher: Any
    students: Mapping[str, Any]
    labels: Any = None
    ids: Any = None
    unlabelled: Any = ()
    ignore_labels: bool = False
    positional: bool = False
    allow_missing: bool = False
    keep_first: bool = False
    rows: str | None = None

    def open(self) -> Opened:
        """Open the spaces, read their ids and labels, and pair them.

        Raises
        ------
        InputError
            When an input cannot be used.
        """
        from manifold_probe.spaces.read import as_space

        labelled = not self.ignore_labels
        teacher = as_space(self.teacher, "teacher", labelled, rows=self.rows)
        students = {name: as_space(given, name, labelled, rows=self.rows) for name, given in self.students.items()}
        for student in students.values():
            check_same_tokens(teacher, student)
        labels, labels_ids = labels_with_ids(self.labels, teacher, self.ids)
        codes = codes_without_label(self.unlabelled, [teacher, *students.values()], labels)
        again = self._pairing(teacher, students, codes)
        pairs = again(labels=labels, labels_ids=labels_ids, ignore_labels=self.ignore_labels)
        return Opened(teacher, students, pairs, again)

    def _pairing(
        self, teacher: Space, students: dict[str, Space], unlabelled: list[Any]
    ) -> Callable[..., dict[str, Pair]]:
        """A function of labels and their ids that pairs every student."""
        from manifold_probe.extraction.agree import check_same_content
        from manifold_probe.spaces.pairing import pair

        if not self.positional:
            for student in students.values():
                check_same_content(teacher.source.path, student.source.path)
        teacher_ids, student_ids = ids_of_both(self.ids, teacher, next(iter(students.values())))
        rules: dict[str, Any] = {
            "positional": self.positional,
            "allow_missing": self.allow_missing,
            "keep_first": self.keep_first,
            "unlabelled": unlabelled,
        }
        return partial(pair, teacher, students, teacher_ids=teacher_ids, student_ids=student_ids, **rules)

    def to_text(self) -> str:
        """The request as JSON.

        Raises
        ------
        InputError
            Where a side is not a path: its rows are in this process alone.
        """
        parts = {part.name: _plain(part.name, getattr(self, part.name)) for part in fields(self)}
        return json.dumps(parts, sort_keys=True)

    @classmethod
    def of_text(cls, text: str) -> Request:
        """The request that `to_text` wrote."""
        parts = json.loads(text)
        ids = parts["ids"]
        return cls(**parts | {"ids": tuple(ids) if isinstance(ids, list) else ids})


def _plain(name: str, given: Any) -> Any:
    """A part of a request for JSON."""
    if given is None or isinstance(given, str | bool | int):
        return given
    if isinstance(given, Path | np.integer | np.str_):
        return given.item() if isinstance(given, np.generic) else str(given)
    if isinstance(given, Mapping):
        return {key: _plain(key, value) for key, value in given.items()}
    if (isinstance(given, list | tuple) and len(given) <= 2) or name == "unlabelled":
        return [_plain(name, value) for value in given]
    raise InputError(f"executor: {name} is in memory, where no worker can read it; save it to a file and give the path")


def check_rows(pairs: dict[str, Pair], settings: dict[str, Any]) -> None:
    """Refuse settings that do not fit the number of paired rows. Raises InputError."""
    rows, k, queries = next(iter(pairs.values())).teacher.n, settings["k"], settings["queries"]
    if k >= rows:
        raise InputError(f"k is {k} but {rows:,} rows are paired; give a k below {rows} or more rows")
    if queries < min(rows, MIN_QUERIES):
        raise InputError(f"queries is {queries} of {rows:,} rows; give a whole number of at least {MIN_QUERIES}")
