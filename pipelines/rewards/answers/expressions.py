r"""A parser for expressions of school algebra, in bounded work: no sympy, no `eval`.

`values.py` evaluates an expression at a few fixed points, to 160 digits, with decimals taken
exactly. Two expressions that differ at every point are different; two that agree at every point to
120 digits are equal, as far as numbers of the permitted sizes can tell. What the grammar does not
cover raises `Unread`, and is left to math-verify.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from pipelines.rewards.answers.exact_numbers import THOUSANDS, read_decimal

MAX_TEXT = 400
MAX_DEPTH = 24
MAX_LITERAL_DIGITS = 20

_TOKEN = re.compile(
    rf"\s*(?:(?P<number>{THOUSANDS}(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
    r"|(?P<command>\\[A-Za-z]+)|(?P<word>[A-Za-z]+)|(?P<sign>[-+*/^()\[\]{}|!_=×÷·π∞√]))"
)
_SAME_SIGN = {
    r"\cdot": "*", r"\times": "*", "×": "*", "·": "*", r"\div": "/", "÷": "/", r"\lvert": "|",
    r"\rvert": "|", r"\vert": "|", r"\lbrace": "{", r"\rbrace": "}", "π": r"\pi", "√": r"\sqrt",
}  # fmt: skip
_FUNCTIONS = {
    "sin", "cos", "tan", "sec", "csc", "cot", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh",
    "ln", "log", "exp",
}  # fmt: skip
_GREEK = {
    "alpha", "beta", "gamma", "delta", "epsilon", "theta", "lambda", "mu", "omega", "phi", "psi",
    "rho", "sigma", "tau", "varphi", "zeta", "eta",
}  # fmt: skip
_PLAIN_WORDS = {"sqrt", "pi", *_FUNCTIONS, *_GREEK}
_OPENING = {"(": ")", "[": "]", "{": "}"}


class Unread(Exception):
    """A text that is not covered by what is read here, or whose values are out of range."""


@dataclass(frozen=True)
class Node:
    """A number (`value`), a constant or variable (`name`), or an operation on `parts`.

    `kind` is a key of `values._OPERATIONS`, or "name". Of a function, `name` is its name.
    """

    kind: str
    parts: tuple[Node, ...] = ()
    name: str = ""
    value: Fraction = Fraction(0)


def parse(text: str) -> Node:
    """The expression that the whole text is.

    Args:
        text: cleaned by `equality.clean`.

    Raises:
        Unread: it is not an expression, or it is too long or too deep.
    """
    if len(text) > MAX_TEXT:
        raise Unread(text)
    parser = _Parser(_tokens(text))
    node = parser.sum()
    parser.finish()
    return node


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    place = 0
    text = text.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise Unread(text)
        place = match.end()
        found = match.group().strip()
        if match["word"]:
            tokens.extend(_letters(found))
        else:
            tokens.append(_SAME_SIGN.get(found, found))
    return tokens


def _letters(word: str) -> list[str]:
    if word in _PLAIN_WORDS:
        return ["\\" + word]
    if len(word) > 3:  # prose rather than a product of variables
        raise Unread(word)
    return list(word)


class _Parser:
    """Recursive descent over the tokens; each pass of a loop consumes one, and depth is bounded."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens, self._place, self._depth = tokens, 0, 0
        self._in_bars = False

    def finish(self) -> None:
        if self._place < len(self._tokens):
            raise Unread(self._peek())

    def sum(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unread("too deep")
        parts = [self._signed()]
        while self._peek() in ("+", "-"):
            parts.append(self._signed())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Node("sum", tuple(parts))

    def _signed(self) -> Node:
        negative = False
        while self._peek() in ("+", "-"):
            negative ^= self._next() == "-"
        node = self._product()
        return Node("negative", (node,)) if negative else node

    def _product(self) -> Node:
        node = self._power()
        divided = False
        while True:
            sign = self._peek()
            if sign in ("*", "/"):
                self._next()
                right = self._signed() if self._peek() == "-" else self._power()
                node = Node("product" if sign == "*" else "quotient", (node, right))
                divided = sign == "/"
            elif self._starts_factor():
                if divided:  # 1/2x is ambiguous
                    raise Unread("1/2x")
                node = self._juxtaposed(node)
            else:
                return node

    def _juxtaposed(self, left: Node) -> Node:
        right = self._power()
        if right.kind == "number" and left.kind in ("number", "product"):
            raise Unread("two numbers side by side")
        if left.kind == "number" and _is_proper(right):  # 2\frac{1}{3} is 7/3
            return Node("number", value=left.value + right.parts[0].value / right.parts[1].value)
        return Node("product", (left, right))

    def _power(self) -> Node:
        node = self._atom()
        while self._peek() == "!":
            self._next()
            node = Node("factorial", (node,))
        if self._peek() == "^":
            self._next()
            if self._is_degree():
                return Node("degrees", (node,))
            node = Node("power", (node, self._argument()))
        return node

    def _is_degree(self) -> bool:
        for sign in (["\\circ"], ["{", "\\circ", "}"]):
            if self._tokens[self._place : self._place + len(sign)] == sign:
                self._place += len(sign)
                return True
        return False

    def _atom(self) -> Node:
        token = self._next()
        if token[0].isdigit() or token[0] == ".":
            if len(token.replace(",", "")) > MAX_LITERAL_DIGITS:
                raise Unread("too many digits")
            return Node("number", value=read_decimal(token))
        if token in _OPENING:
            return self._closed(_OPENING[token])
        if token == "|":
            return self._bars()
        if token.startswith("\\"):
            return self._command(token[1:])
        if token.isalpha() and token.isascii():
            return Node("name", name=token + self._subscript())
        raise Unread(token)

    def _closed(self, closing: str) -> Node:
        bars, self._in_bars = self._in_bars, False
        node = self.sum()
        self._expect(closing)
        self._in_bars = bars
        return node

    def _bars(self) -> Node:
        if self._in_bars:
            raise Unread("|")
        self._in_bars = True
        node = self.sum()
        self._expect("|")
        self._in_bars = False
        return Node("absolute", (node,))

    def _command(self, name: str) -> Node:
        if name in ("frac", "binom", "dbinom"):
            top, bottom = self._argument(), self._argument()
            return Node("quotient" if name == "frac" else "binomial", (top, bottom))
        if name == "sqrt":
            return self._root()
        if name in _FUNCTIONS:
            return self._function(name)
        if name == "pi" or name in _GREEK:
            return Node("name", name=name + self._subscript())
        raise Unread(name)

    def _root(self) -> Node:
        degree = Node("number", value=Fraction(2))
        if self._peek() == "[":
            self._next()
            degree = self._closed("]")
        return Node("root", (self._argument(), degree))

    def _function(self, name: str) -> Node:
        power = base = None
        if self._peek() == "_":
            self._next()
            base = self._argument()
        if self._peek() == "^":
            self._next()
            power = self._argument()
        node = Node("function", (self._operand(),) + ((base,) if base else ()), name)
        return Node("power", (node, power)) if power else node

    def _operand(self) -> Node:
        r"""The operand of `\sin`: a bracket, or the factors up to a sign or another function."""
        if self._peek() in _OPENING:
            return self._power()
        node = self._power()
        while self._starts_factor() and self._peek()[1:] not in _FUNCTIONS and self._peek() != "(":
            node = self._juxtaposed(node)
        return node

    def _argument(self) -> Node:
        """One argument of a command: a group, or one digit or letter."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unread("too deep")
        if self._peek() == "-":
            self._next()
            node = Node("negative", (self._atom(),))
        else:
            node = self._atom()
        self._depth -= 1
        return node

    def _subscript(self) -> str:
        if self._peek() != "_":
            return ""
        self._next()
        token = self._next()
        if token == "{":
            token = self._next()
            self._expect("}")
        if not token.isalnum():
            raise Unread(token)
        return "_" + token

    def _starts_factor(self) -> bool:
        token = self._peek()
        if token == "|":
            return not self._in_bars
        return bool(token) and (
            token in ("(", "[", "{", ".") or token[0] == "\\" or token.isalnum()
        )

    def _peek(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _next(self) -> str:
        if self._place >= len(self._tokens):
            raise Unread("the end")
        self._place += 1
        return self._tokens[self._place - 1]

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise Unread(token)


def _is_proper(node: Node) -> bool:
    if node.kind != "quotient" or any(part.kind != "number" for part in node.parts):
        return False
    top, bottom = (part.value for part in node.parts)
    return top < bottom and top.denominator == bottom.denominator == 1


def walk(node: Node, visit: Callable[[Node], bool]) -> bool:
    """Whether `visit` is true of the node or of any part of it."""
    return visit(node) or any(walk(part, visit) for part in node.parts)
