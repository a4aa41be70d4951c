"""What the sets of programming problems share: their tests as a reference, their prompt's last line.

The reference is a JSON object of the set's own fields, keys sorted. The `unit_tests` reward tells
the sets apart by those fields:

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

STANDARD_INPUT = "Use Standard Input format"
CALL_BASED = "Use Call-Based format"


def reference(**tests: Any) -> str:
    """A problem's tests as its reference."""
    with _long_integers():
        return json.dumps(tests, ensure_ascii=False, sort_keys=True)


def parsed(value: Any) -> Any:
    """A field that some copies of a set hold as JSON text; None if it is empty or broken."""
    if not isinstance(value, str):
        return value
    try:
        with _long_integers():
            return json.loads(value)
    except ValueError:
        return None


def unix_lines(code: str) -> str:
    r"""Code with `\n` line ends and no white space after its end."""
    return code.replace("\r\n", "\n").rstrip()


def in_apps_format(question: str, starter_code: str, *, calls: bool) -> str:
    """The question as APPS's own prompt goes on after it, up to `ANSWER:`."""
    starter = f"\n{starter_code}" if starter_code.strip() else ""
    return f"{question}{starter}\n{CALL_BASED if calls else STANDARD_INPUT}"


@contextmanager
def _long_integers() -> Iterator[None]:
    """Some tests of APPS are about numbers of more than the 4,300 digits that Python converts."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(limit)
