"""What a student is given: a tensor, a list, a dict of columns, a data set or a loader, as batches of chosen rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from manifold_probe.errors import InputError

BATCH = 128  # rows, where no loader says another number
TARGETS = ("label", "labels", "label_ids")  # columns that a model's features do not need


class Inputs:
    """Rows of ``given`` in its order; of a loader, those of its data set, however it shuffles.

    Raises
    ------
    InputError
        If the rows cannot be counted and chosen, as of an iterable data set.
    """

    def __init__(self, given: Any) -> None:
        self.collate: Callable[[list[Any]], Any] = torch.utils.data.default_collate
        self.size = BATCH
        if isinstance(given, torch.utils.data.DataLoader):
            self.collate, self.size, given = given.collate_fn, given.batch_size or BATCH, given.dataset
        self.data = dict(given) if isinstance(given, Mapping) else given
        columns = list(self.data.values()) if isinstance(self.data, dict) else [self.data]
        if not columns or not all(hasattr(column, "__len__") and hasattr(column, "__getitem__") for column in columns):
            kind = type(given).__name__
            raise InputError(f"inputs: {kind} has no rows to choose; give a tensor, a list or a data set with a length")
        lengths = {len(column) for column in columns}
        if len(lengths) > 1:
            raise InputError(f"inputs: the columns have {sorted(lengths)} rows; give columns of one length")
        (self.n,) = lengths

    def batches(self, rows: np.ndarray) -> list[Any]:
        """The chosen rows (n,) in batches."""
        return [self.batch(rows[start : start + self.size]) for start in range(0, len(rows), self.size)]

    def batch(self, rows: np.ndarray) -> Any:
        """One batch: arrays are sliced, texts stay a list, items of a data set are collated."""
        if isinstance(self.data, dict):
            return {name: _taken(column, rows) for name, column in self.data.items() if name not in TARGETS}
        if isinstance(self.data, torch.Tensor | np.ndarray):
            return _taken(self.data, rows)
        items = [self.data[int(row)] for row in rows]
        return items if isinstance(items[0], str) else self.collate(items)

    def hashes(self, rows: np.ndarray) -> set[str]:
        """The hashes of what the rows hold, without their labels."""
        return {_hash(self.batch(rows[place : place + 1])) for place in range(len(rows))}


def shared_rows(watched: Inputs, rows: np.ndarray, trained: Any, ids: Any = None) -> int:
    """How many of the watched rows are among what is trained on, by their ids, or by what they hold."""
    if ids is not None:
        return len(set(map(str, np.asarray(ids)[rows].tolist())) & set(map(str, np.asarray(trained).tolist())))
    training = Inputs(trained)
    return len(watched.hashes(rows) & training.hashes(np.arange(training.n)))


def first_of(batch: Any) -> Any:
    """The input in a batch (input, target); a batch that is nothing but the input."""
    return batch[0] if isinstance(batch, list | tuple) and not isinstance(batch[0], str) else batch


def moved(batch: Any, device: torch.device | None) -> Any:
    """The batch with its tensors on a device."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {name: moved(value, device) for name, value in batch.items() if name not in TARGETS}
    return type(batch)(moved(value, device) for value in batch) if type(batch) in (list, tuple) else batch


def _taken(column: Any, rows: np.ndarray) -> Any:
    if isinstance(column, torch.Tensor | np.ndarray):
        return torch.as_tensor(column[rows])
    return [column[int(row)] for row in rows]


def _hash(batch: Any) -> str:
    batch = first_of(batch)
    if isinstance(batch, Mapping):
        return "".join(_hash(batch[name]) for name in sorted(batch) if name not in TARGETS)
    content = batch.detach().cpu().numpy().tobytes() if isinstance(batch, torch.Tensor) else repr(batch).encode()
    return hashlib.sha256(content).hexdigest()
