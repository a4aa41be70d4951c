"""The functions of a program in another process, as the tests call them.

Tests run where the program cannot reach: it sees arguments and answers with plain values, so it can
neither change what `assert` and `==` mean nor end the tests early.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from pipelines.rewards.sandbox.frames import read_frame, write_frame
from pipelines.rewards.sandbox.values import NotPlain, dumps, loads


class Gone(BaseException):
    """The program ended, or answers with what is no answer; no test can catch this by mistake."""


class Asked:
    """A program at the other end of a channel.

    Args:
        channel: a descriptor.
    """

    def __init__(self, channel: int) -> None:
        self._channel = channel
        self.raised: str | None = None
        """The class of the last exception that the program answered with."""

    def function(self, name: str) -> Callable[..., Any]:
        """A stand-in for the program's function of that name."""

        def stand_in(*arguments: Any) -> Any:
            return self.call(name, arguments)

        stand_in.__name__ = name
        return stand_in

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """Ask for a value.

        Raises:
            Gone: there is no program any more.
            Exception: what the program answered with, if that is one of Python's own classes.
        """
        sent = dumps([name, list(arguments)])
        try:
            write_frame(self._channel, sent)
            answer = loads(read_frame(self._channel))
            kind, content, rest = answer
        except (EOFError, OSError, NotPlain, TypeError, ValueError) as error:
            raise Gone(f"the program gave no answer ({error})"[:200]) from None
        if kind == "raised":
            self.raised = str(content)
            raise _exception(self.raised, str(rest))
        self.raised = None
        _take_over(arguments, rest)
        return content


def _exception(name: str, message: str) -> Exception:
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except TypeError:  # UnicodeError wants more than a message
            return RuntimeError(message)
    return RuntimeError(f"{name}: {message}")


def _take_over(arguments: tuple[Any, ...], after: Any) -> None:
    """Do to the tests' own containers what the call did to its copies of them."""
    if not isinstance(after, list) or len(after) != len(arguments):
        raise Gone("the program gave no answer (its arguments are gone)")
    for mine, its in zip(arguments, after, strict=True):
        if type(mine) is not type(its) or mine == its:
            continue
        if isinstance(mine, list):
            mine[:] = its
        elif isinstance(mine, dict | set):
            mine.clear()
            mine.update(its)
