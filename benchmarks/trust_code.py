"""Verdicts of `unit_tests` on programs known to be right, and on the same programs broken.

    python -m benchmarks.trust_code DATA [--mutants N]

DATA is a folder with humaneval/, mbpp/ and apps/. Reference solutions must pass; those that do not
are named. Then each is changed in one place. A mutant that still passes is run again in a plain
interpreter: if it fails there, the reward is wrong; if not, the tests cannot detect the change.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.code_mutations import KINDS, mutate
from benchmarks.code_problems import (
    Solved,
    apps,
    apps_generated,
    as_one_program,
    human_eval,
    in_a_fence,
    mbpp,
)
from pipelines.config import RewardConfig
from pipelines.rewards.resolve import verifier_version
from pipelines.rewards.workers.pool import ScoringPool
from pipelines.runtime.hardware import usable_cores
from schemas.rewards import CORRECT

_SECONDS = 20.0
_CONFIG = RewardConfig(function="unit_tests", timeout_seconds=_SECONDS)


def main() -> None:
    """Score, count and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--mutants", type=int, default=10_000, help="maximum number of problems to mutate"
    )
    parsed = parser.parse_args()
    print(f"unit_tests {verifier_version(_CONFIG)}, {_SECONDS:g} s per verdict")
    suites = {"HumanEval": human_eval, "MBPP": mbpp, "APPS": apps}
    with ScoringPool(_CONFIG, usable_cores()) as pool:
        for name, read in suites.items():
            problems = read(parsed.data)
            show_references(name, pool, problems)
            if name != "APPS":
                show_mutants(name, pool, problems[:: max(1, len(problems) // parsed.mutants)])
        show_generated(pool, parsed.data)


def show_references(name: str, pool: ScoringPool, problems: Sequence[Solved]) -> None:
    """Print the number of reference solutions that pass, and the names of the others."""
    start = time.monotonic()
    verdicts = score_all(pool, problems)
    seconds = time.monotonic() - start
    print(f"{name}: {verdicts.count(CORRECT)} of {len(problems)} pass ({seconds:.0f} s)")
    for problem, verdict in zip(problems, verdicts, strict=True):
        if verdict != CORRECT:
            print(f"  {problem.name}: {verdict}")


def show_mutants(name: str, pool: ScoringPool, problems: Sequence[Solved]) -> None:
    """Print the number of mutants that fail, by kind, and which passed wrongly."""
    for kind in KINDS:
        mutants = [
            problem._replace(program=changed)
            for problem in problems
            if (changed := mutate(problem.program, kind)) is not None
        ]
        verdicts = score_all(pool, mutants)
        passed = [m for m, v in zip(mutants, verdicts, strict=True) if v == CORRECT]
        faults = [mutant.name for mutant in passed if not passes_alone(mutant)]
        caught = 1 - len(passed) / len(mutants)
        print(
            f"{name}, {kind}: {len(mutants) - len(passed)} of {len(mutants)} fail ({caught:.1%}) "
            f"{dict(Counter(verdicts))}; wrongly passed: {len(faults)} {' '.join(faults)}"
        )


def show_generated(pool: ScoringPool, data: Path) -> None:
    """Print the agreement with CodeRL's recorded results for a model's programs."""
    given = apps_generated(data)
    verdicts = score_all(pool, [problem for problem, _ in given])
    counts = Counter[tuple[bool, str]]()
    for (problem, record), verdict in zip(given, verdicts, strict=True):
        theirs = record["result"] is True
        counts[theirs, verdict] += 1
        if theirs != (verdict == CORRECT):
            print(f"  {problem.name}: CodeRL {record['error_type']}, here {verdict}")
    print(f"APPS, programs of a model, (passes in CodeRL, verdict here): {dict(counts)}")


def score_all(pool: ScoringPool, problems: Sequence[Solved]) -> list[str]:
    """The verdicts of programs, each in a fence."""
    pairs = [(in_a_fence(problem.program), problem.reference) for problem in problems]
    return [scored.verdict.verdict for scored in pool.score(pairs)]


def passes_alone(problem: Solved) -> bool:
    """Whether the program and its tests succeed in one new interpreter."""
    try:
        ended = subprocess.run(
            [sys.executable, "-c", as_one_program(problem)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return ended.returncode == 0


if __name__ == "__main__":
    main()
