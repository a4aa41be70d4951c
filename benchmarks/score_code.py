"""`unit_tests` beside HumanEval's own way, one fresh interpreter for each program.

    python -m benchmarks.score_code DATA [--problems N] [--repeats R] [--sandbox KIND]

Both judge the reference solutions of HumanEval and MBPP, in turns, in one process on one processor,
one program at a time. HumanEval's way has no isolation: each program and its tests are one file for
`python -c`. Wall time is what a user waits; processor time is what is left of it on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.code_problems import Solved, as_one_program, human_eval, in_a_fence, mbpp
from pipelines.rewards.unit_tests import UnitTests, unit_tests
from pipelines.runtime.hardware import memory_gib, processor
from schemas.rewards import CORRECT

_SLOW = {"MBPP/123", "HumanEval/75"}
"""Seconds of arithmetic each: they would measure that."""
_SECONDS = 30.0


class Rate(NamedTuple):
    """Programs a second of wall time, of processor time, and how many passed."""

    wall: float
    processor: float
    passed: int


def main() -> None:
    """Measure in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--problems", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sandbox", default="auto")
    parsed = parser.parse_args()
    problems = _choose([*human_eval(parsed.data), *mbpp(parsed.data)], parsed.problems)
    machine = processor()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with_sandbox = unit_tests(sandbox=parsed.sandbox, timeout_seconds=_SECONDS)
    kind = with_sandbox.sandboxes.programs.kind
    print(f"{machine.name}, 1 of {machine.cores} cores, {memory_gib():.0f} GiB, {kind}")
    print(f"{len(problems)} programs, load {os.getloadavg()[0]:.1f}")
    ours, theirs = [], []
    for _ in range(parsed.repeats):
        ours.append(measure(problems, lambda rows: judge_all(with_sandbox, rows)))
        theirs.append(measure(problems, run_alone))
    _show("unit_tests", ours, len(problems))
    _show("a fresh interpreter each", theirs, len(problems))
    pairs = list(zip(ours, theirs, strict=True))
    _show_ratio("wall", [mine.wall / its.wall for mine, its in pairs])
    _show_ratio("processor", [mine.processor / its.processor for mine, its in pairs])


def measure(problems: Sequence[Solved], judge: Callable[[Sequence[Solved]], int]) -> Rate:
    """The rate of judging problems."""
    start, used = time.monotonic(), _processor_seconds()
    passed = judge(problems)
    wall, used = time.monotonic() - start, _processor_seconds() - used
    return Rate(len(problems) / wall, len(problems) / used, passed)


def judge_all(reward: UnitTests, problems: Sequence[Solved]) -> int:
    """The number that pass. The sandboxes' start and end are part of it."""
    reward.warm_up()
    verdicts = [reward(in_a_fence(p.program), p.reference).verdict for p in problems]
    reward.close()  # their processor time counts here once they have ended
    return verdicts.count(CORRECT)


def run_alone(problems: Sequence[Solved]) -> int:
    """The number that pass, each in an interpreter of its own."""
    codes = [
        subprocess.run(
            [sys.executable, "-c", as_one_program(problem)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        ).returncode
        for problem in problems
    ]
    return codes.count(0)


def _choose(problems: list[Solved], most: int) -> list[Solved]:
    short = [problem for problem in problems if problem.name not in _SLOW]
    return short[:: max(1, -(-len(short) // most))]


def _processor_seconds() -> float:
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system


def _show(name: str, rates: list[Rate], asked: int) -> None:
    passed = ", ".join(sorted({f"{rate.passed} of {asked} pass" for rate in rates}))
    for clock in ("wall", "processor"):
        values = sorted(getattr(rate, clock) for rate in rates)
        print(
            f"{name}: {median(values):.1f} programs a second of {clock} time "
            f"({values[0]:.1f} to {values[-1]:.1f}); {passed}"
        )


def _show_ratio(clock: str, values: list[float]) -> None:
    print(f"ratio, {clock}: {median(values):.1f} ({min(values):.1f} to {max(values):.1f})")


if __name__ == "__main__":
    main()
