"""math-verify as its users call it: both texts parsed, then compared, with its own timeouts on."""

from __future__ import annotations

import logging

from math_verify import parse, verify

from schemas.rewards import CORRECT

logging.getLogger("math_verify").setLevel(logging.CRITICAL)


def math_verify_verdict(solution: str, reference: str) -> str:
    """math-verify's verdict on a solution with a boxed answer: `correct` or `not correct`.

    Its timeouts are alarms: they work because benchmarks call it in the main thread.
    """
    try:
        wanted = parse(rf"\boxed{{{reference}}}")
        equal = verify(wanted, parse(solution))
    except Exception:  # noqa: BLE001 - whatever it raises, it has not found the answer correct
        return "not correct"
    return CORRECT if equal else "not correct"
