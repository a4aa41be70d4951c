"""What hostile programs do to the host and to their neighbours, and how many are taken for right.

    python -m benchmarks.hostile_programs [--sandbox KIND]

The programs are those of the tests. While each runs, a neighbour in a sandbox of its own scores a
right and a wrong program again and again. Its times are compared with its times alone, and beside
programs that only compute: a machine with few cores is slower beside any other work.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from pipelines.rewards.unit_tests import UnitTests, unit_tests
from pipelines.runtime.hardware import memory_gib, processor
from schemas.rewards import CORRECT, WRONG
from tests.pipelines.rewards.sandbox.hostile import (
    HARNESS_SCRIPTS,
    KERNEL_SCRIPTS,
    SCRIPTS,
    SOLUTIONS,
)
from tests.pipelines.rewards.sandbox.rewards import ASSERTS, SCRIPT

_SECONDS = 2.0
_RIGHT = "```python\ndef successor(n):\n    return n + 1\n```"
_BROKEN = "```python\ndef successor(n):\n    return n\n```"
_LOOP = "```python\nwhile True:\n    pass\n```"


@dataclass
class Neighbour:
    """Scores two programs again and again in a thread, until it is stopped."""

    reward: UnitTests
    seconds: list[float] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Neighbour:
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stopped.is_set():
            start = time.monotonic()
            given = [self.reward(program, ASSERTS).verdict for program in (_RIGHT, _BROKEN)]
            self.seconds.append(time.monotonic() - start)
            if given != [CORRECT, WRONG]:
                self.mistakes.append(" and ".join(given))


def main() -> None:
    """Run everything once and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sandbox", default="auto")
    kind = parser.parse_args().sandbox
    attacked, beside = (
        unit_tests(sandbox=kind, timeout_seconds=seconds, memory_limit_mb=256)
        for seconds in (_SECONDS, 10 * _SECONDS)
    )
    attacked.warm_up()
    beside.warm_up()
    machine = processor()
    print(f"{machine.name}, {machine.cores} cores, {memory_gib():.0f} GiB, load "
          f"{os.getloadavg()[0]:.1f}, {attacked.sandboxes.programs.kind}")  # fmt: skip
    with Neighbour(beside) as alone:
        time.sleep(10)
    with Neighbour(beside) as beside_loop:
        for _ in range(10):
            attacked(_LOOP, SCRIPT)
    before = host()
    scripts = (SCRIPTS | KERNEL_SCRIPTS | HARNESS_SCRIPTS).items()
    with Neighbour(beside) as beside_hostile:
        fooled = [*taken_for_right(attacked, scripts, SCRIPT)]
        fooled += taken_for_right(attacked, SOLUTIONS.items(), ASSERTS)
    attacked.close()
    print(f"{len(scripts) + len(SOLUTIONS)} hostile programs, taken for right: {fooled or 0}")
    beside.close()
    print(f"host before: {json.dumps(before)}\nhost after:  {json.dumps(host())}")
    for name, neighbour in (
        ("alone", alone),
        ("beside an endless loop", beside_loop),
        ("beside hostile programs", beside_hostile),
    ):
        milliseconds = [1000 * seconds for seconds in neighbour.seconds]
        print(f"neighbour {name}: {len(milliseconds)} times, wrong verdicts "
              f"{neighbour.mistakes or 0}, median {median(milliseconds):.1f} ms")  # fmt: skip
    ratio = median(beside_hostile.seconds) / median(beside_loop.seconds)
    print(f"beside hostile programs against beside an endless loop: {ratio:.2f}")


def taken_for_right(
    reward: UnitTests, programs: Iterable[tuple[str, tuple[str, str]]], reference: str
) -> list[str]:
    """The names of the programs that get the verdict `correct`, or none in time."""
    fooled = []
    for name, (program, _) in programs:
        start = time.monotonic()
        verdict = reward(f"```python\n{program}\n```", reference).verdict
        if verdict == CORRECT or time.monotonic() - start > 3 * _SECONDS:
            fooled.append(name)
    return fooled


def host() -> dict[str, object]:
    """What a program may have changed: files, shared memory, descendants, memory in use."""
    segments = Path("/proc/sysvipc/shm").read_text(encoding="utf-8").splitlines()[1:]
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="utf-8").split()
    memory = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    shared = next(line for line in memory if line.startswith("Shmem:"))
    library = Path(os.__file__)
    return {
        "library": hashlib.sha256(library.read_bytes()).hexdigest()[:12],
        "files beside it": len(list(library.parent.iterdir())),
        "/dev/shm": len(list(Path("/dev/shm").iterdir())),
        "SysV segments": len(segments),
        "children": len(children),
        "shared memory, MB": int(shared.split()[1]) // 1024,
    }


if __name__ == "__main__":
    main()
