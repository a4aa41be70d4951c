"""Finding the program in a solution: between marks, in fences, or in prose."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings

MAX_SOLUTION = 200_000
"""Longest solution, in characters, in which a program is looked for."""

_BEGIN, _DONE = "[BEGIN]", "[DONE]"
_FENCE = re.compile(
    r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE
)
_LANGUAGES = {"", "python", "python3", "py", "py3"}
_CODE_LINE = re.compile(
    r"(?:from|import|def|class|async|for|while|if|try|with)\b|@|[A-Za-z_][\w.]*(?:\[[^\]]*\])?(?:, *\w+)* *[-+*/]?=|[a-z_]\w*\("
)
_MAX_STARTS = 30
_MAX_CUTS = 40


def find_program(solution: str, function: str | None = None) -> str | None:
    """The program in a solution; None if there is none.

    Code in a fence is preferred to code in prose; of several blocks, the last that parses and
    defines the function.

    Args:
        solution: the policy's text.
        function: a name that the program has to define.
    """
    if len(solution) > MAX_SOLUTION:
        return None
    text = _between_marks(solution)
    blocks = _fenced(text)
    if blocks:
        return _best(blocks, function)
    if parses(text):
        return text if _does_something(text) else None
    return _best([run for run in _runs(text) if _does_something(run)], function)


def complete_prompt(prompt: str, solution: str, entry_point: str) -> str | None:
    """A HumanEval program: the prompt with the solution's body or with its whole function.

    Args:
        prompt: imports, any other functions, and the function's signature and docstring.
        solution: a body, or text with a whole function.
        entry_point: the function's name.
    """
    if len(solution) > MAX_SOLUTION:
        return None
    text = _between_marks(solution)
    blocks = _fenced(text)
    whole = find_program(solution, entry_point)
    if whole is not None and _defines(whole, entry_point):
        return f"{prompt}\n    pass\n\n{whole}\n"
    for body in reversed(blocks) if blocks else [text]:
        completed = _with_body(prompt, body)
        if completed is not None:
            return completed
    return None


def ending_at_return(program: str) -> str:
    """The script with each top-level `return` ending it: APPS ran its solutions inside a function."""
    if "return" not in program:
        return program
    tree = ast.parse(program)
    transformer = _ReturnToExit()
    changed = transformer.visit(tree)
    return ast.unparse(changed) if transformer.found else program


class _ReturnToExit(ast.NodeTransformer):
    """Replaces each `return` outside functions by `raise SystemExit`."""

    def __init__(self) -> None:
        self.found = False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.found = True
        end = ast.Raise(exc=ast.Name("SystemExit", ast.Load()), cause=None)
        return ast.fix_missing_locations(ast.copy_location(end, node))


def parses(source: str) -> bool:
    """Whether text is syntactically a Python program."""
    return _error_line(source) is None


def _with_body(prompt: str, body: str) -> str | None:
    """The prompt with a body, which may lack its indentation or be followed by other text."""
    head = f"{prompt.rstrip()}\n"
    first = body.lstrip("\n")
    forms = (first, f"    {first.lstrip()}", textwrap.indent(textwrap.dedent(first), "    "))
    indented = [form for form in forms if re.match(r"[ \t]+\S", form)]
    for form in indented:
        if parses(head + form):
            return head + form
    for form in indented:
        cut = _cut_tail((head + form).splitlines())
        if len(cut) > len(head) and cut.startswith(head.rstrip()):
            return cut
    return None


def _between_marks(solution: str) -> str:
    _, begin, after = solution.partition(_BEGIN)
    return (after if begin else solution).partition(_DONE)[0]


def _fenced(text: str) -> list[str]:
    found = [match.groups() for match in _FENCE.finditer(text)]
    marked = [textwrap.dedent(code) for name, code in found if name.lower() in _LANGUAGES and name]
    unmarked = [code for name, code in found if not name]
    return [code for code in marked or unmarked if code.strip()]


def _best(programs: list[str], function: str | None) -> str | None:
    if function is not None:
        defining = [program for program in programs if _defines(program, function)]
        programs = defining or programs
    whole = [program for program in programs if parses(program)]
    found = whole or programs
    return found[-1] if found else None


def _defines(program: str, name: str) -> bool:
    return re.search(rf"^\s*(?:async\s+)?def\s+{re.escape(name)}\b|^{re.escape(name)}\s*=", program, re.MULTILINE) is not None  # fmt: skip


def _runs(text: str) -> list[str]:
    """Runs of lines that are programs, the longest last."""
    lines = text.splitlines()
    runs, end = [], 0
    starts = [number for number, line in enumerate(lines) if _CODE_LINE.match(line)]
    for start in starts[:_MAX_STARTS]:
        if start < end:  # inside the last run
            continue
        run = _cut_tail(lines[start:])
        end = start + run.count("\n") + 1 if run else end
        runs.append(run)
    return sorted((run for run in runs if run), key=lambda run: run.count("\n"))


def _cut_tail(lines: list[str]) -> str:
    """The lines up to the first error, cut back until they parse; may be empty."""
    for _ in range(_MAX_CUTS):
        source = "\n".join(lines)
        line = _error_line(source)
        if line is None:
            return source.rstrip()
        lines = lines[: max(0, min(line, len(lines)) - 1)]
    return ""


def _error_line(source: str) -> int | None:
    """The number of the line with the first syntax error; None if there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except SyntaxError as error:
        return error.lineno or 1
    except (ValueError, MemoryError, RecursionError):  # a NUL, or nested too deeply
        return 1
    return None


def _does_something(program: str) -> bool:
    """Whether a program is more than words that happen to parse as expressions."""
    idle = (ast.Constant, ast.Name, ast.Tuple, ast.UnaryOp, ast.BinOp, ast.Compare)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        body = ast.parse(program).body
    return not all(isinstance(node, ast.Expr) and isinstance(node.value, idle) for node in body)
