"""The group of workers of a fine-tuning job, as seen by one of them.

Training is data parallel with all weights on each worker. Gradients are summed, not averaged,
because the loss is already normalized by the global batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Workers:
    """This worker's rank in the group, and the device it computes on."""

    rank: int
    world_size: int
    device: str

    @property
    def first(self) -> bool:
        """Whether this is the worker that writes the job's files."""
        return self.rank == 0

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by its sum over workers; a missing gradient counts as zero."""
        if self.world_size == 1:
            return
        waiting = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            waiting.append(dist.all_reduce(parameter.grad, async_op=True))
        for work in waiting:
            work.wait()

    def sum_over_workers(self, *numbers: float) -> list[float]:
        """The sum over workers of each number."""
        if self.world_size == 1:
            return list(numbers)
        dtype = torch.float64 if self.device == "cpu" else torch.float32
        totals = torch.tensor(numbers, dtype=dtype, device=self.device)
        dist.all_reduce(totals)
        return totals.tolist()

    def union_over_workers(self, texts: dict[int, str]) -> dict[int, str]:
        """Every worker's entries."""
        if self.world_size == 1:
            return texts
        parts: list[dict[int, str]] = [{}] * self.world_size
        dist.all_gather_object(parts, texts)
        return {key: text for part in parts for key, text in part.items()}

    def wait(self) -> None:
        """Return when every worker has called this."""
        if self.world_size > 1:
            dist.barrier()


def workers_of_environment(device: str) -> Workers:
    """The group and this process's rank, from the environment that torchrun or Ray Train set.

    Joins the process group, unless the launcher has done so.

    Args:
        device: what this process computes on, such as `cpu` or `cuda:0`.
    """
    rank = int(os.environ.get("RANK", "0"))
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if device != "cpu":
        torch.cuda.set_device(torch.device(device))
    if world_size > 1 and not dist.is_initialized():
        dist.init_process_group("gloo" if device == "cpu" else "nccl")
    return Workers(rank, world_size, device)
