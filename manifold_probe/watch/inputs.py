"""What a student is given: arrays, texts, columns, a data set or a loader, as batches of chosen rows."""

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
        self.collate: Callable[[list[Any]], Any] = stacked
        self.size = BATCH
        if isinstance(given, torch.utils.data.DataLoader):
            if given.batch_sampler is not None:  # else it collates nothing
                self.collate = given.collate_fn
            self.size, given = given.batch_size or BATCH, given.dataset
        if hasattr(given, "iloc"):  # of pandas, whose [] looks up names
            given = given.to_dict("list") if given.ndim == 2 else given.tolist()
        if isinstance(given, np.ndarray) and given.dtype.kind in "OU":
            given = given.tolist()
        self.data = dict(given) if isinstance(given, Mapping) else given
        columns = list(self.data.values()) if isinstance(self.data, dict) else [self.data]
        iterable = isinstance(given, torch.utils.data.IterableDataset)
        if iterable or not columns or not all(hasattr(x, "__len__") and hasattr(x, "__getitem__") for x in columns):
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
        """One batch: arrays are sliced, texts stay a list, other items are collated. Raises InputError."""
        try:
            if isinstance(self.data, dict):
                return {name: _taken(column, rows) for name, column in self.data.items() if name not in TARGETS}
            return _taken(self.data, rows, self.collate)
        except (TypeError, ValueError, RuntimeError, KeyError, IndexError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            fix = "give rows of one size, or a DataLoader with a collate function that pads them"
            raise InputError(f"inputs: rows {rows[0]} to {rows[-1]} make no batch ({why}); {fix}") from error

    def hashes(self, rows: np.ndarray) -> list[str]:
        """For each row the hash of what it holds, without its label."""
        return [_hash(self.batch(rows[place : place + 1])) for place in range(len(rows))]


def stacked(items: list[Any]) -> Any:
    """Rows as one batch: numbers and tensors stacked, lists of numbers as a tensor, texts as a list, parts apart.

    >>> stacked([{"input_ids": [1, 2], "text": "a"}, {"input_ids": [3, 4], "text": "b"}])
    {'input_ids': tensor([[1, 2],
            [3, 4]]), 'text': ['a', 'b']}
    """
    first = items[0]
    if isinstance(first, str):
        return items
    if isinstance(first, Mapping):
        return {name: stacked([item[name] for item in items]) for name in first if name not in TARGETS}
    if isinstance(first, list) and first and isinstance(first[0], int | float | list):
        return torch.tensor(items)
    if isinstance(first, list | tuple):
        return [stacked(list(part)) for part in zip(*items, strict=True)]
    return torch.utils.data.default_collate(items)


def shared_rows(watched: Inputs, rows: np.ndarray, trained: Any, ids: Any = None) -> int:
    """How many of the watched rows are among what is trained on, by their ids, or by what they hold."""
    if ids is not None:
        keys, known = np.asarray(ids)[rows].astype(str), np.asarray(trained).astype(str)
        return int(np.isin(keys, known).sum())
    training = Inputs(trained)
    return int(np.isin(watched.hashes(rows), training.hashes(np.arange(training.n))).sum())


def first_of(batch: Any) -> Any:
    """The input in a batch (input, target); a batch that is nothing but the input."""
    return batch[0] if isinstance(batch, list | tuple) and not isinstance(batch[0], str) else batch


def moved(batch: Any, like: torch.Tensor | None) -> Any:
    """The batch with its tensors on the device of a model's parameter, and its floats of the same type."""
    if isinstance(batch, torch.Tensor) and like is not None:
        return batch.to(like.device, like.dtype if batch.is_floating_point() else None)
    if isinstance(batch, Mapping):
        return {name: moved(value, like) for name, value in batch.items() if name not in TARGETS}
    return type(batch)(moved(value, like) for value in batch) if type(batch) in (list, tuple) else batch


def _taken(column: Any, rows: np.ndarray, collate: Callable[[list[Any]], Any] = stacked) -> Any:
    if isinstance(column, torch.Tensor | np.ndarray):
        return torch.as_tensor(column[rows])
    items = [column[int(row)] for row in rows]
    return items if isinstance(items[0], str) else collate(items)


def _hash(batch: Any) -> str:
    batch = first_of(batch)
    if isinstance(batch, Mapping):
        return "".join(_hash(batch[name]) for name in sorted(batch) if name not in TARGETS)
    content = batch.detach().cpu().numpy().tobytes() if isinstance(batch, torch.Tensor) else repr(batch).encode()
    return hashlib.sha256(content).hexdigest()
