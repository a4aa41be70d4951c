"""Rules of contamination beyond its schema: few evaluation problems are among the training problems."""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import Found, NothingFound, Rule
from schemas.checks import CRITICAL, WARNING


def expectations(context: Context) -> list[Rule]:
    """No evaluation problem is a training problem too, and few share a long run of words with one."""
    rules: list[Rule] = []
    if context.problems_in_training is not None:
        rules.append(
            NothingFound(
                context.problems_in_training,
                "evaluation problem with the text of a training problem",
                severity=CRITICAL if context.refuses_problems_in_training else WARNING,
                remedy="set problems.contamination.exact: warning, or remove it from "
                "problems.sources, in a run of another name (--name)",
            )
        )
    if context.contaminated_suites is not None:
        rules.append(
            NothingFound(
                context.contaminated_suites,
                "suite of which too many problems share a run of words with a training problem",
                severity=WARNING,
                remedy="look at the table contamination; the limits are "
                "problems.contamination.words and problems.contamination.max_share",
            )
        )
    return rules


def contaminated_suites(shares: dict[str, tuple[int, int]], words: int, max_share: float) -> Found:
    """The suites of which more than `max_share` of the problems share text with training problems.

    Args:
        shares: suite -> number of its problems that share that many words, and of all its problems.
        words: number of words in a row.
        max_share: the limit, 0 to 1.
    """
    above = tuple(
        {"suite": suite, "problems": size, "words": words, "shared": shared}
        for suite, (shared, size) in sorted(shares.items())
        if shared > max_share * size
    )
    return Found(len(above), above)
