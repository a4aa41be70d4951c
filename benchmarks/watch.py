"""Look at something again and again while other work goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Watch:
    """Calls a function in a thread, every so many seconds, inside a `with` block.

    Args:
        look: the function.
        every: seconds between two calls.
    """

    def __init__(self, look: Callable[[], None], every: float) -> None:
        self._look, self._every = look, every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            self._look()
