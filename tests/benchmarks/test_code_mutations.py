import pytest

from benchmarks.code_mutations import OFF_BY_ONE, SWAPPED_BRANCH, WRONG_CONSTANT, mutate


@pytest.mark.parametrize(
    ("kind", "program", "changed"),
    [
        (OFF_BY_ONE, "x < y", "x <= y"),
        (OFF_BY_ONE, "range(1, n)", "range(1, n - 1)"),
        (WRONG_CONSTANT, "x = 1", "x = 2"),
        (WRONG_CONSTANT, "x = 'a'", "x = 'ax'"),
        (WRONG_CONSTANT, "x = True", "x = False"),
        (SWAPPED_BRANCH, "x = 1 if y else 2", "x = 1 if not y else 2"),
    ],
)
def test_one_place_is_changed(kind: str, program: str, changed: str) -> None:
    assert mutate(program, kind) == changed


def test_a_docstring_is_no_place() -> None:
    assert mutate("def f():\n    'one'\n    return x", WRONG_CONSTANT) is None
