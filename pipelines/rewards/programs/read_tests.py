"""Reading the tests of a code problem: a JSON object with the data set's own fields.

| fields | data set | tests |
|---|---|---|
| `input_output` (`inputs`, `outputs`, perhaps `fn_name`) | APPS | `InputOutput` or `Calls` |
| `inputs`, `outputs` (perhaps `fn_name`) | CodeContests-like | the same |
| `test_list` | MBPP | `Asserts` |
| `prompt`, `test`, `entry_point` | HumanEval | `Check` |
"""

from __future__ import annotations

import ast
import builtins
import json
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from pipelines.errors import InputError


@dataclass(frozen=True)
class InputOutput:
    """A script is run on each input; what it prints is compared with the output."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    by_line: bool
    """Compare as APPS does (line by line), else as CodeContests does (token by token)."""


@dataclass(frozen=True)
class Calls:
    """A function, or a method of `class Solution`, is called with each input."""

    name: str
    inputs: tuple[tuple[object, ...], ...]
    outputs: tuple[object, ...]


@dataclass(frozen=True)
class Asserts:
    """`assert` statements that call the solution's functions."""

    before: str
    """Imports for the tests."""
    tests: str
    functions: tuple[str, ...]
    """Names that the solution has to define."""
    together: bool
    """Whether the tests use the solution's own objects, so that they must run in its interpreter."""


@dataclass(frozen=True)
class Check:
    """A function `check(candidate)` that contains assertions."""

    prompt: str
    test: str
    entry_point: str


Tests = InputOutput | Calls | Asserts | Check


@lru_cache(maxsize=64)
def read_tests(reference: str, challenge: bool = False) -> Tests:
    """The tests in a reference.

    Args:
        reference: JSON text.
        challenge: whether to include MBPP's `challenge_test_list`.

    Raises:
        InputError: the reference has no known form, or a field breaks its rule.
    """
    fields = _object("reference", reference)
    if "input_output" in fields:
        return _input_output("reference.input_output", fields["input_output"], by_line=True)
    if "test_list" in fields:
        return _asserts(fields, challenge)
    if "entry_point" in fields or "test" in fields:
        return _check(fields)
    if "inputs" in fields:
        return _input_output("reference", fields, by_line=False)
    found = ", ".join(sorted(fields)) or "none"
    raise InputError(
        "reference must have the fields input_output (APPS), inputs and outputs (CodeContests), "
        f"test_list (MBPP), or prompt, test and entry_point (HumanEval); it has {found}"
    )


def _input_output(where: str, value: object, *, by_line: bool) -> Tests:
    fields = _object(where, value)
    inputs, outputs = (_list(f"{where}.{name}", fields.get(name)) for name in ("inputs", "outputs"))
    if len(inputs) != len(outputs):
        raise InputError(
            f"{where}.outputs must be as many as inputs, {len(inputs)}, got {len(outputs)}"
        )
    if fields.get("fn_name"):
        name = _text(f"{where}.fn_name", fields["fn_name"])
        rows = [_list(f"{where}.inputs[{i}]", row, empty=True) for i, row in enumerate(inputs)]
        return Calls(name, tuple(tuple(row) for row in rows), tuple(outputs))
    return InputOutput(
        tuple(_lines(f"{where}.inputs[{i}]", text) for i, text in enumerate(inputs)),
        tuple(_lines(f"{where}.outputs[{i}]", text) for i, text in enumerate(outputs)),
        by_line,
    )


def _asserts(fields: dict[str, Any], challenge: bool) -> Asserts:
    tests = [
        _text("reference.test_list", t) for t in _list("reference.test_list", fields["test_list"])
    ]
    if challenge:
        tests += fields.get("challenge_test_list") or []
    setup = _text("reference.test_setup_code", fields.get("test_setup_code") or "")
    imports = fields.get("test_imports") or []
    for number, test in enumerate(tests):
        _parse(f"reference.test_list[{number}]", test)
    _parse("reference.test_setup_code", setup)
    tree = _parse("reference.test_list", "\n".join([*imports, setup, *tests]))
    names, modules = _free_names(tree)
    return Asserts(
        before="\n".join([*imports, *(f"import {name}" for name in modules)]),
        tests="\n".join([setup, *tests]),
        functions=names,
        together=bool(setup.strip()) or _makes_objects(tree, names),
    )


def _check(fields: dict[str, Any]) -> Check:
    check = Check(
        *(
            _text(f"reference.{name}", fields.get(name))
            for name in ("prompt", "test", "entry_point")
        )
    )
    _parse("reference.prompt", f"{check.prompt}\n    pass\n")
    if "check" not in _bound_names(_parse("reference.test", check.test)):
        raise InputError("reference.test must define check(candidate); it does not")
    if not check.entry_point.isidentifier():
        raise InputError(f"reference.entry_point must be a name, got {check.entry_point!r}")
    return check


def _free_names(tree: ast.Module) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names that the solution has to define, and the standard modules that the tests use.

    A task may ask for a function with a built-in's name (`def sum(a, b)`). It replaces the built-in
    only if the tests call nothing else: otherwise it could replace what the tests compare with.
    """
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    names.sort(key=lambda node: (node.lineno, node.col_offset))
    loaded = {node.id: None for node in names if isinstance(node.ctx, ast.Load)}
    bases = {
        node.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    bound = _bound_names(tree)
    free = [name for name in loaded if name not in bound]
    modules = tuple(name for name in free if name in bases and name in sys.stdlib_module_names)
    own = [name for name in free if name not in modules and not hasattr(builtins, name)]
    return tuple(own or _outermost_calls(tree)), modules


def _outermost_calls(tree: ast.Module) -> list[str]:
    """The functions on the left of comparisons: `sum` in `assert sum(1, 2) == len("abc")`."""
    compared = [
        node.test.left if isinstance(node.test, ast.Compare) else node.test
        for node in tree.body
        if isinstance(node, ast.Assert)
    ]
    names = {
        node.func.id: None
        for node in compared
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return list(names)


def _bound_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
    return names


def _makes_objects(tree: ast.Module, names: tuple[str, ...]) -> bool:
    """Whether the tests pass functions, or objects of their own or the solution's classes."""
    kinds = (ast.Lambda, ast.FunctionDef, ast.ClassDef)
    if any(isinstance(node, kinds) for node in ast.walk(tree)):
        return True
    # `f([Pair(1, 2)])` makes an object; `Find_Max([1, 2])` calls a function.
    calls = [node for node in ast.walk(tree) if _called(node) in names]
    return any(
        (_called(inner) or "")[:1].isupper() and _called(inner) in names
        for call in calls
        for inner in ast.walk(call)
        if inner is not call
    )


def _called(node: ast.AST) -> str | None:
    """The name of the function that a node calls, if it is a call by name."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id
    return None


def _object(where: str, value: object) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{where} must be a JSON object, got text that is not JSON: {error}"
            ) from None
    if not isinstance(value, dict):
        _refuse(where, "a JSON object", value)
    return value


def _list(where: str, value: object, *, empty: bool = False) -> list[Any]:
    if not isinstance(value, list) or not (value or empty):
        _refuse(where, "a list" if empty else "a list with at least one test", value)
    return value


def _text(where: str, value: object) -> str:
    if not isinstance(value, str):
        _refuse(where, "text", value)
    return value


def _lines(where: str, value: object) -> str:
    """Text, which some APPS problems give as a list of lines."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return _text(where, value)


def _parse(where: str, source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise InputError(f"{where} must be Python, got {source[:80]!r} ({error})") from None


def _refuse(where: str, rule: str, value: object) -> NoReturn:
    shown = "nothing" if value is None else repr(value)[:80]
    raise InputError(f"{where} must be {rule}, got {shown}; correct the problem's reference")
