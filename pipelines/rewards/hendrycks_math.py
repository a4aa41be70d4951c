r"""`hendrycks_math`: the MATH benchmark's own check (Hendrycks et al. 2021), for figures like its own.

The answer is the content of the last `\boxed{}`; two answers are equal if a fixed list of rewritings
makes their texts equal. The rules are those of the benchmark's `math_equivalence.py`, its peculiarities
included: any `%` is removed, a unit is what follows `\text{ `, `0.5` is a half and `0.25` is no quarter,
and a text that the rules cannot handle (it ends in `\sqrt`) is compared as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.errors import ConfigError
from pipelines.rewards.answers.extraction import MATH_FORMS, extract
from pipelines.rewards.verdict import Verdict
from schemas.rewards import CORRECT, ERROR, NO_ANSWER, WRONG

VERSION = "1"
"""Raise it with every change that can change a verdict: verdicts are stored under it."""

_BEFORE_UNITS = (
    ("\n", ""), (r"\!", ""), (r"\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"),
    (r"\left", ""), (r"\right", ""), (r"^{\circ}", ""), (r"^\circ", ""), (r"\$", ""),
)  # fmt: skip
_UNIT = r"\text{ "
_AFTER_UNITS = ((r"\%", ""), ("%", ""), (" .", " 0."), ("{.", "{0."))
_LONGEST_NAME = 2
"""Characters before an equals sign that are taken for a name: `k=`, `k =`."""
_NO_RADICAND = re.compile(r"\\sqrt(?:\\sqrt|\Z)")
_BARE_RADICAND = re.compile(r"\\sqrt([^{])", re.DOTALL)
_SLASH = re.compile(r"(0|-?[1-9][0-9]*)/(0|-?[1-9][0-9]*)")


class _Unhandled(Exception):
    """The rules do not cover a text."""


@dataclass(frozen=True)
class HendrycksMath:
    """The MATH benchmark's check: 1 or 0.

    Attributes:
        forms: forms in which a solution may state its answer, in order of preference. The benchmark
            knows `boxed` only; an answer in another form is read without its dollar signs.
    """

    forms: tuple[str, ...] = ("boxed",)

    def __call__(self, solution: str, reference: str) -> Verdict:
        """The verdict; bounded work."""
        boxed = last_boxed(reference)
        wanted = reference if boxed is None else boxed
        if not wanted.strip():
            return Verdict(0.0, ERROR, detail="the reference is empty")
        answer = self._answer(solution)
        if answer is None:
            return Verdict(0.0, NO_ANSWER)
        equal = is_equivalent(answer, wanted)
        return Verdict(float(equal), CORRECT if equal else WRONG, answer)

    def gold_solution(self, reference: str) -> str:
        """The shortest solution that states the reference: its verdict must be `correct`."""
        boxed = last_boxed(reference)
        return MATH_FORMS[self.forms[0]].state(reference if boxed is None else boxed)

    def answer_key(self, answer: str) -> str:
        """The answer as it is compared."""
        try:
            return normal_form(answer)
        except _Unhandled:
            return answer

    def same_answer(self, first: str, second: str) -> bool:
        """Whether answers with different keys are equal: they are not."""
        return False

    def _answer(self, solution: str) -> str | None:
        for form in self.forms:
            if form == "boxed":
                answer = last_boxed(solution)
            else:
                answer = next(iter(extract(solution, (form,))), None)
                answer = answer and answer.removeprefix("$").removesuffix("$")
            if answer is not None:
                return answer
        return None


def hendrycks_math(*, extract: Sequence[str] = ("boxed",)) -> HendrycksMath:
    """The reward for `reward.options`.

    Raises:
        ConfigError: `extract` is not a list of known forms.
    """
    known = ", ".join(MATH_FORMS)
    if isinstance(extract, str) or not extract or any(form not in MATH_FORMS for form in extract):
        raise ConfigError(
            f"reward.options.extract must be a list of one or more of {known}, got {extract!r}"
        )
    return HendrycksMath(tuple(extract))


def last_boxed(solution: str) -> str | None:
    r"""The content of the last `\boxed{...}`; None if there is none or its braces do not close.

    `\boxed 5$` states 5, as in the benchmark's use by evaluation harnesses.
    """
    start = solution.rfind(r"\boxed")
    if start < 0:
        return None
    after = solution[start + len(r"\boxed") :]
    if after.startswith(" "):
        return after[1:].partition("$")[0]
    if not after.startswith("{"):
        return None
    depth = 0
    for place, sign in enumerate(after):
        depth += (sign == "{") - (sign == "}")
        if depth == 0:
            return after[1:place]
    return None


def is_equivalent(first: str, second: str) -> bool:
    """Whether the benchmark takes two answers for equal."""
    try:
        return normal_form(first) == normal_form(second)
    except _Unhandled:
        return first == second


def normal_form(text: str) -> str:
    """The text after the benchmark's rewritings, in its order: a later rule sees what earlier ones left.

    Raises:
        _Unhandled: the rules do not cover the text.
    """
    for old, new in _BEFORE_UNITS:
        text = text.replace(old, new)
    if text.count(_UNIT) > 1:
        raise _Unhandled
    text = text.partition(_UNIT)[0]
    for old, new in _AFTER_UNITS:
        text = text.replace(old, new)
    if not text:
        return text
    text = _without_name("0" + text if text.startswith(".") else text)
    if _NO_RADICAND.search(text):
        raise _Unhandled
    text = _BARE_RADICAND.sub(r"\\sqrt{\1}", text)
    text = _braced_fractions(text.replace(" ", ""))
    if text == "0.5":
        return r"\frac{1}{2}"
    return _SLASH.sub(r"\\frac{\1}{\2}", text) if _SLASH.fullmatch(text) else text


def _without_name(text: str) -> str:
    name, _, value = text.partition("=")
    return value if text.count("=") == 1 and len(name) <= _LONGEST_NAME else text


def _braced_fractions(text: str) -> str:
    r"""`\frac1b` and `\frac1{72}` with braces; the text as it is if a fraction lacks a part."""
    before, *fractions = text.split(r"\frac")
    braced = [before]
    for fraction in fractions:
        if not fraction:
            raise _Unhandled
        if fraction[0] == "{":
            braced.append(fraction)
        elif len(fraction) == 1:
            return text
        else:
            top, bottom = fraction[0], fraction[1]
            bottom = bottom if bottom == "{" else f"{{{bottom}}}"
            braced.append(f"{{{top}}}{bottom}{fraction[2:]}")
    return r"\frac".join(braced)
