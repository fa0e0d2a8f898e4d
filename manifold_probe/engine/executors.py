"""Who reads the spans of a pass: this process, or the workers of a Dask cluster, which read their rows themselves.

Every worker gets the summaries once; a span's states come back and are merged here. A worker that dies costs the spans
it had in hand: these are read again by the others.
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
from manifold_probe.engine.passes import Advance, Executor, Found, Pass, read_span
from manifold_probe.engine.threads import thread_count
from manifold_probe.errors import InputError
from manifold_probe.spaces.space import Space

Opening = Callable[[str], dict[str, Space]]
ANSWER_SECONDS = 10
ATTEMPTS = 3
AHEAD = 2  # spans in hand for every worker: as many results wait here at most
LOSSES = ("distributed", "concurrent", "asyncio")  # whose exceptions tell of a worker or a connection that is gone
ADDRESS = re.compile(r"dask://([^:/\s]+|\[[^\]]+\]):(\d+)")


def check_executor(executor: Any) -> None:
    """Refuse what names no executor. Raises InputError."""
    if executor in (None, "dask") or (isinstance(executor, str) and ADDRESS.fullmatch(executor)):
        return
    raise InputError(f"executor: {executor!r} is not known; give 'dask' for workers here, or 'dask://HOST:PORT'")


@contextmanager
def on_dask(executor: str, request: str, opening: Opening) -> Iterator[Executor]:
    """The executor "dask" (workers on this machine) or "dask://HOST:PORT".

    Parameters
    ----------
    executor : str
    request : str
        What the workers read, as text.
    opening : callable
        Makes the spaces, by name, of such a text; a function of a module, which the workers import.

    Raises
    ------
    InputError
        Where dask is not installed, no scheduler answers, or a worker lacks the package or has another version of it.
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
    found = client.run(importlib.import_module, "manifold_probe.engine.executors", on_error="return")
    if not found:
        raise InputError(f"executor: the scheduler at {where} has no workers; start some with 'dask worker {where}'")
    for worker, answer in found.items():
        if isinstance(answer, Exception):
            why = " ".join(str(answer).split())[:160]
            raise InputError(
                f"executor: worker {worker} cannot import manifold_probe ({why}); install it there, in the same version"
            )
    for worker, version in client.run(version_here).items():
        if version != manifold_probe.__version__:
            raise InputError(
                f"executor: worker {worker} has manifold_probe {version}, and this process has "
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
    ) -> Iterator[tuple[tuple[int, int], Found]]:
        left = dict(enumerate(wanted))
        summaries = pickle.dumps(work.summaries, protocol=5)
        error: BaseException | None = None
        for _ in range(ATTEMPTS):
            for index, found in self._read(summaries, dict(left)):
                if isinstance(found, BaseException):
                    error = found
                    continue
                first, last = left.pop(index)
                yield (0, index), found
                advance(last - first)
            if not left:
                return
        first, last = next(iter(left.values()))
        why = " ".join(str(error).split())[:200]
        raise InputError(f"executor: rows {first:,} to {last:,} could not be read in {ATTEMPTS} attempts: {why}")

    def _read(self, summaries: bytes, left: dict[int, tuple[int, int]]) -> Iterator[tuple[int, Any]]:
        """Each span's states, or what went wrong with it."""
        from distributed import as_completed

        sent = self.client.scatter(summaries, broadcast=True, hash=False)
        waiting = iter(left.items())
        futures: dict[Any, int] = {}

        def submit() -> Any:
            index, span = next(waiting, (None, None))
            if index is None:
                return None
            future = self.client.submit(_read_there, self.request, self.opening, sent, span, pure=False)
            futures[future] = index
            return future

        workers = max(len(self.client.scheduler_info()["workers"]), 1)
        done = as_completed([future for future in (submit() for _ in range(AHEAD * workers)) if future is not None])
        for future in done:
            index = futures.pop(future)
            try:
                found = future.result()
            except InputError:
                raise
            except Exception as error:
                if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in LOSSES:
                    raise
                found = error
            future.release()
            following = submit()
            if following is not None:
                done.add(following)
            yield index, found


def _read_there(request: str, opening: Opening, summaries: bytes, span: tuple[int, int]) -> Found:
    """On a worker: the states of one span."""
    from distributed import get_worker

    _one_thread()
    try:
        return read_span(_pass_there(request, opening, summaries), span)
    except (InputError, OSError) as error:
        raise InputError(f"worker {get_worker().address}: {error}") from error


@lru_cache(maxsize=1)
def _one_thread() -> threadpool_limits:
    """Products of one thread from now on, as in every other process: their bits depend on it."""
    return threadpool_limits(1)


@lru_cache(maxsize=1)
def _pass_there(request: str, opening: Opening, summaries: bytes) -> Pass:
    return Pass(_spaces_there(request, opening), pickle.loads(summaries))


@lru_cache(maxsize=1)
def _spaces_there(request: str, opening: Opening) -> dict[str, Space]:
    return opening(request)
