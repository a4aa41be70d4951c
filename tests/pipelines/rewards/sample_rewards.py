"""Rewards as users write them, good and bad; the tests name them `python:<this module>:<name>`."""

import os
import subprocess
import sys
import time
from pathlib import Path

from pipelines.rewards.verdict import Verdict


def same_text(solution: str, reference: str) -> bool:
    return solution.strip() == reference


def share_of_words(solution: str, reference: str, scale: float = 1.0) -> float:
    words = reference.split()
    return scale * sum(word in solution for word in words) / len(words)


def obeys(solution: str, reference: str) -> object:
    """Does what the solution says: the ways in which a reward can misbehave."""
    action, _, argument = solution.partition(" ")
    if action in _ACTIONS:
        return _ACTIONS[action](argument)
    return solution == reference


def _loop(argument: str) -> None:
    while True:
        pass


def _power(argument: str) -> None:
    # Holds the interpreter's lock in C code: no thread or signal handler of Python gets a turn.
    10 ** (10**10)


def _allocate(argument: str) -> int:
    return len(bytearray(int(argument)))


def _print(argument: str) -> bool:
    sys.stdout.write("x" * 200_000)
    sys.stderr.write("y" * 200_000)
    return True


def _raise(argument: str) -> None:
    raise RuntimeError(argument)


def _sleep(argument: str) -> bool:
    time.sleep(float(argument))
    return True


def _child(argument: str) -> None:
    child = subprocess.Popen(["sleep", "60"])
    Path(argument).write_text(str(child.pid))
    time.sleep(60)


_ACTIONS = {
    "loop": _loop,
    "power": _power,
    "die": lambda code: os._exit(int(code)),
    "exit": lambda code: sys.exit(int(code)),
    "raise": _raise,
    "allocate": _allocate,
    "print": _print,
    "child": _child,
    "pid": lambda _: Verdict(os.getpid(), "correct"),
    "return_none": lambda _: None,
    "return_nan": lambda _: float("nan"),
    "return_text": lambda text: text,
    "sleep": _sleep,
}
