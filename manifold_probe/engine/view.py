"""A view: the rows of a space as they are measured, computed block by block from the stored rows.

rows / 2^exponent -> some of the columns -> projection on directions, with one more constant column
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifold_probe.engine.scale import divided
from manifold_probe.spaces.space import Space


@dataclass(frozen=True, eq=False)
class View:
    """The map of stored rows (m, d).

    They are divided by 2^``exponent`` (see scale.py). ``columns`` are selected, by default all. With ``directions``
    (d, r) they are projected, and ``rest`` is appended as a constant column.
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
        """The number of columns for ``d`` stored ones."""
        if self.directions is not None:
            return self.directions.shape[1] + 1
        return d if self.columns is None else len(self.columns)


def viewed(space: Space, view: View) -> Space:
    """The space through a view, still read lazily; the space itself if the view changes nothing."""
    if not view.exponent and view.columns is None and view.directions is None:
        return space
    rows = _ViewedRows(space, view)
    return Space(rows, ids=space.ids, labels=space.labels, name=space.name, source=space.source)


def space_divided(space: Space, exponent: int) -> Space:
    """The space with its rows divided by 2^exponent."""
    return viewed(space, View(exponent))


class _ViewedRows:
    """Rows of a space through a view; ``dtype`` is the stored one, because they have its rounding."""

    def __init__(self, space: Space, view: View) -> None:
        self.space, self.view = space, view
        self.shape = (space.n, view.width(space.d))
        self.dtype = np.dtype(np.float64) if view.directions is not None else space.dtype

    def __len__(self) -> int:
        return self.space.n

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        rows = self.space.read(index.start, index.stop) if isinstance(index, slice) else self.space.take(index)
        return self.view(rows)
