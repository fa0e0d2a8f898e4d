"""The processes that share a run: this one alone, or those that torchrun started."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from manifold_probe.errors import InputError

PATIENCE = timedelta(days=30)  # one process may have long finished what another is still at


@dataclass(frozen=True)
class Processes:
    """This process's place among them."""

    rank: int = 0
    count: int = 1
    local: int = 0

    @classmethod
    def join(cls) -> Processes:
        """As torchrun's environment says; joins the group when there are several."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        import torch.distributed as dist

        if not dist.is_initialized():
            dist.init_process_group("gloo", timeout=PATIENCE)
            atexit.register(_leave)
        return cls(dist.get_rank(), count, int(os.environ.get("LOCAL_RANK", "0")))

    @property
    def first(self) -> bool:
        """Whether this one writes what there is only one of."""
        return self.rank == 0

    def mine(self, count: int) -> list[int]:
        """The shards that are this process's to make."""
        return list(range(self.rank, count, self.count))

    def wait(self) -> None:
        """For all others."""
        if self.count > 1:
            import torch.distributed as dist

            dist.barrier()

    def only_first(self, context: Callable[[], AbstractContextManager[Any]]) -> AbstractContextManager[Any]:
        """A context that only the first process enters, for all."""
        return context() if self.first else nullcontext()

    def gathered(self, value: Any) -> list[Any]:
        """What each process has, by rank."""
        if self.count == 1:
            return [value]
        import torch.distributed as dist

        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, value)
        return found

    @contextmanager
    def together(self) -> Iterator[None]:
        """Around work that all do: where one fails, all stop. The first says why; the others leave quietly.

        Raises
        ------
        InputError
            In the first process, with the message of whichever it is that failed.
        """
        if self.count == 1:
            yield
            return
        failed: Exception | None = None
        try:
            yield
        except Exception as error:
            failed = error
        told = None if failed is None else (isinstance(failed, InputError), str(failed) or type(failed).__name__)
        problem = next((each for each in self.gathered(told) if each is not None), None)
        if problem is None:
            return
        if self.first:
            raise failed or (InputError if problem[0] else RuntimeError)(problem[1])
        with suppress(Exception):  # stay until the first has spoken: torchrun ends all as soon as one has gone
            self.wait()
        raise SystemExit(2 if problem[0] else 70) from failed


def _leave() -> None:
    """Leave the group in order: its threads would otherwise abort the process as Python ends."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
