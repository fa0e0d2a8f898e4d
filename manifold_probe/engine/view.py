"""A view: the rows of a space as they are measured, made block by block from the rows as stored.

rows over 2^exponent -> some of the columns -> onto directions, with one more constant column
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifold_probe.engine.scale import divided
from manifold_probe.spaces.space import Space


@dataclass(frozen=True, eq=False)
class View:
    """What is done to rows (m, d) as stored.

    ``exponent``: they are divided by this power of two (see scale.py). ``columns`` are those kept, all by default.
    ``directions`` (d, r): they are projected there, and ``rest`` is put behind as a column.
    """

    exponent: int = 0
    columns: np.ndarray | None = None
    directions: np.ndarray | None = None
    rest: float = 0.0

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """The rows (m, d') as measured, float32 or float64."""
        rows = divided(rows, self.exponent)
        if self.columns is not None:
            rows = rows[:, self.columns]
        if self.directions is not None:
            rows = np.pad(rows.astype(np.float64) @ self.directions, ((0, 0), (0, 1)), constant_values=self.rest)
        return rows

    def width(self, d: int) -> int:
        """Columns of what is made from ``d``."""
        if self.directions is not None:
            return self.directions.shape[1] + 1
        return d if self.columns is None else len(self.columns)


def viewed(space: Space, view: View) -> Space:
    """The space through a view, still read lazily; the space itself where the view changes nothing."""
    if not view.exponent and view.columns is None and view.directions is None:
        return space
    rows = _ViewedRows(space, view)
    return Space(rows, ids=space.ids, labels=space.labels, name=space.name, source=space.source)


def space_divided(space: Space, exponent: int) -> Space:
    """The space with its rows over 2^exponent."""
    return viewed(space, View(exponent))


class _ViewedRows:
    """Rows of a space through a view; ``dtype`` is the stored one, whose rounding they have."""

    def __init__(self, space: Space, view: View) -> None:
        self.space, self.view = space, view
        self.shape = (space.n, view.width(space.d))
        self.dtype = np.dtype(np.float64) if view.directions is not None else space.dtype

    def __len__(self) -> int:
        return self.space.n

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        rows = self.space.read(index.start, index.stop) if isinstance(index, slice) else self.space.take(index)
        return self.view(rows)
