"""The functions of a program in another process, as the tests call them.

The tests run in a process of their own. The program receives arguments and returns plain values, so
it can neither change what `assert` and `==` mean nor end the tests early.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

from pipelines.rewards.sandbox.frames import read_frame, write_frame
from pipelines.rewards.sandbox.values import NotPlain, dumps, loads


class ProgramGone(BaseException):
    """The program ended or sent an invalid answer; a test's `except Exception` does not catch it."""


class RemoteProgram:
    """A program at the other end of a channel.

    Args:
        channel: a descriptor.
    """

    def __init__(self, channel: int) -> None:
        self._channel = channel
        self.raised: str | None = None
        """The class name of the exception that the last call raised in the program, if it did."""

    def function(self, name: str) -> Callable[..., object]:
        """A stand-in for the program's function of that name."""

        def stand_in(*arguments: object) -> object:
            return self.call(name, arguments)

        stand_in.__name__ = name
        return stand_in

    def call(self, name: str, arguments: Sequence[object]) -> object:
        """Call a function of the program and return its value.

        Raises:
            ProgramGone: the program has ended or sent an invalid answer.
            Exception: what the call raised, if it is one of Python's own classes.
        """
        sent = dumps([name, list(arguments)])
        try:
            write_frame(self._channel, sent)
            kind, content, rest = loads(read_frame(self._channel))
        except (EOFError, OSError, NotPlain, TypeError, ValueError) as error:
            raise ProgramGone(f"the program gave no answer ({error})"[:200]) from None
        if kind == "raised":
            self.raised = str(content)
            raise _exception(self.raised, str(rest))
        self.raised = None
        _copy_changes(arguments, rest)
        return content


def _exception(name: str, message: str) -> Exception:
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except TypeError:  # UnicodeError takes more than a message
            return RuntimeError(message)
    return RuntimeError(f"{name}: {message}")


def _copy_changes(arguments: Sequence[Any], after: object) -> None:
    """Change the tests' own containers as the call changed its copies of them."""
    if not isinstance(after, list) or len(after) != len(arguments):
        raise ProgramGone("the program gave no answer (its arguments are missing)")
    for ours, theirs in zip(arguments, after, strict=True):
        if type(ours) is not type(theirs) or ours == theirs:
            continue
        if isinstance(ours, list):
            ours[:] = theirs
        elif isinstance(ours, dict | set):
            ours.clear()
            ours.update(theirs)
