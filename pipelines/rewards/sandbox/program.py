"""What runs inside: a model's program, or a data set's tests that ask such a program for values.

| mode | runs | is asked |
|---|---|---|
| script | the source as `__main__`, on standard input and output | nothing |
| calls | the source as a module, then its functions, over the channel | `[name, arguments]` |
| tests | tests with a stand-in for each function, which asks a `calls` process | writes the result |
| together | the source, then the tests, in one interpreter | writes the result |
"""

from __future__ import annotations

import atexit
import builtins
import io
import os
import random
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

from pipelines.rewards.sandbox.asked import Asked, Gone
from pipelines.rewards.sandbox.frames import read_frame, write_frame
from pipelines.rewards.sandbox.values import dumps, loads

CHANNEL, REPORT = 3, 4
"""Descriptors: the values asked for, and the result of tests."""
FAILED, OUT_OF_MEMORY, NOT_CONFINED = 1, 77, 78
"""Exit codes: an exception, a `MemoryError`, and a sandbox that could not be closed."""

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
"""Names that APPS's solutions take for granted; loaded before any program is forked."""

_prelude: dict[str, Any] = {}
_compile, _exec, _write = compile, exec, os.write
"""As they were before a program could replace them."""


def preload() -> None:
    """Import what programs import, once for all of them."""
    exec(PRELUDE, _prelude)  # our own text, above
    os.environ.clear()


def run(job: dict[str, Any]) -> NoReturn:
    """Be the program of a job until it ends, then end the process."""
    code = FAILED
    try:
        sys.set_int_max_str_digits(0)
        random.seed(0)  # the same verdict every time
        _reopen_standard_streams()
        code = _MODES[job["mode"]](job)
    except SystemExit as ended:
        code = _exit_code(ended.code)
    except MemoryError:
        code = OUT_OF_MEMORY
    except BaseException:  # noqa: BLE001 - a program raises anything; its code says that it did
        code = FAILED
    finally:
        os._exit(_flushed(code))


def _script(job: dict[str, Any]) -> int:
    module = ModuleType("__main__")
    if job["prelude"]:
        module.__dict__.update(_prelude)
    module.__dict__.update(__name__="__main__", __builtins__=builtins)
    sys.modules["__main__"] = module
    sys.argv = ["solution.py"]
    try:
        exec(compile(job["source"], "solution.py", "exec"), module.__dict__)
    finally:
        # As the interpreter does at its end: threads first, then what asked to be called.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    return 0


def _calls(job: dict[str, Any]) -> int:
    space = _load(job)
    while True:
        try:
            name, arguments = loads(read_frame(CHANNEL))
        except EOFError:
            return 0
        write_frame(CHANNEL, _answer(space, name, arguments))


def _answer(space: dict[str, Any], name: str, arguments: list[Any]) -> bytes:
    """`["value", value, arguments as the call left them]` or `["raised", class, message]`."""
    try:
        return dumps(["value", _function(space, name)(*arguments), arguments])
    except MemoryError:
        return dumps(["raised", "MemoryError", ""])
    except SystemExit:
        return dumps(["raised", "RuntimeError", "the program asked to end"])
    except BaseException as error:  # noqa: BLE001 - a program raises anything
        return dumps(["raised", type(error).__name__, str(error)[:200]])


def _function(space: dict[str, Any], name: str) -> Callable[..., Any]:
    holder = space.get("Solution")
    if name not in space and holder is not None:
        return getattr(holder(), name)
    return space[name]


def _tests(job: dict[str, Any]) -> int:
    asked = Asked(CHANNEL)
    space: dict[str, Any] = {"__name__": "tests"}
    try:
        exec(compile(job["before"], "<before the tests>", "exec"), space)
        space.update({name: asked.function(name) for name in job["functions"]})
        exec(compile(job["tests"], "<tests>", "exec"), space)
        if job["candidate"]:
            space["check"](asked.function(job["candidate"]))
    except Gone as error:
        return _report({"passed": False, "gone": True, "detail": str(error)})
    except BaseException as error:  # noqa: BLE001 - tests fail by raising anything
        detail = f"{type(error).__name__}: {error}"[:300].rstrip(": ")
        return _report({"passed": False, "gone": False, "detail": detail, "raised": asked.raised})
    return _report({"passed": True})


def _report(result: dict[str, Any]) -> int:
    write_frame(REPORT, dumps(result))
    return 0


def _together(job: dict[str, Any]) -> int:
    space = _load(job)
    _exec(_compile(job["tests"], "<tests>", "exec"), space)
    if job["candidate"]:
        space["check"](space[job["candidate"]])
    _write(REPORT, job["nonce"].encode())
    return 0


def _load(job: dict[str, Any]) -> dict[str, Any]:
    # Not "__main__": what a solution does when it is run as a script is not what is asked of it.
    module = ModuleType("solution")
    if job["prelude"]:
        module.__dict__.update(_prelude)
    module.__dict__.update(__name__="solution", __builtins__=builtins)
    sys.modules["solution"] = module
    exec(compile(job["source"], "solution.py", "exec"), module.__dict__)
    return module.__dict__


def _reopen_standard_streams() -> None:
    # Those of the process that was forked may hold its buffers.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = io.TextIOWrapper(
        open(1, "wb", closefd=False),  # noqa: SIM115
        encoding="utf-8",
        errors="replace",
    )


def _exit_code(asked: object) -> int:
    if asked is None:
        return 0
    return asked & 0xFF if isinstance(asked, int) else FAILED


def _flushed(code: int) -> int:
    try:
        for stream in {id(s): s for s in (sys.stdout, sys.__stdout__) if s is not None}.values():
            stream.flush()
    except BaseException:  # noqa: BLE001 - a program may have put anything there
        return code or FAILED
    return code


_MODES: dict[str, Callable[[dict[str, Any]], int]] = {
    "script": _script,
    "calls": _calls,
    "tests": _tests,
    "together": _together,
}
