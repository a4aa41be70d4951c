import json
import re
from collections.abc import Iterator

import pytest

from pipelines.config import RewardConfig
from pipelines.errors import ConfigError, MachineError
from pipelines.rewards.references import gold_solutions
from pipelines.rewards.resolve import resolve_reward, verifier_version
from pipelines.rewards.sandbox import launch
from pipelines.rewards.unit_tests import UnitTests, unit_tests
from pipelines.rewards.workers.pool import ScoringPool
from tests.failing_references import failing_references
from tests.pipelines.rewards.sandbox.rewards import ASSERTS, SCRIPT

CONFIG = RewardConfig(function="unit_tests", timeout_seconds=4)
CALLS = json.dumps({"input_output": {"fn_name": "f", "inputs": [[[2, 1]]], "outputs": [[[1, 2]]]}})
CHECK = json.dumps(
    {
        "prompt": "def double(x):\n    return 2 * x\n\ndef f(x):\n    '''Four times x.'''\n",
        "test": "def check(candidate):\n    for x in range(9):\n"
        "        assert candidate(x) == double(double(x))\n        assert abs(f(x) - 4 * x) < 1e-6\n",
        "entry_point": "f",
    }
)


@pytest.fixture(scope="module")
def reward() -> Iterator[UnitTests]:
    try:
        made = unit_tests(timeout_seconds=4)
    except MachineError as error:
        pytest.skip(str(error))
    made.warm_up()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("reference", "solution", "verdict"),
    [
        (SCRIPT, "print(int(input()) + 1)", "correct"),
        (SCRIPT, "print(int(input()))", "wrong"),
        (SCRIPT, "print(21); raise SystemExit(1)", "wrong"),
        (SCRIPT, "import sys\nprint(21)\nsys.exit()", "correct"),
        (SCRIPT, "if __name__ == '__main__':\n    print(21)", "correct"),
        (SCRIPT, "import threading\nthreading.Thread(target=print, args=(21,)).start()", "correct"),
        (SCRIPT, "print(math.ceil(20.5))", "wrong"),  # only APPS solutions get imports
        (SCRIPT, "I would add one.", "no_answer"),
        (ASSERTS, "def successor(n):\n    return n + 1", "correct"),
        (ASSERTS, "def successor(n):\n    return n + 2", "wrong"),
        (ASSERTS, "def successor(n):\n    return 21", "wrong"),
        (CALLS, "def f(x):\n    return tuple(sorted(x))", "correct"),
        (
            CALLS,
            "class Solution:\n    def f(self, x: List[int]):\n        return sorted(x)",
            "correct",
        ),
        (CALLS, "def f(x):\n    return x", "wrong"),
        (CALLS, "def f(x):\n    return 1 / 0", "wrong"),
        (CHECK, "    return 4 * x", "correct"),
        (CHECK, "def f(x):\n    return double(double(x))", "correct"),
        (CHECK, "    return 3 * x", "wrong"),
        (CHECK, "def double(x):\n    return 0\n\ndef f(x):\n    return 0", "wrong"),
    ],
)
def test_each_format_is_scored(
    reward: UnitTests, reference: str, solution: str, verdict: str
) -> None:
    assert reward(solution, reference).verdict == verdict


def test_apps_scripts_get_imports_and_may_end_with_return(reward: UnitTests) -> None:
    tests = json.dumps({"input_output": {"inputs": ["4"], "outputs": ["2"]}})
    program = "x = int(input())\nif x > 3:\n    print(int(sqrt(x)))\n    return\nprint(0)"
    assert reward(f"```python\n{program}\n```", tests).verdict == "correct"


def test_tests_may_use_the_solutions_own_objects(reward: UnitTests) -> None:
    tests = json.dumps(
        {
            "test_setup_code": "root = Node(1)\nroot.left = Node(2)",
            "test_list": ["assert depth(root) == 2"],
        }
    )
    program = (
        "class Node:\n    def __init__(self, value):\n        self.left = None\n\n"
        "def depth(node):\n    return 1 + depth(node.left) if node else {}\n"
    )
    assert reward(program.format(0), tests).verdict == "correct"
    assert reward(program.format(1), tests).verdict == "wrong"
    assert reward(program.format("__import__('os')._exit(0)"), tests).verdict == "wrong"
    skip = "import builtins\nbuiltins.exec = builtins.compile = lambda *a: None\n"
    assert reward(skip + program.format(1), tests).verdict == "wrong"


def test_a_function_may_change_its_arguments(reward: UnitTests) -> None:
    tests = json.dumps(
        {
            "prompt": "def f(x):\n",
            "test": "def check(c):\n    x = [2, 1]\n    assert c(x) is None\n    assert x == [1, 2]",
            "entry_point": "f",
        }
    )
    assert reward("    x.sort()", tests).verdict == "correct"
    assert reward("    sorted(x)", tests).verdict == "wrong"


def test_a_malformed_reference_is_an_error_that_names_the_field(reward: UnitTests) -> None:
    given = reward("print(1)", '{"inputs": ["1"]}')
    assert given.verdict == "error"
    assert "reference.outputs must be a list" in str(given.detail)


def test_a_late_program_does_not_affect_the_others() -> None:
    good, late = "print(int(input()) + 1)", "while True:\n    pass"
    dead = "import ctypes\nctypes.string_at(0)"
    solutions = [f"{text}\n# {n}" for n in range(4) for text in (good, dead, good)] + [late]
    with ScoringPool(RewardConfig(function="unit_tests", timeout_seconds=3), 2) as pool:
        scored = pool.score([(solution, SCRIPT) for solution in solutions])
    wanted = ["correct", "wrong", "correct"] * 4 + ["timeout"]
    assert [given.verdict.verdict for given in scored] == wanted


def test_human_solutions_are_run_against_their_tests() -> None:
    reward = resolve_reward(CONFIG)
    assert reward("    return 4 * x\n", CHECK).verdict == "correct"
    assert reward("    return 5 * x\n", CHECK).verdict == "wrong"
    assert gold_solutions(reward, CHECK, ["    return 4 * x\n"]) == ["    return 4 * x\n"]
    assert gold_solutions(reward, CHECK, []) == []
    good = {"reference": CHECK, "solution": "    return 4 * x\n"}
    bad = {"reference": CHECK, "solution": "    return x\n"}
    unreadable = {"reference": '{"test_list": []}', "solution": None}
    untried = {"reference": CHECK, "solution": None}
    assert failing_references(CONFIG, [good, bad, unreadable, untried], 1) == [bad, unreadable]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"sandbox": "docker"},
            "sandbox must be one of auto, bubblewrap, namespaces, none, got 'doc",
        ),
        ({"timeout_seconds": 3}, "must not have timeout_seconds; set reward.timeout_seconds"),
        ({"tests": 1}, "does not fit unit_tests: .*'tests'"),
    ],
)
def test_options_are_checked(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=r"reward\.options.*" + says.replace("(", r"\(")):
        resolve_reward(RewardConfig(function="unit_tests", options=options))


def test_the_limits_are_part_of_the_verifier_version() -> None:
    other = RewardConfig(function="unit_tests", timeout_seconds=5)
    assert verifier_version(CONFIG) != verifier_version(other)
    assert re.match(r"1\+python-3\.\d+\.\d+\+", verifier_version(CONFIG))


def test_without_a_sandbox_the_reward_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str) -> None:
        raise launch.SandboxUnavailable(f"no {kind} here")

    monkeypatch.setattr(launch, "spawn", refuse)
    launch.choose.cache_clear()
    try:
        with pytest.raises(
            MachineError, match=r"no bubblewrap here.*no namespaces here.*sandbox: none"
        ):
            launch.choose(launch.AUTO)
    finally:
        launch.choose.cache_clear()


def test_programs_run_without_a_sandbox_if_the_user_allows_it() -> None:
    open_air = unit_tests(sandbox="none", timeout_seconds=4)
    try:
        assert open_air("print(int(input()) + 1)", SCRIPT).verdict == "correct"
        assert open_air("import os\nos.fork()\nprint(21)", SCRIPT).verdict == "wrong"
    finally:
        open_air.close()
