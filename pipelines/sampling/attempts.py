"""What engines were drawing when they died, and which prompt they died of.

An engine's process dies with all that it knows, so this is kept in a Ray actor beside the engines.

- An engine that is started again first draws a prompt that was drawn before, the control. This shows
  that the engine works; as long as nothing was drawn, suspects are drawn prompt by prompt.
- What an engine was drawing when it died is suspect, and is drawn again with nothing beside it. If
  the engine dies of it again, it is drawn in halves, down to a single prompt.
- A suspect prompt of which engines died `max_restarts` times kills the engine: its samples become rows
  with that reason.

Deaths that end with such a prompt are explained. An engine that dies otherwise is at fault itself, and
the stage stops: see `Attempts.start`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.sampling.sampler import Request

if TYPE_CHECKING:
    from pipelines.sampling.chunk_drawer import DrawnChunk

MAX_KILLING_PROMPTS = 8
"""Prompts that may kill the engine within one start of a stage; with more, the engine is at fault."""

Prompts = tuple[str, ...]
"""The ids of several prompts, the shortest text first: the least likely one to kill an engine."""


@dataclass(frozen=True)
class Part:
    """Prompts of a chunk that an engine draws together."""

    prompts: Prompts
    is_suspect: bool = False
    """An engine died while it drew them: nothing else is to be drawn beside them."""
    kills: bool = False
    """They are one prompt that kills the engine: it is not drawn."""


@dataclass(frozen=True)
class Start:
    """What an engine that starts is told."""

    fault: str | None
    """Why it must not start again; None if it may."""
    control: Request | None
    """What it draws first, to show that it works; None if it did not die before."""


@dataclass(frozen=True)
class _Death:
    engine: str
    chunks: frozenset[Prompts]
    """Those that it was drawing."""


class Attempts:
    """The attempts of a stage's engines to draw its chunks.

    Args:
        max_restarts: `engine.max_restarts`.
        control: a prompt that was drawn before; None if there is none yet.
    """

    def __init__(self, max_restarts: int, control: Request | None = None) -> None:
        self._max_restarts, self._control = max_restarts, control
        self._drawing: dict[str, list[tuple[Prompts, Prompts]]] = {}
        self._left: dict[Prompts, list[Prompts]] = {}
        self._done: dict[Prompts, list[DrawnChunk]] = {}
        self._deaths: list[_Death] = []
        self._deaths_in_a_row = Counter[str]()
        self._suspects: set[Prompts] = set()
        self._deaths_alone = Counter[str]()
        self._killing: set[str] = set()

    def start(self, engine: str) -> Start:
        """Note that an engine's process starts; if it is not its first, the last one has died.

        The engine is at fault if it died more than `max_restarts` times in a row and drew nothing in
        between, or more than `max_restarts` times without a prompt that kills it, or if there are
        more than MAX_KILLING_PROMPTS of those.
        """
        lost = self._drawing.get(engine)
        self._drawing[engine] = []
        if lost is None:
            return Start(None, None)
        self._deaths_in_a_row[engine] += 1
        self._deaths.append(_Death(engine, frozenset(chunk for chunk, _ in lost)))
        self._blame(lost)
        return Start(self._fault(engine), self._control)

    def next(self, chunk: Prompts) -> Part | None:
        """What is to be drawn next of a chunk; None if nothing is left of it."""
        left = self._left.setdefault(chunk, [chunk])
        if not left:
            return None
        is_suspect = chunk in self._suspects
        if is_suspect and self._control is None:
            left[:1] = [part for part in (left[0][:1], left[0][1:]) if part]
        return Part(left[0], is_suspect, kills=left[0][0] in self._killing)

    def began(self, engine: str, chunk: Prompts, part: Part) -> None:
        """Note that an engine draws a part of a chunk."""
        self._drawing[engine].append((chunk, part.prompts))

    def works(self, engine: str) -> None:
        """Note that an engine drew the control."""
        self._deaths_in_a_row[engine] = 0

    def drawn(
        self, engine: str, chunk: Prompts, part: Part, drawn: DrawnChunk, answered: Request | None
    ) -> None:
        """Keep a part's result.

        Args:
            engine: the engine.
            chunk: the chunk.
            part: what was drawn of it.
            drawn: where its rows are.
            answered: one of its requests that got a solution; None if none did.
        """
        self._drawing[engine].remove((chunk, part.prompts))
        if part.prompts in self._left[chunk]:  # else Ray had it drawn twice
            self._left[chunk].remove(part.prompts)
            self._done.setdefault(chunk, []).append(drawn)
        if answered is not None:
            self.works(engine)
            self._control = self._control or answered

    def done(self, chunk: Prompts) -> list[DrawnChunk]:
        """The results of a chunk's parts, also of those that an engine drew before it died."""
        return self._done[chunk]

    def _blame(self, lost: list[tuple[Prompts, Prompts]]) -> None:
        earlier = set(self._suspects)
        self._suspects.update(chunk for chunk, _ in lost)
        if len(lost) != 1:
            return  # Either may be the cause: each is drawn again by itself.
        ((chunk, part),) = lost
        left = self._left[chunk]
        left.remove(part)
        if len(part) > 1:
            half = len(part) // 2
            left[:0] = [part[:half], part[half:]]
            return
        left.append(part)  # What remains of the chunk is drawn before it.
        # The first death of a chunk may have any cause: it is never held against a prompt.
        self._deaths_alone[part[0]] += chunk in earlier
        if self._deaths_alone[part[0]] >= self._max_restarts and self._control is not None:
            self._killing.add(part[0])

    def _fault(self, engine: str) -> str | None:
        limit = f"{self._max_restarts} times (engine.max_restarts)"
        if self._deaths_in_a_row[engine] > self._max_restarts:
            return f"the engine died more than {limit} in a row, and drew nothing in between"
        unexplained = [d for d in self._deaths if d.engine == engine and self._is_unexplained(d)]
        if len(unexplained) > self._max_restarts:
            return f"the engine died more than {limit}, and no prompt is the cause"
        if len(self._killing) > MAX_KILLING_PROMPTS:
            return f"more than {MAX_KILLING_PROMPTS} prompts kill the engine, such as " + min(
                self._killing
            )
        return None

    def _is_unexplained(self, death: _Death) -> bool:
        """Whether all that the engine was drawing was drawn later."""
        is_over = not any(self._left[chunk] for chunk in death.chunks)
        return is_over and not any(self._killing.intersection(chunk) for chunk in death.chunks)
