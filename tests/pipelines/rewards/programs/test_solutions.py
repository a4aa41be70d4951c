import pytest

from pipelines.rewards.programs.solutions import complete_prompt, ending_at_return, find_program

CODE = "import math\n\ndef f(x):\n    return math.floor(x)"
PROMPT = 'from typing import List\n\ndef helper(x):\n    return x\n\ndef f(x: List[int]) -> int:\n    """Add.\n    """\n'


@pytest.mark.parametrize(
    "solution",
    [
        CODE,
        f"```python\n{CODE}\n```",
        f"Here is the program:\n\n```python\n{CODE}\n```\nIt rounds down.",
        f"~~~ no\n```\n{CODE}\n```",
        f"```py\n{CODE}\n",
        f"  ```python\n{CODE}\n  ```",
        f"[BEGIN]\n{CODE}\n[DONE]\nYou are an expert Python programmer",
        f"\n{CODE}\n[DONE]\n\nNext task",
        f"We round down.\n\n{CODE}\n\nThis works because floor rounds down.",
        f"```python\nprint('an example')\n```\nand\n```python\n{CODE}\n```",
        f"```python\n{CODE}\n```\nUse it:\n```python\nf(2.5)\n```",
        f"```\nsome output\n```\n```python\n{CODE}\n```",
        f"```cpp\nint main() {{}}\n```\n```python\n{CODE}\n```",
    ],
)
def test_the_program_is_found_in_the_text_around_it(solution: str) -> None:
    found = find_program(solution, "f")
    assert found is not None
    assert found.strip() == CODE


@pytest.mark.parametrize(
    "solution",
    [
        "",
        "42",
        "I do not know.",
        "The answer is 42.",
        "yes",
        "[DONE]",
        "```python\n```",
        "x" * 300_000,
    ],
)
def test_words_are_not_a_program(solution: str) -> None:
    assert find_program(solution) is None


def test_a_block_that_does_not_parse_is_still_the_program() -> None:
    assert find_program("```python\ndef f(x) return x\n```", "f") == "def f(x) return x\n"


@pytest.mark.parametrize(
    "solution",
    [
        "    return sum(x)\n",
        "    total = sum(x)\n    return total\n\n\ndef other():\n    pass\n",
        "return sum(x)",
        "total = sum(x)\n    return total",
        "```python\n    return sum(x)\n```",
        "```python\nreturn sum(x)\n```",
        "    return sum(x)\n\nThis adds the numbers, as asked.\n",
        "def f(x):\n    return sum(x)",
        "Sure!\n```python\ndef f(x):\n    return sum(x)\n```\n",
        "Sure! This adds.\n\ndef f(x):\n    return sum(x)\n\nDone, I hope.",
    ],
)
def test_a_body_or_a_whole_function_completes_the_prompt(solution: str) -> None:
    program = complete_prompt(PROMPT, solution, "f")
    assert program is not None
    space: dict[str, object] = {}
    exec(program, space)  # literals above
    function = space["f"]
    assert callable(function)
    assert function([1, 2]) == 3


@pytest.mark.parametrize("solution", ["", "I cannot.", "The function adds.\nIt is simple."])
def test_words_do_not_complete_a_prompt(solution: str) -> None:
    assert complete_prompt(PROMPT, solution, "f") is None


def test_return_ends_a_script_but_is_unchanged_in_functions() -> None:
    script = "def f():\n    return 1\nif f():\n    return\nprint(2)"
    changed = ending_at_return(script)
    assert "raise SystemExit" in changed
    assert "return 1" in changed
    assert ending_at_return(CODE) == CODE
