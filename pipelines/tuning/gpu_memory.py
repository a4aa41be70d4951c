"""The error of a training step for which a GPU's memory is too small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipelines.errors import MachineError, first_line


@contextmanager
def naming_full_gpus(rows: int) -> Iterator[None]:
    """Turn torch's error of a full GPU into one that names the setting to change.

    Args:
        rows: maximum number of rows of a pass inside the context.

    Raises:
        MachineError: a GPU is full.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        remedy = (
            f"set it to {rows // 2}, and the same command goes on"
            if rows > 1
            else "the same command goes on where there is a larger GPU"
        )
        raise MachineError(
            f"training.rows_per_pass: a step in passes of {rows} rows must fit the GPU's memory "
            f"({first_line(error)[:200]}); {remedy}"
        ) from error
