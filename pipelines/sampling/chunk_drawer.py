"""The Ray actor around an engine: a chunk of prompts in, a file of samples out."""

from __future__ import annotations

import os
import pickle
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import RestEMError
from pipelines.sampling.chunks import requests_of, sample_rows
from pipelines.sampling.sampler import Sampler
from pipelines.stage import FileWriter, WrittenFile

if TYPE_CHECKING:
    import pyarrow as pa

REFUSED = "refused"


@dataclass(frozen=True)
class DrawnChunk:
    """The result of drawing a chunk: where its rows are, and what they cost."""

    file: WrittenFile
    num_tokens: int
    num_prompt_tokens: int
    """Each prompt is counted once, whatever its number of samples."""
    dtype: str
    """Number format that the engine computed in."""
    engine: str
    """Name of the engine that drew it; a restarted engine has another name."""
    engine_start_seconds: float
    began: float
    ended: float
    """Start and end of drawing, seconds since 1970 on the engine's machine."""


class ChunkDrawer:
    """A sampler in its own process, for `Dataset.map_batches`.

    Args:
        sampler_factory: makes the sampler; called once, in the actor.
        policy_id: the policy that the sampler draws from.
        writer: writes the chunk's rows as an uncommitted file.
        log: file to which the process's output is appended.
    """

    def __init__(
        self,
        sampler_factory: Callable[[], Sampler],
        policy_id: str,
        writer: FileWriter,
        log: Path,
    ) -> None:
        _redirect_output(log)
        self._policy_id, self._writer = policy_id, writer
        self._name = uuid.uuid4().hex
        self._sampler: Sampler | None = None
        self._refusal: RestEMError | None = None
        start = time.monotonic()
        try:
            self._sampler = sampler_factory()
        except RestEMError as error:
            self._refusal = error
        except Exception:
            traceback.print_exc()
            sys.stderr.flush()
            raise
        self._start_seconds = time.monotonic() - start

    def __call__(self, chunk: pa.Table) -> pa.Table:
        """Draw a chunk and write its rows; returns one row, which `drawn_chunk` reads.

        A RestEMError is returned as a row, because Ray Data keeps only the text of an exception.
        """
        import pyarrow as pa

        try:
            drawn = asdict(self._drawn(chunk))
        except RestEMError as error:
            return pa.Table.from_pylist([{REFUSED: pickle.dumps(error)}])
        return pa.Table.from_pylist([drawn.pop("file") | drawn])

    def _drawn(self, chunk: pa.Table) -> DrawnChunk:
        if self._sampler is None:
            assert self._refusal is not None
            raise self._refusal
        began = time.time()
        try:
            solutions = self._sampler.draw(requests_of(chunk))
        except RestEMError:
            raise
        except Exception:  # noqa: BLE001 - after any error the engine cannot be trusted
            traceback.print_exc()
            sys.stderr.flush()
            # Ray restarts an actor whose process died, not one that raised.
            os._exit(1)
        return DrawnChunk(
            file=self._writer.write(sample_rows(self._policy_id, chunk, solutions)),
            num_tokens=sum(drawn.num_tokens for group in solutions for drawn in group),
            num_prompt_tokens=sum(group[0].num_prompt_tokens for group in solutions),
            dtype=self._sampler.dtype,
            engine=self._name,
            engine_start_seconds=self._start_seconds,
            began=began,
            ended=time.time(),
        )


def drawn_chunk(row: dict[str, Any]) -> DrawnChunk:
    """The DrawnChunk in a row that ChunkDrawer returned.

    Raises:
        RestEMError: what the sampler or the writer refused.
    """
    if REFUSED in row:
        raise pickle.loads(row[REFUSED])
    file = WrittenFile(**{name: row.pop(name) for name in _FILE_FIELDS})
    return DrawnChunk(file=file, **row)


_FILE_FIELDS = [field.name for field in fields(WrittenFile)]


def _redirect_output(log: Path) -> None:
    """Append this process's output to a file, including that of C++ libraries."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
