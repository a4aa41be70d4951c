"""Assignment of rows to optimizer steps, workers and passes; each worker computes the same one."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.tuning.packing import PackedRow

Batch = tuple[PackedRow, ...]


def global_batches(
    rows: Sequence[PackedRow], batch_size: int, seed: int, epoch: int
) -> list[Batch]:
    """The batches of an epoch's optimizer steps: all rows once, shuffled by (seed, epoch)."""
    order = list(rows)
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return [tuple(order[i : i + batch_size]) for i in range(0, len(order), batch_size)]


@dataclass(frozen=True)
class PassLimit:
    """What a forward pass of a worker may hold; None: no limit."""

    rows: int | None = None
    tokens: int | None = None
    """Tokens after the shared prefix, padding included."""

    def allows(self, rows: Sequence[PackedRow]) -> bool:
        """Whether the rows may be one pass; a single row always may."""
        width = max(len(row.tokens) for row in rows)
        few = self.rows is None or len(rows) <= self.rows
        short = self.tokens is None or len(rows) * width <= self.tokens
        return len(rows) == 1 or (few and short)


def worker_passes(batch: Batch, rank: int, world_size: int, limit: PassLimit) -> list[Batch]:
    """A worker's share of a batch, in as few passes of rows of similar length as the limit allows.

    Rows are dealt out by length, so that the workers finish a step at about the same time. A worker
    may get no row of a short batch.
    """
    mine = sorted(batch, key=lambda row: len(row.tokens))[rank::world_size]
    passes: list[Batch] = []
    start = 0
    for end in range(1, len(mine) + 1):
        if end == len(mine) or not limit.allows(mine[start : end + 1]):
            passes.append(tuple(mine[start:end]))
            start = end
    return passes


def learning_rate(step: int, num_steps: int, peak: float, warmup_ratio: float) -> float:
    """The learning rate of a step: linear warm-up to `peak`, then linear decay to 0.

    Args:
        step: counted from 0.
        num_steps: number of steps of all epochs; the rate would be 0 at the step after the last.
        peak: the highest rate.
        warmup_ratio: share of the steps that warm up.
    """
    warmup = math.ceil(num_steps * warmup_ratio)
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (num_steps - step) / max(num_steps - warmup, 1)
