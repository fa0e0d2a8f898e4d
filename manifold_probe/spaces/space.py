"""A space: N rows of d numbers with ids, read in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.contents import is_bfloat16, type_name

if TYPE_CHECKING:
    from manifold_probe.spaces.affine import Map

BLOCK_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Source:
    """The source of a space: the file (None for arrays in memory), the key in it and the name of the format.

    ``id_candidate`` is a column stored with the features that may hold ids, if none is called ids. ``columns_left``
    gives the numeric columns that are not dimensions, with the reason. ``tokens`` is the number of rows per set of
    vectors, where every token is a row. ``lost`` says what an index no longer holds of the vectors.
    """

    path: str | None = None
    key: str | None = None
    format: str = "array"
    id_candidate: str | None = None
    columns_left: dict[str, str] = field(default_factory=dict)
    tokens: int | None = None
    lost: str | None = None

    def ids_option(self, side: str) -> str:
        """The command-line option that uses the candidate as ids.

        >>> Source("my file.csv", id_candidate="pk").ids_option("teacher")
        "--teacher-ids 'my file.csv::pk'"
        """
        return f"--{side}-ids {quote(f'{self.path}::{self.id_candidate}')}"


class Space:
    """N rows of d numbers, with their ids and labels if known.

    Rows are read in blocks as float32 (from float16, bfloat16, float32 and integers up to 16 bits) or float64 (from
    float64 and wider integers), so that no value loses precision and a memory-mapped file is never loaded as a whole.

    Parameters
    ----------
    rows : array-like, shape (n, d)
        A numpy array (memory-mapped or not), a CPU torch tensor, or anything with ``shape``, ``dtype`` and slicing by
        ``rows[a:b]`` and ``rows[index_array]``.
    ids, labels : sequence of length n, optional
        Row ids and class labels, integers or strings, in a list, array, tensor, Series or Index. For rows without a
        label see `spaces.labels`.
    name : str
        The name of this space in messages: the path as the user typed it, or "teacher", "student".
    source : Source, optional
        The source of the rows.

    Raises
    ------
    InputError
        If rows are not a matrix (`as_space` takes lists, dicts and DataFrames), or ids or labels are not one integer or
        string per row.

    Examples
    --------
    >>> import numpy as np
    >>> space = Space(np.arange(6).reshape(3, 2), ids=["a", "b", "c"])
    >>> space.n, space.d
    (3, 2)
    >>> space.select(np.array([2, 0])).read(0, 1)
    array([[4., 5.]])
    """

    def __init__(
        self,
        rows: Any,
        *,
        ids: Any = None,
        labels: Any = None,
        name: str = "array",
        source: Source | None = None,
        order: np.ndarray | None = None,
    ) -> None:
        unsupported = isinstance(rows, np.ma.MaskedArray) or type(rows).__module__.startswith("scipy.sparse")
        is_array = hasattr(rows, "dtype") and not unsupported
        if not is_array or len(getattr(rows, "shape", ())) != 2:
            what = f"shape {tuple(rows.shape)}" if is_array else f"type {type(rows).__name__}"
            raise InputError(f"{name}: rows have {what}; give a matrix (n, d), or convert it with as_space")
        self._rows = rows
        self._order = order
        self.name = name
        self.source = source or Source()
        self.ids = self._column(ids, "ids")
        self.labels = self._column(labels, "labels")

    def __repr__(self) -> str:
        return f"<Space {self.name}: {self.n:,} x {self.d:,} {self.dtype}>"

    def _column(self, values: Any, role: str) -> np.ndarray | None:
        """Values (n,) as int64 or str; arrays of these types are not copied."""
        if values is None:
            return None
        if (
            type(values) is np.ndarray
            and values.shape == (self.n,)
            and (values.dtype == np.int64 or values.dtype.kind == "U")
        ):
            return values
        from manifold_probe.spaces.columns import clean_column

        return clean_column(values, role, self.name, self.n)

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self._rows) if self._order is None else len(self._order)

    @property
    def d(self) -> int:
        """Number of dimensions."""
        return int(self._rows.shape[1])

    @property
    def dtype(self) -> str:
        """The stored type, such as "float16" or "bfloat16"."""
        dtype = self._rows.dtype
        return type_name(dtype) if isinstance(dtype, np.dtype) else str(dtype).removeprefix("torch.")

    @property
    def order(self) -> np.ndarray | None:
        """The numbers (n,) of these rows in the stored rows; None for all rows in stored order."""
        return self._order

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop as a float32 or float64 array (stop - start, d)."""
        stop = min(stop, self.n)
        return as_float(self._rows[start:stop] if self._order is None else self._rows[self._order[start:stop]])

    def take(self, index: np.ndarray) -> np.ndarray:
        """The rows at ``index`` (m,), in that order, as a float32 or float64 array (m, d)."""
        return as_float(self._rows[index if self._order is None else self._order[index]])

    def blocks(self, size: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """(start, rows) over the whole space; ``size`` rows at a time, by default about 32 MiB of float32."""
        size = size or max(1, BLOCK_BYTES // (4 * self.d))
        for start in range(0, self.n, size):
            yield start, self.read(start, start + size)

    def with_ids(self, ids: np.ndarray | None) -> Space:
        """The same rows with other ids (n,)."""
        return Space(self._rows, ids=ids, labels=self.labels, name=self.name, source=self.source, order=self._order)

    def with_labels(self, labels: np.ndarray | None) -> Space:
        """The same rows with other labels (n,)."""
        return Space(self._rows, ids=self.ids, labels=labels, name=self.name, source=self.source, order=self._order)

    def apply(self, map: Map) -> Space:
        """The rows mapped by an affine `Map`, still read lazily.

        Raises
        ------
        InputError
            If the map takes rows of another width.
        """
        from manifold_probe.spaces.affine import MappedRows

        return Space(
            MappedRows(self._rows, map),
            ids=self.ids,
            labels=self.labels,
            name=self.name,
            source=Source(format="mapped"),
            order=self._order,
        )

    def select(self, index: np.ndarray) -> Space:
        """The rows at ``index``, in that order, still read lazily."""
        return Space(
            self._rows,
            ids=None if self.ids is None else self.ids[index],
            labels=None if self.labels is None else self.labels[index],
            name=self.name,
            source=self.source,
            order=index if self._order is None else self._order[index],
        )


def to_numpy(block: Any) -> np.ndarray:
    """A numpy array of the same values; floats for which numpy has no type (bfloat16, float8) become float32."""
    if isinstance(block, np.ndarray):
        if is_bfloat16(block.dtype):  # the upper half of a float32
            return (np.ascontiguousarray(block).view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        return block
    if str(getattr(block, "dtype", "")).startswith("torch."):
        if block.dtype.is_floating_point and block.element_size() <= 2:
            block = block.float()
        return np.asarray(block.detach().cpu().numpy())
    return np.asarray(block)


def as_float(block: Any) -> np.ndarray:
    """The block as float32, or as float64 if its type needs it."""
    block = to_numpy(block)
    fits_float32 = block.dtype.kind in "fiu" and block.dtype.itemsize <= (4 if block.dtype.kind == "f" else 2)
    return np.ascontiguousarray(block, dtype=np.float32 if fits_float32 else np.float64)
