"""Executors read the spans of a pass on the workers of a Dask cluster, which open the files themselves.

Every worker gets the summaries once; the states of spans are sent back and merged here. If a worker dies, other workers
read its unfinished spans again.
"""

from __future__ import annotations

import importlib
import pickle
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from threadpoolctl import threadpool_limits

import manifold_probe
from manifold_probe.engine.passes import Advance, Executor, Pass, States, read_span
from manifold_probe.engine.threads import thread_count
from manifold_probe.errors import InputError
from manifold_probe.spaces.space import Space

Opening = Callable[[str], dict[str, Space]]
ANSWER_SECONDS = 10
ATTEMPTS = 3
SPANS_PER_WORKER = 2  # submitted at a time, so that few results wait here
LOST_WORKER = ("distributed", "concurrent", "asyncio")  # modules whose exceptions mean a lost worker or connection
ADDRESS = re.compile(r"dask://([^:/\s]+|\[[^\]]+\]):(\d+)")


def check_executor(executor: Any) -> None:
    """Raise InputError for a value that is not an executor."""
    if executor in (None, "dask") or (isinstance(executor, str) and ADDRESS.fullmatch(executor)):
        return
    raise InputError(
        f"executor: {executor!r} is not known; give 'dask' for workers on this machine, or 'dask://HOST:PORT'"
    )


@contextmanager
def on_dask(executor: str, request: str, opening: Opening) -> Iterator[Executor]:
    """The executor "dask" (workers on this machine) or "dask://HOST:PORT".

    Parameters
    ----------
    executor : str
    request : str
        A text that describes the spaces.
    opening : callable
        Opens the spaces, by name, from this text; a module's function, which the workers import.

    Raises
    ------
    InputError
        If dask is not installed, no scheduler answers, or a worker lacks the package or has another version of it.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise InputError("executor: dask is not installed; pip install 'manifold_probe[distributed]'") from None
    address = ADDRESS.fullmatch(executor)
    if address is None:
        with (
            LocalCluster(n_workers=thread_count(), threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            yield _OnClient(client, request, opening)
        return
    where = f"{address[1]}:{address[2]}"
    try:
        client = Client(f"tcp://{where}", timeout=f"{ANSWER_SECONDS}s")
    except (OSError, TimeoutError) as error:
        raise InputError(
            f"executor: no Dask scheduler answered at {where} within {ANSWER_SECONDS} seconds; "
            "start one with 'dask scheduler', or correct the address"
        ) from error
    with client:
        _check_workers(client, where)
        yield _OnClient(client, request, opening)


def _check_workers(client: Any, where: str) -> None:
    """Refuse a cluster without workers, and workers without this package or with another version of it."""
    answers = client.run(importlib.import_module, "manifold_probe.engine.executors", on_error="return")
    if not answers:
        raise InputError(f"executor: the scheduler at {where} has no workers; start some with 'dask worker {where}'")
    for worker, answer in answers.items():
        if isinstance(answer, Exception):
            reason = " ".join(str(answer).split())[:160]
            raise InputError(
                f"executor: worker {worker} cannot import manifold_probe ({reason}); install the same version there"
            )
    for worker, version in client.run(version_here).items():
        if version != manifold_probe.__version__:
            raise InputError(
                f"executor: worker {worker} has manifold_probe {version}, but this process has "
                f"{manifold_probe.__version__}; install the same version there"
            )


def version_here() -> str:
    """The version of the package in this process."""
    return manifold_probe.__version__


class _OnClient:
    """An executor on the workers of a client."""

    def __init__(self, client: Any, request: str, opening: Opening) -> None:
        self.client, self.request, self.opening = client, request, opening

    def __call__(
        self, work: Pass, wanted: list[tuple[int, int]], advance: Advance
    ) -> Iterator[tuple[tuple[int, int], States]]:
        left = dict(enumerate(wanted))
        summaries = pickle.dumps(work.summaries, protocol=5)
        error: BaseException | None = None
        for _ in range(ATTEMPTS):
            for index, states in self._read(summaries, dict(left)):
                if isinstance(states, BaseException):
                    error = states
                    continue
                first, last = left.pop(index)
                yield (0, index), states
                advance(last - first)
            if not left:
                return
        first, last = next(iter(left.values()))
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"executor: rows {first:,} to {last:,} could not be read in {ATTEMPTS} attempts ({reason}); check them"
        )

    def _read(self, summaries: bytes, left: dict[int, tuple[int, int]]) -> Iterator[tuple[int, Any]]:
        """(index, states) of every span, or (index, error)."""
        from distributed import as_completed

        sent = self.client.scatter(summaries, broadcast=True, hash=False)
        pending = iter(left.items())
        futures: dict[Any, int] = {}

        def submit() -> Any:
            index, span = next(pending, (None, None))
            if index is None:
                return None
            future = self.client.submit(_read_there, self.request, self.opening, sent, span, pure=False)
            futures[future] = index
            return future

        workers = max(len(self.client.scheduler_info()["workers"]), 1)
        done = as_completed(
            [future for future in (submit() for _ in range(SPANS_PER_WORKER * workers)) if future is not None]
        )
        for future in done:
            index = futures.pop(future)
            try:
                states = future.result()
            except InputError:
                raise
            except Exception as error:
                if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in LOST_WORKER:
                    raise
                states = error
            future.release()
            following = submit()
            if following is not None:
                done.add(following)
            yield index, states


def _read_there(request: str, opening: Opening, summaries: bytes, span: tuple[int, int]) -> States:
    """On a worker: the states of one span."""
    from distributed import get_worker

    _one_thread()
    try:
        return read_span(_pass_there(request, opening, summaries), span)
    except (InputError, OSError) as error:
        raise InputError(f"worker {get_worker().address}: {error}") from error


@lru_cache(maxsize=1)
def _one_thread() -> threadpool_limits:
    """Use one thread for matrix products, as in every other process, because their bits depend on it."""
    return threadpool_limits(1)


@lru_cache(maxsize=1)
def _pass_there(request: str, opening: Opening, summaries: bytes) -> Pass:
    return Pass(_spaces_there(request, opening), pickle.loads(summaries))


@lru_cache(maxsize=1)
def _spaces_there(request: str, opening: Opening) -> dict[str, Space]:
    return opening(request)
