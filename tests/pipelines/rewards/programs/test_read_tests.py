import json
import re
from typing import Any

import pytest

from pipelines.errors import InputError
from pipelines.rewards.programs.read_tests import Asserts, Calls, Check, InputOutput, read_tests

CHECK = {"prompt": "def f(x):\n", "test": "def check(c):\n    assert c(1) == 1", "entry_point": "f"}


def read(**fields: Any) -> object:
    return read_tests(json.dumps(fields))


def asserts(*tests: str, **fields: Any) -> Asserts:
    found = read(test_list=list(tests), **fields)
    assert isinstance(found, Asserts)
    return found


def test_apps_is_read_with_the_data_sets_own_fields() -> None:
    pairs = {"inputs": ["1\n"], "outputs": ["2\n"]}
    wanted = InputOutput(("1\n",), ("2\n",), by_line=True)
    assert read(input_output=pairs) == wanted
    assert read(input_output=json.dumps(pairs), problem_id=3) == wanted


def test_an_input_may_be_a_list_of_lines() -> None:
    found = read(input_output={"inputs": [["3", "1 2"]], "outputs": [["3"]]})
    assert found == InputOutput(("3\n1 2",), ("3",), by_line=True)


def test_apps_with_a_function_gives_calls() -> None:
    found = read(input_output={"fn_name": "f", "inputs": [[1, [2]], []], "outputs": [3, [4]]})
    assert found == Calls("f", ((1, [2]), ()), (3, [4]))


def test_inputs_and_outputs_alone_are_read_as_code_contests() -> None:
    assert read(inputs=["1"], outputs=["2"]) == InputOutput(("1",), ("2",), by_line=False)


def test_human_eval_gives_a_check() -> None:
    assert read(**CHECK, task_id="HumanEval/0") == Check(**CHECK)


def test_the_functions_that_asserts_need_are_found() -> None:
    found = asserts("assert set(f([1, 2])) == {1}", "assert math.isclose(g(1), 2)")
    assert (found.functions, found.before) == (("f", "g"), "import math")
    assert not found.together


def test_a_solution_replaces_a_built_in_only_if_nothing_else_is_called() -> None:
    assert asserts("assert sum(1, 2) == 3").functions == ("sum",)
    assert asserts("assert sum(f(1)) == 3").functions == ("f",)


@pytest.mark.parametrize(
    ("test", "setup"),
    [
        ("assert depth(root) == 1", "root = Node(1)"),
        ("assert f(lambda x: x) == 1", ""),
        ("assert f([Pair(1, 2)]) == 1", ""),
    ],
)
def test_tests_that_use_the_solutions_objects_run_in_its_interpreter(test: str, setup: str) -> None:
    assert asserts(test, test_setup_code=setup).together


def test_a_capitalised_function_is_not_taken_for_a_class() -> None:
    assert not asserts("assert Find_Max([1, 2]) == 2").together


def test_challenge_tests_are_added_on_request() -> None:
    row = json.dumps({"test_list": ["assert f(1)"], "challenge_test_list": ["assert f(2)"]})
    tests = [read_tests(row, challenge) for challenge in (False, True)]
    assert ["f(2)" in found.tests for found in tests if isinstance(found, Asserts)] == [False, True]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "reference must have the fields input_output (APPS)"),
        ({"answer": "4"}, "it has answer"),
        ({"input_output": "{"}, "reference.input_output must be a JSON object, got text that"),
        ({"input_output": 3}, "reference.input_output must be a JSON object, got 3"),
        ({"inputs": ["1"]}, "reference.outputs must be a list with at least one test, got nothing"),
        ({"inputs": [], "outputs": []}, "reference.inputs must be a list with at least one test"),
        ({"inputs": ["1", "2"], "outputs": ["1"]}, "must be as many as inputs, 2, got 1"),
        ({"inputs": [1], "outputs": ["1"]}, "reference.inputs[0] must be text, got 1"),
        (
            {"input_output": {"fn_name": "f", "inputs": [1], "outputs": [1]}},
            "reference.input_output.inputs[0] must be a list, got 1",
        ),
        ({"test_list": "assert f()"}, "reference.test_list must be a list with at least one test"),
        ({"test_list": ["assert f("]}, "reference.test_list[0] must be Python, got 'assert f('"),
        ({"test_list": [1]}, "reference.test_list must be text, got 1"),
        ({**CHECK, "prompt": None}, "reference.prompt must be text, got nothing"),
        ({**CHECK, "test": "assert f(1)"}, "reference.test must define check(candidate)"),
        ({**CHECK, "entry_point": "f()"}, "reference.entry_point must be a name, got 'f()'"),
    ],
)
def test_a_malformed_reference_is_refused_by_field(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        read(**fields)


def test_a_reference_that_is_not_json_is_refused() -> None:
    with pytest.raises(InputError, match="reference must be a JSON object, got text"):
        read_tests("42 apples")
