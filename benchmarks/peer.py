"""math-verify as its users call it: both texts parsed, then compared, with its own timeouts on."""

from __future__ import annotations

import logging

from schemas.rewards import CORRECT

logging.getLogger("math_verify").setLevel(logging.CRITICAL)


def math_verify_verdict(solution: str, reference: str) -> str:
    """Its verdict on a solution that states its answer in a box: `correct` or `not correct`.

    Its own timeouts are alarms: they work because a benchmark calls it in the main thread.
    """
    from math_verify import parse, verify

    try:
        wanted = parse(rf"\boxed{{{reference}}}")
        equal = verify(wanted, parse(solution))
    except Exception:  # noqa: BLE001 - what it raises is no verdict of correct
        return "not correct"
    return CORRECT if equal else "not correct"
