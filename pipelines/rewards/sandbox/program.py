"""What runs inside the sandbox: a model's program, or a data set's tests that call such a program.

| mode | runs | over its channel or report |
|---|---|---|
| script | the source as `__main__`, on standard input and output | nothing |
| calls | the source as a module, then its functions | answers `[name, arguments]` |
| tests | tests with a stand-in per function, which calls a `calls` process | writes the result |
| together | the source, then the tests, in one interpreter | writes the nonce at the end |
"""

from __future__ import annotations

import atexit
import builtins
import io
import os
import random
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NoReturn

from pipelines.rewards.sandbox.frames import read_frame, write_frame
from pipelines.rewards.sandbox.remote_program import ProgramGone, RemoteProgram
from pipelines.rewards.sandbox.values import dumps, loads

CHANNEL, REPORT = 3, 4
"""Descriptors: calls and their values, and the result of tests."""
FAILED, OUT_OF_MEMORY, NOT_CONFINED = 1, 77, 78
"""Exit codes: an exception, a `MemoryError`, and a program that could not be confined."""

PRELUDE = """
import sys, os, io, re, math, random, string, time, datetime, copy, json, operator, typing
import bisect, heapq, itertools, functools, collections, fractions, decimal, statistics, cmath
import array, queue, threading, calendar, struct, hashlib, textwrap, enum, dataclasses, secrets
from typing import *
from math import *
from heapq import *
from bisect import *
from string import *
from itertools import *
from functools import *
from collections import *
from operator import itemgetter, attrgetter, mul
from fractions import Fraction
from decimal import Decimal
from datetime import timedelta
from random import randint, choice, shuffle
"""
"""Imports that APPS's solutions do without; loaded before any program is forked."""

_prelude: dict[str, Any] = {}
_compile, _exec, _write = compile, exec, os.write
"""The originals, which a program may replace in `builtins` and `os`."""


@dataclass(frozen=True)
class Job:
    """What to run: a program, tests, or both."""

    mode: str
    """A key of the table above."""
    source: str = ""
    prelude: bool = False
    """Whether the program gets `PRELUDE`'s names."""
    before: str = ""
    """Runs before the tests: imports, or the functions of a prompt."""
    tests: str = ""
    functions: Sequence[str] = ()
    """The program's functions that the tests call."""
    candidate: str | None = None
    """The function that the tests' `check(candidate)` is called with, if they define one."""
    nonce: str = ""
    """What mode `together` reports once all tests have passed."""


def preload() -> None:
    """Import what programs import, once for all of them."""
    exec(PRELUDE, _prelude)  # our own text, above
    os.environ.clear()


def run(job: Job) -> NoReturn:
    """Run a job, then end the process."""
    code = FAILED
    try:
        sys.set_int_max_str_digits(0)
        random.seed(0)  # the same verdict in every run
        _reopen_standard_streams()
        code = _MODES[job.mode](job)
    except SystemExit as ended:
        status = 0 if ended.code is None else ended.code
        code = status & 0xFF if isinstance(status, int) else FAILED
    except MemoryError:
        code = OUT_OF_MEMORY
    except BaseException:  # noqa: BLE001 - a program may raise anything
        code = FAILED
    finally:
        os._exit(_flushed(code))


def _script(job: Job) -> int:
    sys.argv = ["solution.py"]
    try:
        _execute(job, "__main__")
    finally:
        # As the interpreter does when it exits: wait for threads, then call the exit handlers.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    return 0


def _calls(job: Job) -> int:
    space = _execute(job, "solution")
    while True:
        try:
            name, arguments = loads(read_frame(CHANNEL))
        except EOFError:
            return 0
        write_frame(CHANNEL, _answer(space, name, arguments))


def _answer(space: dict[str, Any], name: str, arguments: list[object]) -> bytes:
    """`["value", value, arguments as the call left them]` or `["raised", class, message]`."""
    try:
        holder = space.get("Solution")
        if name not in space and holder is not None:
            function = getattr(holder(), name)
        else:
            function = space[name]
        return dumps(["value", function(*arguments), arguments])
    except MemoryError:
        return dumps(["raised", "MemoryError", ""])
    except SystemExit:
        return dumps(["raised", "RuntimeError", "the program asked to end"])
    except BaseException as error:  # noqa: BLE001 - a program may raise anything
        return dumps(["raised", type(error).__name__, str(error)[:200]])


def _tests(job: Job) -> int:
    program = RemoteProgram(CHANNEL)
    space: dict[str, Any] = {"__name__": "tests"}
    result: dict[str, object] = {"passed": True, "gone": False, "raised": None}
    try:
        exec(compile(job.before, "<before the tests>", "exec"), space)
        space.update({name: program.function(name) for name in job.functions})
        exec(compile(job.tests, "<tests>", "exec"), space)
        if job.candidate:
            space["check"](program.function(job.candidate))
    except ProgramGone:
        result = {"passed": False, "gone": True, "raised": None}
    except BaseException:  # noqa: BLE001 - a test fails by raising anything
        result = {"passed": False, "gone": False, "raised": program.raised}
    write_frame(REPORT, dumps(result))
    return 0


def _together(job: Job) -> int:
    space = _execute(job, "solution")
    _exec(_compile(job.tests, "<tests>", "exec"), space)
    if job.candidate:
        space["check"](space[job.candidate])
    _write(REPORT, job.nonce.encode())
    return 0


def _execute(job: Job, name: str) -> dict[str, Any]:
    """Execute the source as a module of that name; returns the module's names.

    Only a script is `__main__`: a solution that is called must not do what it does as a script.
    """
    module = ModuleType(name)
    if job.prelude:
        module.__dict__.update(_prelude)
    module.__dict__.update(__name__=name, __builtins__=builtins)
    sys.modules[name] = module
    exec(compile(job.source, "solution.py", "exec"), module.__dict__)
    return module.__dict__


def _reopen_standard_streams() -> None:
    # The inherited streams may hold data that their process had buffered.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = io.TextIOWrapper(
        open(1, "wb", closefd=False),  # noqa: SIM115
        encoding="utf-8",
        errors="replace",
    )


def _flushed(code: int) -> int:
    try:
        for stream in {id(s): s for s in (sys.stdout, sys.__stdout__) if s is not None}.values():
            stream.flush()
    except BaseException:  # noqa: BLE001 - a program may have replaced the streams
        return code or FAILED
    return code


_MODES: dict[str, Callable[[Job], int]] = {
    "script": _script,
    "calls": _calls,
    "tests": _tests,
    "together": _together,
}
