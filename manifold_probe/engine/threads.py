"""Threads: several of our own, each with products of one thread, in place of threads inside every product.

Threads of a matrix library wait for each other at the end of every product, small ones too: where other processes want
the cores that costs several times the work. Ours take the next piece when they are free, and the result of a piece does
not depend on how many there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

Each = Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]
LARGE = 1024  # of matrices: decompositions below gain nothing from threads


def one_by_one(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """The function of every item, in order."""
    return [function(item) for item in items]


def thread_count() -> int:
    """OMP_NUM_THREADS where it is set, else the cores that this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def threads(count: int | None = None) -> Iterator[Each]:
    """A way to do pieces of work on ``count`` threads, by default `thread_count`; products use one thread meanwhile."""
    count = count or thread_count()
    with threadpool_limits(1):
        if count == 1:
            yield one_by_one
            return
        pool = ThreadPoolExecutor(count)
        try:
            yield lambda function, items: list(pool.map(function, items))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def threads_for(size: int) -> Iterator[None]:
    """Half of the cores for each decomposition of a large matrix, of which two may run at once."""
    with threadpool_limits(max(thread_count() // 2, 1) if size > LARGE else 1, user_api="blas"):
        yield
