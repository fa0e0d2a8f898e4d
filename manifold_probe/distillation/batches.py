"""The batches of a run: rows, pixels and the teacher's targets, read ahead in a thread."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from torch import Tensor

from manifold_probe.distillation.setting import Setting
from manifold_probe.extraction.processes import Processes

BATCHES_AHEAD = 2
Batch = tuple[np.ndarray, int, Any, Tensor]


def batches(setting: Setting, processes: Processes, step: int) -> Iterator[Batch]:
    """(rows, view, batch, targets) of every step from ``step`` on, this process's part of it.

    A thread reads ahead, unless all pixels are in memory: it would then only compete with the model for the CPU.
    """

    def plan() -> Iterator[tuple[np.ndarray, int]]:
        for epoch in range(step // setting.steps, setting.config.epochs):
            order = setting.order(epoch)
            for index in range(step % setting.steps if epoch == step // setting.steps else 0, len(order)):
                yield part_of(order[index], processes), setting.view_of(epoch)

    def read(rows: np.ndarray, view: int) -> Batch:
        return rows, view, setting.examples.batch(rows, view), setting.target(rows, view)

    if setting.examples.keeps(setting.view_of(0)):
        for rows, view in plan():
            yield read(rows, view)
        return
    with ThreadPoolExecutor(1) as pool:
        pending: list[Future[Any]] = []
        try:
            for rows, view in plan():
                pending.append(pool.submit(read, rows, view))
                if len(pending) > BATCHES_AHEAD:
                    yield pending.pop(0).result()
            while pending:
                yield pending.pop(0).result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def part_of(rows: np.ndarray, processes: Processes) -> np.ndarray:
    """This process's part of a batch."""
    size = len(rows) // processes.count
    return rows[processes.rank * size : (processes.rank + 1) * size]
