"""Programs broken in one place: off by one, a wrong constant, or a swapped branch."""

from __future__ import annotations

import ast
import hashlib

OFF_BY_ONE, WRONG_CONSTANT, SWAPPED_BRANCH = "off by one", "wrong constant", "swapped branch"
KINDS = (OFF_BY_ONE, WRONG_CONSTANT, SWAPPED_BRANCH)

_OTHER_BOUND: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}


def mutate(program: str, kind: str) -> str | None:
    """The program with one place changed, chosen by a hash of its text; None if it has no such place."""
    tree = ast.parse(program)
    places = _places(tree, kind)
    if not places:
        return None
    number = int.from_bytes(hashlib.sha256(f"{kind}\n{program}".encode()).digest()[:4], "big")
    _CHANGES[kind](places[number % len(places)])
    return ast.unparse(ast.fix_missing_locations(tree))


def _places(tree: ast.Module, kind: str) -> list[ast.AST]:
    statements = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    is_place = {OFF_BY_ONE: _has_bound, WRONG_CONSTANT: _has_constant, SWAPPED_BRANCH: _has_branch}
    return [node for node in ast.walk(tree) if id(node) not in statements and is_place[kind](node)]


def _has_bound(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        return type(node.ops[0]) in _OTHER_BOUND
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "range"
        and 1 <= len(node.args) <= 2
        and not any(isinstance(argument, ast.Starred) for argument in node.args)
    )


def _has_constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float | str)


def _has_branch(node: ast.AST) -> bool:
    return isinstance(node, ast.If | ast.IfExp)


def _move_bound(node: ast.AST) -> None:
    if isinstance(node, ast.Compare):
        node.ops[0] = _OTHER_BOUND[type(node.ops[0])]()
    elif isinstance(node, ast.Call):
        node.args[-1] = ast.BinOp(node.args[-1], ast.Sub(), ast.Constant(1))


def _change_constant(node: ast.AST) -> None:
    assert isinstance(node, ast.Constant)
    value = node.value
    if isinstance(value, bool):
        node.value = not value
    elif isinstance(value, str):
        node.value = f"{value}x"
    elif isinstance(value, int | float):
        node.value = value + 1


def _swap_branches(node: ast.AST) -> None:
    assert isinstance(node, ast.If | ast.IfExp)
    node.test = ast.UnaryOp(ast.Not(), node.test)


_CHANGES = {
    OFF_BY_ONE: _move_bound,
    WRONG_CONSTANT: _change_constant,
    SWAPPED_BRANCH: _swap_branches,
}
