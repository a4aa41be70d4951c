import time

import pytest

from pipelines.rewards.unit_tests import UnitTests
from tests.pipelines.rewards.sandbox.hostile import SCRIPTS, SOLUTIONS
from tests.pipelines.rewards.sandbox.rewards import ASSERTS, SCRIPT, SECONDS, reward

__all__ = ["reward"]

GOOD_SCRIPT = "```python\nprint(int(input()) + 1)\n```"
GOOD_SOLUTION = "```python\ndef successor(n):\n    return n + 1\n```"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_hostile_script_gets_its_verdict_in_time(reward: UnitTests, name: str) -> None:
    program, verdict = SCRIPTS[name]
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
