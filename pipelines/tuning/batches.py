"""Assignment of rows to optimizer steps, workers and passes; each worker computes the same one."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence

from pipelines.tuning.packing import PackedRow

Batch = tuple[PackedRow, ...]


def global_batches(
    rows: Sequence[PackedRow], batch_size: int, seed: int, epoch: int
) -> list[Batch]:
    """The batches of an epoch's optimizer steps: all rows once, shuffled by (seed, epoch)."""
    order = list(rows)
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return [tuple(order[i : i + batch_size]) for i in range(0, len(order), batch_size)]


def worker_passes(batch: Batch, rank: int, world_size: int, rows_per_pass: int) -> list[Batch]:
    """A worker's share of a batch, in passes of rows of similar length.

    Rows are dealt out by length, so that the workers finish a step at about the same time. A worker
    may get no row of a short batch.
    """
    mine = sorted(batch, key=lambda row: len(row.tokens))[rank::world_size]
    num_passes = math.ceil(len(mine) / rows_per_pass)
    bounds = [round(i * len(mine) / max(num_passes, 1)) for i in range(num_passes + 1)]
    return [tuple(mine[a:b]) for a, b in itertools.pairwise(bounds)]


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
