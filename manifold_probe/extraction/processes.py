"""The processes that share a run: this one alone, or those that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any


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
            dist.init_process_group("gloo")
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
