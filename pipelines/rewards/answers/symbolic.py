"""Equality of two answers as mathematics, by math-verify.

It may take long or use much memory, so it runs only in the scoring pool's workers, whose parent
enforces the deadline. math-verify's own timeouts are off: they are alarms, which work in a process's
main thread only and report what they stop as a wrong answer.

It loads sympy, which takes seconds: import it where it is called.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify

ROUNDING = 10
"""Decimals compared when an answer is inexact; math-verify's own 6 let 0.333333 pass for 1/3."""

# It warns that its timeouts are off, which is intended.
logging.getLogger("math_verify").setLevel(logging.ERROR)


class NotMathematics(Exception):
    """A text that math-verify cannot read."""


def symbolically_equal(answer: str, reference: str) -> bool:
    """Whether math-verify finds the answer equal to the reference.

    Args:
        answer: LaTeX or plain mathematics, without delimiters.
        reference: the same.

    Raises:
        NotMathematics: one of the two cannot be read.
        Exception: whatever math-verify or sympy raise when they fail.
    """
    wanted, given = _parse(reference), _parse(answer)
    equal = verify(
        wanted, given, float_rounding=ROUNDING, timeout_seconds=None, raise_on_error=True
    )
    return bool(equal) and not _far_apart(wanted[0], given[0])


def warm_up() -> None:
    """Load math-verify's parser, so that no sample's deadline includes it."""
    symbolically_equal(r"\frac{\sqrt{4}}{x}", "2/x")


def _far_apart(a: Any, b: Any) -> bool:
    """Whether two numbers that are equal to `ROUNDING` decimals are small and differ."""
    if not (getattr(a, "is_number", False) and getattr(b, "is_number", False)):
        return False
    ours, theirs = a.evalf(30), b.evalf(30)
    largest = max(abs(ours), abs(theirs))
    return bool(0 < largest < 1 and abs(ours - theirs) > largest * 10**-ROUNDING)


def _parse(text: str) -> list[Any]:
    # math-verify takes some variables for units ("a + b + c"): they are then read without units.
    parsed = _read(text, units=True) or _read(text, units=False)
    if not parsed:
        raise NotMathematics(text)
    return parsed


def _read(text: str, *, units: bool) -> list[Any]:
    normalization = NormalizationConfig(
        basic_latex=True,
        units=units,
        malformed_operators=False,
        nits=True,
        boxed="none",
        equations=False,
    )
    reading = LatexExtractionConfig(boxed_match_priority=-1, normalization_config=normalization)
    one_line = re.sub(r"\s+", " ", text.replace("$", "")).strip()
    return list(
        parse(
            f"${one_line}$",
            extraction_config=[reading],
            fallback_mode="no_fallback",
            parsing_timeout=None,
            raise_on_error=True,
        )
    )
