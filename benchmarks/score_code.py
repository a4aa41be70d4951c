"""Speed of `unit_tests` compared with HumanEval's own harness, one new interpreter per program.

    python -m benchmarks.score_code DATA [--problems N] [--repeats R] [--sandbox KIND]

Both score the reference solutions of HumanEval and MBPP, in turns, in one process on one processor,
one program at a time. HumanEval's harness has no isolation: each program and its tests are one file
for `python -c`. Wall time depends on the machine's load; processor time does not.
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
"""Left out: each computes for seconds, which would dominate the rates."""
_SECONDS = 30.0


class Rate(NamedTuple):
    """Programs per second of wall time and of processor time, and the number that passed."""

    wall: float
    processor: float
    passed: int


def main() -> None:
    """Measure both in turns and print the rates."""
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
        ours.append(measure(problems, lambda rows: score_all(with_sandbox, rows)))
        theirs.append(measure(problems, run_alone))
    _show("unit_tests", ours, len(problems))
    _show("a new interpreter per program", theirs, len(problems))
    pairs = list(zip(ours, theirs, strict=True))
    _show_ratio("wall", [our.wall / their.wall for our, their in pairs])
    _show_ratio("processor", [our.processor / their.processor for our, their in pairs])


def measure(problems: Sequence[Solved], score: Callable[[Sequence[Solved]], int]) -> Rate:
    """The rate of scoring problems."""
    start, used = time.monotonic(), _processor_seconds()
    passed = score(problems)
    wall, used = time.monotonic() - start, _processor_seconds() - used
    return Rate(len(problems) / wall, len(problems) / used, passed)


def score_all(reward: UnitTests, problems: Sequence[Solved]) -> int:
    """The number that pass. Includes the start and end of the sandboxes."""
    reward.warm_up()
    verdicts = [reward(in_a_fence(p.program), p.reference).verdict for p in problems]
    reward.close()  # their processor time is counted once they have ended
    return verdicts.count(CORRECT)


def run_alone(problems: Sequence[Solved]) -> int:
    """The number that pass, each in a new interpreter."""
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


def _choose(problems: list[Solved], maximum: int) -> list[Solved]:
    short = [problem for problem in problems if problem.name not in _SLOW]
    return short[:: max(1, -(-len(short) // maximum))]


def _processor_seconds() -> float:
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system


def _show(name: str, rates: list[Rate], num_programs: int) -> None:
    passed = ", ".join(sorted({f"{rate.passed} of {num_programs} pass" for rate in rates}))
    for clock in ("wall", "processor"):
        values = sorted(getattr(rate, clock) for rate in rates)
        print(
            f"{name}: {median(values):.1f} programs per second of {clock} time "
            f"({values[0]:.1f} to {values[-1]:.1f}); {passed}"
        )


def _show_ratio(clock: str, values: list[float]) -> None:
    print(f"ratio, {clock}: {median(values):.1f} ({min(values):.1f} to {max(values):.1f})")


if __name__ == "__main__":
    main()
