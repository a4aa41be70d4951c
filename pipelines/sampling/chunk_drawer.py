"""The Ray actor around an engine: a chunk of prompts in, a file of samples out."""

from __future__ import annotations

import os
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import RestEMError
from pipelines.sampling.chunks import requests_of, sample_rows
from pipelines.sampling.sampler import Draw, Sampler
from pipelines.stage import FileWriter, WrittenFile

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class DrawnChunk:
    """What comes back from an engine: where the rows are, and what they cost."""

    file: WrittenFile
    num_tokens: int
    num_prompt_tokens: int
    """Each prompt counted once."""
    engine: str
    """The engine that drew it; a restarted one has another name."""
    engine_start_seconds: float
    began: float
    ended: float
    """Seconds since 1970 on the engine's machine."""


class ChunkDrawer:
    """A sampler in its own process, for `Dataset.map_batches`.

    Args:
        sampler_factory: makes the sampler; called once, in the actor.
        policy_id: the policy that the sampler draws from.
        writer: writes the chunk's rows as an uncommitted file.
        log: file that takes all that the engine prints.
    """

    def __init__(
        self,
        sampler_factory: Callable[[], Sampler],
        policy_id: str,
        writer: FileWriter,
        log: Path,
    ) -> None:
        _print_to(log)
        self._policy_id, self._writer = policy_id, writer
        self._name = uuid.uuid4().hex
        start = time.monotonic()
        try:
            self._sampler = sampler_factory()
        except Exception:
            traceback.print_exc()
            sys.stderr.flush()
            raise
        self._start_seconds = time.monotonic() - start

    def __call__(self, chunk: pa.Table) -> pa.Table:
        """Draw a chunk and write it; one row: a DrawnChunk, flattened."""
        import pyarrow as pa

        began = time.time()
        draws = self._draw(chunk)
        drawn = DrawnChunk(
            file=self._writer.write(sample_rows(self._policy_id, chunk, draws)),
            num_tokens=sum(draw.num_tokens for solutions in draws for draw in solutions),
            num_prompt_tokens=sum(solutions[0].num_prompt_tokens for solutions in draws),
            engine=self._name,
            engine_start_seconds=self._start_seconds,
            began=began,
            ended=time.time(),
        )
        fields = asdict(drawn)
        return pa.Table.from_pylist([fields.pop("file") | fields])

    def _draw(self, chunk: pa.Table) -> list[list[Draw]]:
        try:
            return self._sampler.draw(requests_of(chunk))
        except RestEMError:
            raise
        except Exception:  # noqa: BLE001 - whatever it was, the engine cannot be trusted
            traceback.print_exc()
            sys.stderr.flush()
            # Ray restarts an actor whose process died, not one that raised.
            os._exit(1)


def drawn_chunk(row: dict[str, object]) -> DrawnChunk:
    """The DrawnChunk of a row that ChunkDrawer made."""
    names = ("path", "size", "num_rows", "stats")
    file = WrittenFile(**{name: row[name] for name in names})  # type: ignore[arg-type]
    rest = {name: value for name, value in row.items() if name not in names}
    return DrawnChunk(file=file, **rest)  # type: ignore[arg-type]


def _print_to(log: Path) -> None:
    """Send this process's output, C++ libraries' included, to the end of a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
