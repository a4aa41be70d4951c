"""Functions shared by the sets of programming problems: tests as a reference, question format.

The reference is a JSON object of the set's own fields, keys sorted. The `unit_tests` reward
recognizes the set by these fields:

| set | fields |
|---|---|
| APPS | `input_output`: {`inputs`, `outputs`, `fn_name` if the problem asks for a function} |
| CodeContests | `inputs`, `outputs` |
| MBPP | `test_list`, `test_setup_code` |
| HumanEval | `prompt`, `test`, `entry_point` |
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_STANDARD_INPUT = "Use Standard Input format"
_CALL_BASED = "Use Call-Based format"


def reference(**tests: object) -> str:
    """A problem's tests as its reference."""
    with _long_integers():
        return json.dumps(tests, ensure_ascii=False, sort_keys=True)


def parsed(value: object) -> Any:
    """The value of a field that may be JSON text; None if the text is empty or not JSON."""
    if not isinstance(value, str):
        return value
    try:
        with _long_integers():
            return json.loads(value)
    except ValueError:
        return None


def unix_lines(code: str) -> str:
    r"""Code with `\n` line ends and no white space at the end."""
    return code.replace("\r\n", "\n").rstrip()


def in_apps_format(question: str, starter_code: str, *, calls: bool) -> str:
    """The question in the format of APPS's own prompt, up to but without `ANSWER:`."""
    starter = f"\n{starter_code}" if starter_code.strip() else ""
    return f"{question}{starter}\n{_CALL_BASED if calls else _STANDARD_INPUT}"


@contextmanager
def _long_integers() -> Iterator[None]:
    """Lift Python's limit of 4,300 digits per number: some tests of APPS have longer ones."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(limit)
