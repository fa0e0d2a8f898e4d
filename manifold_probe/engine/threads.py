"""A pool of threads with single-threaded matrix products, instead of threads inside every product.

Threads of a matrix library wait for each other at the end of every product. If other processes use the cores, this
takes several times longer. Threads of a pool take the next piece when they are free, and the result of a piece does not
depend on their number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

Mapper = Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]
LARGE_MATRIX = 1024  # decompositions of smaller matrices do not gain from threads


def one_by_one(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """The results of the function for all items, in order."""
    return [function(item) for item in items]


def thread_count() -> int:
    """OMP_NUM_THREADS if set, else the number of cores that this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def threads(count: int | None = None) -> Iterator[Mapper]:
    """A map over items on ``count`` threads, by default `thread_count`; matrix products use one thread meanwhile."""
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
    """Half of the cores for the decomposition of a large matrix, because two may run at a time."""
    with threadpool_limits(max(thread_count() // 2, 1) if size > LARGE_MATRIX else 1, user_api="blas"):
        yield
