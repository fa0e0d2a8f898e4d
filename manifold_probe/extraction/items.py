"""The items of a data source: named images or texts, whose content is read one at a time."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.checks import bad

Content = Any  # a PIL image in RGB, or a str
Reader = Callable[[int, str], tuple[Content, bytes]]  # (row, id) -> content and the bytes it was made from; picklable
RawReader = Callable[[int, str], bytes]  # only the bytes


class Unreadable(InputError):
    """An item that cannot be used, with its ``id`` and the ``reason``."""

    def __init__(self, id: str, reason: str) -> None:
        super().__init__(id, reason)  # both, for pickling
        self.id = id
        self.reason = " ".join(reason.split())[:200]

    def __str__(self) -> str:
        return f"{self.id if self.id.isprintable() else repr(self.id)}: {self.reason}"


@dataclass(frozen=True)
class Item:
    """The content of one row, a PIL image in RGB or a str, and the SHA-256 of the bytes that it was made from."""

    content: Content
    digest: str


@dataclass(frozen=True, eq=False)
class Data:
    """Images or texts with ids, labels and slices; picklable, and safe to read from many threads and processes.

    Attributes
    ----------
    kind : "images" or "texts"
    source : str
        The source as the user typed it.
    ids : np.ndarray of str, shape (n,)
        Unique names that stay the same if the data is opened again, in another folder, or with more rows.
    labels : np.ndarray of int64 or str, shape (n,), or None
    slices : dict of np.ndarray, each of shape (n,)
        Further columns, by name.
    listing : str
        SHA-256 of kind, ids, labels and slices, without the content. The same data in another folder or format has the
        same listing.
    """

    kind: str
    source: str
    ids: np.ndarray
    labels: np.ndarray | None
    slices: dict[str, np.ndarray]
    listing: str
    reader: Reader
    raw: RawReader

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.ids)

    def read(self, row: int) -> Item:
        """The item at ``row``. Raises Unreadable if its content cannot be used."""
        content, raw = self.reader(row, str(self.ids[row]))
        return Item(content, hashlib.sha256(raw).hexdigest())

    def digest(self, row: int) -> str | None:
        """The digest of `read`, without decoding; None if the bytes cannot be read."""
        try:
            return hashlib.sha256(self.raw(row, str(self.ids[row]))).hexdigest()
        except Unreadable:
            return None


def make_data(
    kind: str,
    source: str,
    ids: np.ndarray,
    labels: np.ndarray | None,
    slices: dict[str, np.ndarray],
    reader: Reader,
    raw: RawReader,
) -> Data:
    """The data, after a check of its ids.

    Raises InputError if there are none, one is empty or not unique, or a name is not UTF-8, which tables need.
    """
    if not len(ids):
        raise bad(source, f"holds no {kind}; give data with at least one row")
    for column in (ids, labels, *slices.values()):
        if column is not None and column.dtype.kind == "U":
            _refuse_other_than_utf8(source, column)
    if (ids == "").any():
        raise bad(source, f"has an empty id in row {int(np.argmax(ids == ''))}; give every row a name")
    names, first, counts = np.unique(ids, return_index=True, return_counts=True)
    if len(names) < len(ids):
        repeated = np.flatnonzero(counts > 1)
        at = repeated[np.argmin(first[repeated])]
        raise bad(
            source, f"has {len(repeated):,} duplicate ids, such as '{names[at]}' ({counts[at]} times); make them unique"
        )
    return Data(kind, source, ids, labels, slices, _listing(kind, ids, labels, slices), reader, raw)


def _refuse_other_than_utf8(source: str, column: np.ndarray) -> None:
    cells = column.tolist()
    try:
        "".join(cells).encode()
    except UnicodeEncodeError as error:
        name = next(cell for cell in cells if error.object[error.start] in cell)
        raise bad(source, f"holds the name {ascii(name)[:80]}, which is not UTF-8; rename it") from error


def _listing(kind: str, ids: np.ndarray, labels: np.ndarray | None, slices: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    columns = [("ids", ids), ("labels", labels), *((f"slice {name}", slices[name]) for name in sorted(slices))]
    for name, column in columns:
        digest.update(json.dumps([kind, name, None if column is None else column.tolist()]).encode())
    return digest.hexdigest()


def content_names(contents: Iterable[bytes]) -> np.ndarray:
    """Ids for rows without ids: 16 digits of the SHA-256 of their content, with "-2" and so on for copies.

    Row numbers would change if a row is dropped or moved.

    >>> content_names([b"cat", b"dog", b"cat"]).tolist()
    ['77af778b51abd4a3', 'cd6357efdd966de8', '77af778b51abd4a3-2']
    """
    seen: Counter[str] = Counter()
    names = []
    for content in contents:
        name = hashlib.sha256(content).hexdigest()[:16]
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return np.array(names, dtype=str)
