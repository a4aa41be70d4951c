"""The Ray actor around an engine: a chunk of prompts in, a file of samples out."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import RestEMError, StageFailed
from pipelines.sampling.chunks import part_of, prompt_ids, requests_of, sample_rows
from pipelines.sampling.sampler import DrawnSolution, Request, Sampler, control_of, give_up
from pipelines.stage import FileWriter, WrittenFile

if TYPE_CHECKING:
    import pyarrow as pa

REFUSED = "refused"


class EngineFailed(StageFailed):
    """The engine died too often, and by its own fault."""


@dataclass(frozen=True)
class DrawnChunk:
    """The result of drawing a chunk, or a part of it: where its rows are, and what they cost."""

    file: WrittenFile
    killed_prompt: str | None
    """The prompt that these samples have no solution for, since it kills the engine."""
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
        attempts: the Ray actor of `Attempts`, which outlives this process.
    """

    def __init__(
        self,
        sampler_factory: Callable[[], Sampler],
        policy_id: str,
        writer: FileWriter,
        log: Path,
        attempts: Any,
    ) -> None:
        import ray

        _redirect_output(log)
        self._policy_id, self._writer, self._attempts = policy_id, writer, attempts
        self._name = uuid.uuid4().hex
        self._turns = _Turns()
        self._control: Request | None = None
        # The id of the actor, which it keeps when it is restarted.
        self._engine = ray.get_runtime_context().get_actor_id()
        self._sampler: Sampler | None = None
        self._refusal: RestEMError | None = None
        start = time.monotonic()
        try:
            told = self._tell("start", self._engine)
            if told.fault is not None:
                raise EngineFailed(told.fault)  # noqa: TRY301 - returned to the driver like others
            self._control = told.control
            self._sampler = sampler_factory()
        except RestEMError as error:
            self._refusal = error
        except Exception:
            traceback.print_exc()
            sys.stderr.flush()
            raise
        self._start_seconds = time.monotonic() - start

    def __call__(self, chunk: pa.Table) -> pa.Table:
        """Draw a chunk and write its rows; returns rows that `drawn_chunk` reads.

        There is one, and several if the chunk had to be drawn in parts. A RestEMError is returned as
        a row, because Ray Data keeps only the text of an exception.
        """
        import pyarrow as pa

        try:
            drawn = [asdict(part) for part in self._drawn(chunk)]
        except RestEMError as error:
            return pa.Table.from_pylist([{REFUSED: pickle.dumps(error)}])
        return pa.Table.from_pylist([part.pop("file") | part for part in drawn])

    def _drawn(self, chunk: pa.Table) -> list[DrawnChunk]:
        """The chunk's parts, drawn and written by this process or by the one that died before."""
        if self._refusal is not None:
            raise self._refusal
        if self._control is not None:
            self._draw_control()
        prompts = prompt_ids(chunk)
        while (part := self._tell("next", prompts)) is not None:
            with self._turns.take(alone=part.is_suspect):
                self._tell("began", self._engine, prompts, part)
                rows = part_of(chunk, part.prompts)
                drawn, answered = self._given_up(rows) if part.kills else self._drawn_part(rows)
                self._tell("drawn", self._engine, prompts, part, drawn, answered)
        return self._tell("done", prompts)

    def _draw_control(self) -> None:
        """Show that an engine that was started again works, before anything else is drawn."""
        with self._turns.take(alone=True):
            if self._control is not None:
                self._draw([control_of(self._control)])
                self._tell("works", self._engine)
                self._control = None

    def _tell(self, method: str, *arguments: object) -> Any:
        """Call a method of `Attempts`, and wait for its answer."""
        import ray

        return ray.get(getattr(self._attempts, method).remote(*arguments))

    def _drawn_part(self, chunk: pa.Table) -> tuple[DrawnChunk, Request | None]:
        """The written part, and a request of it that got a solution, if any did."""
        began = time.time()
        requests = requests_of(chunk)
        solutions = self._draw(requests)
        answered = (r for r, drawn in zip(requests, solutions, strict=True) if drawn[0].num_tokens)
        return self._written(chunk, solutions, None, began), next(answered, None)

    def _given_up(self, chunk: pa.Table) -> tuple[DrawnChunk, None]:
        """The rows of a prompt that kills the engine, which is not asked."""
        (request,) = requests_of(chunk)
        return self._written(chunk, [give_up(request)], request.prompt_id, time.time()), None

    def _draw(self, requests: list[Request]) -> list[list[DrawnSolution]]:
        assert self._sampler is not None
        try:
            return self._sampler.draw(requests)
        except RestEMError:
            raise
        except Exception:  # noqa: BLE001 - after any error the engine cannot be trusted
            traceback.print_exc()
            sys.stderr.flush()
            # Ray restarts an actor whose process died, not one that raised.
            os._exit(1)

    def _written(
        self,
        chunk: pa.Table,
        solutions: list[list[DrawnSolution]],
        killed_prompt: str | None,
        began: float,
    ) -> DrawnChunk:
        assert self._sampler is not None
        return DrawnChunk(
            file=self._writer.write(sample_rows(self._policy_id, chunk, solutions)),
            killed_prompt=killed_prompt,
            num_tokens=sum(drawn.num_tokens for group in solutions for drawn in group),
            num_prompt_tokens=sum(group[0].num_prompt_tokens for group in solutions),
            dtype=self._sampler.dtype,
            engine=self._name,
            engine_start_seconds=self._start_seconds,
            began=began,
            ended=time.time(),
        )


class _Turns:
    """Lets several threads draw at once, or one of them alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._num_drawing, self._is_alone = 0, False

    @contextmanager
    def take(self, *, alone: bool) -> Iterator[None]:
        """Wait until nothing is drawn that this must not be drawn beside."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_alone and not (alone and self._num_drawing))
            self._num_drawing += 1
            self._is_alone = alone
        try:
            yield
        finally:
            with self._changed:
                self._num_drawing -= 1
                self._is_alone = False
                self._changed.notify_all()


def drawn_chunk(row: dict[str, Any]) -> DrawnChunk:
    """The DrawnChunk in a row that ChunkDrawer returned.

    Raises:
        EngineFailed: the engine died too often.
        RestEMError: what the sampler or the writer refused.
    """
    if row.get(REFUSED) is not None:
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
