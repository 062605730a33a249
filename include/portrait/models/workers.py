"""Several processes that train one model together, as `torchrun` starts them; a process by itself is a group of one."""

import atexit
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

SLOWEST_PEER_SECONDS = 3600
"""The first process validates and writes while the others wait for it."""


@dataclass(frozen=True)
class Workers:
    """This process's place in its group. All hold the same data and the same weights."""

    rank: int = 0
    count: int = 1
    on_this_machine: int = 1
    place: int = 0
    """Which of this machine's processes it is."""

    @property
    def first(self) -> bool:
        """Whether this process validates, writes checkpoints and saves."""
        return self.rank == 0

    def cores(self, threads: int) -> int:
        """`threads`; for 0 this process's part of the cores that it may run on."""
        return threads or max(1, len(os.sched_getaffinity(0)) // self.on_this_machine)

    def share(self, rows: np.ndarray) -> tuple[np.ndarray, float]:
        """This process's rows of a step, and what their mean counts in the mean of all.

        Where there are fewer rows than processes, one that gets none repeats the first row for nothing: every process
        must take part in adding up the gradients.
        """
        if self.count == 1:
            return rows, 1.0
        own = rows[self.rank :: self.count]
        return (own, len(own) / len(rows)) if len(own) else (rows[:1], 0.0)

    def add_up(self, module: "nn.Module", loss: "Tensor") -> float:
        """Replace each gradient by the sum of all processes'; gives the sum of the losses.

        Gloo adds up on the CPU, whatever the gradients' device: those of a GPU are brought there and back here.
        """
        if self.count == 1:
            return loss.item()
        from torch import distributed

        gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        total, *sums = (value.cpu() for value in (loss, *gradients))  # the CPU's own are no copies
        work = [distributed.all_reduce(value, async_op=True) for value in (total, *sums)]
        for each in work:
            each.wait()
        for gradient, added_up in zip(gradients, sums, strict=True):
            gradient.copy_(added_up)
        return total.item()

    def agreed(self, score: Callable[[], float]) -> float:
        """What the first process finds."""
        if self.count == 1:
            return score()
        import torch
        from torch import distributed

        found = torch.tensor([score() if self.first else 0.0], dtype=torch.float64)
        distributed.broadcast(found, src=0)
        return found.item()


@lru_cache(maxsize=1)
def workers() -> Workers:
    """The group that `torchrun` started this process in (gloo), joined at the first call."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # as torch itself asks, without importing it
        return Workers()
    from torch import distributed

    distributed.init_process_group("gloo", timeout=timedelta(seconds=SLOWEST_PEER_SECONDS))
    atexit.register(distributed.destroy_process_group)
    rank, count = distributed.get_rank(), distributed.get_world_size()
    machines: list[str | None] = [None] * count
    distributed.all_gather_object(machines, socket.gethostname())
    ours = machines[rank]
    return Workers(rank, count, machines.count(ours), machines[:rank].count(ours))
