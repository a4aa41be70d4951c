"""The workers of a fine-tuning job, as one of them sees the others.

Data parallel with whole weights on each worker: gradients are summed, not averaged, because the
loss is already normalized by the global batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Workers:
    """This worker's place among them, and the device it computes on."""

    rank: int
    world_size: int
    device: str

    @property
    def first(self) -> bool:
        """Whether this worker writes what is written once."""
        return self.rank == 0

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by its sum over workers; none counts as zero."""
        import torch
        import torch.distributed as dist

        if self.world_size == 1:
            return
        waiting = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            waiting.append(dist.all_reduce(parameter.grad, async_op=True))
        for work in waiting:
            work.wait()

    def sum_numbers(self, *numbers: float) -> list[float]:
        """The sum over workers of each number."""
        import torch
        import torch.distributed as dist

        if self.world_size == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float32, device=self.device)
        if self.device == "cpu":
            total = total.double()
        dist.all_reduce(total)
        return [float(number) for number in total.tolist()]

    def wait(self) -> None:
        """Return when every worker is here."""
        import torch.distributed as dist

        if self.world_size > 1:
            dist.barrier()


def workers_of_environment() -> Workers:
    """This process's place as torchrun or Ray Train put it into the environment.

    Joins the process group, unless the launcher has done so.
    """
    import torch

    from pipelines.runtime.hardware import has_gpu

    rank = int(os.environ.get("RANK", "0"))
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    device = "cpu"
    if has_gpu():
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        torch.cuda.set_device(local_rank)
        device = f"cuda:{local_rank}"
    if world_size > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo" if device == "cpu" else "nccl")
    return Workers(rank, world_size, device)
