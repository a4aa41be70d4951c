import time

import pytest

from pipelines.rewards.unit_tests import UnitTests
from tests.pipelines.rewards.sandbox.hostile import (
    HARNESS_SCRIPTS,
    KERNEL_SCRIPTS,
    SCRIPTS,
    SOLUTIONS,
)
from tests.pipelines.rewards.sandbox.rewards import ASSERTS, SCRIPT, SECONDS, reward

__all__ = ["reward"]

GOOD_SCRIPT = "```python\nprint(int(input()) + 1)\n```"
GOOD_SOLUTION = "```python\ndef successor(n):\n    return n + 1\n```"


ALL_SCRIPTS = SCRIPTS | KERNEL_SCRIPTS | HARNESS_SCRIPTS


@pytest.mark.parametrize("name", ALL_SCRIPTS)
def test_a_hostile_script_gets_its_verdict_in_time(reward: UnitTests, name: str) -> None:
    program, verdict = ALL_SCRIPTS[name]
    start = time.monotonic()
    given = reward(f"```python\n{program}\n```", SCRIPT)
    assert time.monotonic() - start < 2 * SECONDS
    assert given.verdict in verdict.split(" or ")
    assert given.reward == 0.0
    assert reward(GOOD_SCRIPT, SCRIPT).verdict == "correct"


@pytest.mark.parametrize("name", SOLUTIONS)
def test_a_hostile_solution_gets_its_verdict_in_time(reward: UnitTests, name: str) -> None:
    program, verdict = SOLUTIONS[name]
    start = time.monotonic()
    given = reward(f"```python\n{program}\n```", ASSERTS)
    assert time.monotonic() - start < 2 * SECONDS
    assert (given.verdict, given.reward) == (verdict, 0.0)
    assert reward(GOOD_SOLUTION, ASSERTS).verdict == "correct"


def test_a_program_leaves_no_files_to_the_next(reward: UnitTests) -> None:
    write = "```python\nopen('kept', 'w').write('21')\nprint('20')\n```"
    assert reward(write, SCRIPT).verdict == "wrong"
    assert reward("```python\nprint(open('kept').read())\n```", SCRIPT).verdict == "wrong"


LEGITIMATE = {
    "modules that no program before it has imported": "import ctypes, traceback, sqlite3, unittest, zlib",
    "threads": "import threading, queue\nq = queue.Queue()\n"
    "ts = [threading.Thread(target=q.put, args=(n,)) for n in range(8)]\n"
    "[t.start() for t in ts]; [t.join() for t in ts]\nassert q.qsize() == 8",
    "a pool of threads": "from concurrent.futures import ThreadPoolExecutor\n"
    "with ThreadPoolExecutor(4) as pool:\n    assert sum(pool.map(abs, range(5))) == 10",
    "asyncio": "import asyncio\nasync def f():\n    await asyncio.sleep(0.01)\nasyncio.run(f())",
    "files": "import tempfile, os, pathlib\nwith tempfile.TemporaryDirectory() as d:\n"
    "    p = pathlib.Path(d, 'a')\n    p.write_text('x')\n    p.rename(p.with_name('b'))\n"
    "    assert os.listdir(d) == ['b'] and os.stat(d)\n    os.chdir(d); os.chdir('/tmp')",
    "an alarm": "import signal, time\nsignal.signal(signal.SIGALRM, lambda *_: None)\n"
    "signal.alarm(10)\nsignal.alarm(0)",
    "a large stack": "import sys, threading, resource\nsys.setrecursionlimit(10**5)\n"
    "threading.stack_size(2**26)\n"
    "resource.setrlimit(resource.RLIMIT_STACK, resource.getrlimit(resource.RLIMIT_STACK))\n"
    "def f(n): return 0 if n == 0 else 1 + f(n - 1)\n"
    "t = threading.Thread(target=f, args=(20000,)); t.start(); t.join()",
    "random numbers and the time": "import os, secrets, uuid, time, datetime, random\n"
    "os.urandom(8); uuid.uuid4(); secrets.token_hex(); time.localtime(); time.process_time()\n"
    "datetime.datetime.now(); random.SystemRandom().random(); os.times(); os.cpu_count()",
    "all input at once": "import sys, io, mmap\nassert sys.stdin.readline() and not sys.stdin.read()\n"
    "mmap.mmap(-1, 4096).write(b'x')\nopen(0).close()",
}


@pytest.mark.parametrize("name", LEGITIMATE)
def test_what_solutions_need_is_allowed(reward: UnitTests, name: str) -> None:
    program = f"```python\n{LEGITIMATE[name]}\nprint(21)\n```"
    assert reward(program, SCRIPT).verdict == "correct"
