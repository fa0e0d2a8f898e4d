"""The processes of a run: a single one, or those that torchrun started."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from manifold_probe.errors import InputError

TIMEOUT = timedelta(days=30)  # processes may finish their shards at very different times


@dataclass(frozen=True)
class Processes:
    """The rank of this process, the number of processes, and its rank on this machine."""

    rank: int = 0
    count: int = 1
    local: int = 0

    @classmethod
    def join(cls) -> Processes:
        """From torchrun's environment; joins the process group if there are several processes."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        import torch.distributed as dist

        if not dist.is_initialized():
            dist.init_process_group(_backend(), timeout=TIMEOUT)
            atexit.register(_leave)
        return cls(dist.get_rank(), count, int(os.environ.get("LOCAL_RANK", "0")))

    @property
    def first(self) -> bool:
        """Whether this is the process that writes shared files and prints."""
        return self.rank == 0

    def mine(self, count: int) -> list[int]:
        """The shards that this process makes, of ``count`` shards."""
        return list(range(self.rank, count, self.count))

    def wait(self) -> None:
        """Wait for all other processes."""
        if self.count > 1:
            import torch.distributed as dist

            dist.barrier()

    def only_first(self, context: Callable[[], AbstractContextManager[Any]]) -> AbstractContextManager[Any]:
        """A context that only the first process enters."""
        return context() if self.first else nullcontext()

    def gathered(self, value: Any) -> list[Any]:
        """The values of all processes, by rank."""
        if self.count == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    @contextmanager
    def together(self) -> Iterator[None]:
        """A context for work of all processes: if one fails, all stop, and only the first raises the error.

        Raises
        ------
        InputError
            In the first process, with the message of the process that failed.
        """
        if self.count == 1:
            yield
            return
        failed: Exception | None = None
        try:
            yield
        except Exception as error:
            failed = error
        problem = None if failed is None else (isinstance(failed, InputError), str(failed) or type(failed).__name__)
        problems = [problem for problem in self.gathered(problem) if problem is not None]
        if not problems:
            return
        is_input_error, message = problems[0]
        if self.first:
            raise failed or (InputError if is_input_error else RuntimeError)(message)
        with suppress(Exception):  # wait for the first process to print: torchrun stops all when one exits
            self.wait()
        raise SystemExit(2 if is_input_error else 70) from failed


def _backend() -> str:
    """NCCL for tensors on GPUs, where each process of this machine has one of its own; gloo for all others."""
    import torch

    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if torch.cuda.is_available() and torch.distributed.is_nccl_available() and torch.cuda.device_count() >= here:
        return "cpu:gloo,cuda:nccl"
    return "gloo"


def _leave() -> None:
    """Leave the process group: its threads would otherwise abort the process when Python exits."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
