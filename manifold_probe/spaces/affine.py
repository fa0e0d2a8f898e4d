"""An affine map from one space to another, saved as a .safetensors file.

z = x A + b
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.files import write_whole
from manifold_probe.spaces.checks import bad, check_file, refusing

FORMAT = "manifold-probe/map/1"
KIND = "affine"


@dataclass(frozen=True, eq=False)
class Map:
    """An affine map of rows.

    Parameters
    ----------
    A : np.ndarray, shape (d, d_out)
    b : np.ndarray, shape (d_out,)
    facts : dict of str, optional
        Further metadata in the file: how the map was fitted, and on which spaces.
    name : str
        Its name in messages: the path as the user typed it, or "map".

    Examples
    --------
    >>> import numpy as np
    >>> Map(2 * np.eye(2), np.ones(2)).apply(np.array([[1.0, 2.0]]))
    array([[3., 5.]])
    """

    A: np.ndarray
    b: np.ndarray
    facts: Mapping[str, str] = field(default_factory=dict)
    name: str = "map"

    def __post_init__(self) -> None:
        if self.A.ndim != 2 or self.b.shape != self.A.shape[1:] or not self.A.size:
            shapes = f"{tuple(self.A.shape)} and {tuple(self.b.shape)}"
            raise InputError(f"map: A and b have shapes {shapes}; give (d, d_out) and (d_out,)")
        if not (np.isfinite(self.A).all() and np.isfinite(self.b).all()):
            raise InputError("map: A or b holds NaN or infinity; fit it again on finite features")

    @property
    def width_in(self) -> int:
        """Dimensions of the input rows."""
        return int(self.A.shape[0])

    @property
    def width_out(self) -> int:
        """Dimensions of the output rows."""
        return int(self.A.shape[1])

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Rows (..., d) mapped to (..., d_out), in their float type; integers become float32.

        Raises
        ------
        InputError
            For rows of another width.
        """
        if rows.shape[-1] != self.width_in:
            raise InputError(
                f"{self.name}: takes {self.width_in:,} dimensions, not {rows.shape[-1]:,}; give features of that width"
            )
        rows = rows if rows.dtype.kind == "f" else rows.astype(np.float32)
        return rows @ self.A.astype(rows.dtype) + self.b.astype(rows.dtype)

    def __call__(self, rows: Any) -> np.ndarray:
        """One vector (d,), or rows (..., d), mapped; lists are taken too.

        >>> Map(2 * np.eye(2), np.ones(2))([1.0, 2.0])
        array([3., 5.])
        """
        return self.apply(np.asarray(rows))

    def save(self, path: str | Path) -> None:
        """Write the tensors ``A`` and ``b``, with the facts as metadata; the whole file or none, always the same bytes.

        Raises
        ------
        InputError
            If the path cannot be written to.
        """
        arrays = {"A": np.asarray(self.A, "<f4", order="C"), "b": np.asarray(self.b, "<f4", order="C")}
        header: dict[str, object] = {"__metadata__": {"format": FORMAT, "kind": KIND, **self.facts}}
        start = 0
        for name, array in arrays.items():
            header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [start, start + array.nbytes]}
            start += array.nbytes
        # not with safetensors: the order of its metadata differs from run to run
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        data = b"".join(array.tobytes() for array in arrays.values())
        write_whole(path, len(text).to_bytes(8, "little") + text + data)

    @classmethod
    def load(cls, path: str | Path) -> Map:
        """Read a saved map.

        Raises
        ------
        InputError
            If the file cannot be read or holds no affine map.
        """
        from safetensors import safe_open

        path = str(path)
        check_file(path)
        with refusing(path, "a map (.safetensors)"), safe_open(path, "numpy") as file:
            facts = dict(file.metadata() or {})
            if facts.pop("format", None) != FORMAT or facts.pop("kind", None) != KIND or set(file.keys()) != {"A", "b"}:
                raise bad(path, "holds no affine map; give one written by probe diagnose --save-repair or Map.save")
            matrix, offset = file.get_tensor("A"), file.get_tensor("b")
        try:
            return cls(matrix, offset, facts, path)
        except InputError as error:
            raise bad(path, str(error).removeprefix("map: ")) from error


class MappedRows:
    """Rows that are mapped when they are sliced; ``rows`` are those of a `Space`."""

    def __init__(self, rows: object, map: Map) -> None:
        self.rows, self.map = rows, map
        self.dtype = self[:1].dtype
        self.shape = (len(rows), map.width_out)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: object) -> np.ndarray:
        from manifold_probe.spaces.space import as_float

        return self.map.apply(as_float(self.rows[index]))  # type: ignore[index]
