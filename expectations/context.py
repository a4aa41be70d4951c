"""What a suite must be told to check a table against what is outside it."""

from __future__ import annotations

from dataclasses import dataclass

from expectations.rule import Found
from schemas.rewards import CHECKER_FAILURES


@dataclass(frozen=True)
class Context:
    """Figures that the caller knows; a rule whose figure is None is not in the suite.

    All figures are about the run and iteration whose table is checked.
    """

    expected_rows: int | None = None
    """Rows that the inputs call for: of samples, prompts x N; of rewards, samples; and so on."""

    refused_references: Found | None = None
    """Problems whose reference answer their own verifier does not accept."""

    samples_without_verdict: Found | None = None
    verdicts_without_sample: Found | None = None
    checker_failures: tuple[str, ...] = CHECKER_FAILURES
    """Verdicts that count as the checker's failures."""
    max_checker_failures: float | None = None
    """Largest share of verdicts that may say that the checker failed, 0 to 1."""

    evaluation_problems_in_training: Found | None = None
    """Training rows whose problem_id is that of a validation, test or transfer problem."""
    evaluation_questions_in_training: Found | None = None
    """Training rows whose question, normalized, is that of such a problem under another id."""
    cutoff: int | None = None
    """Most training rows a problem may have."""

    problems_in_training: Found | None = None
    """Evaluation problems whose text is that of a training problem."""
    refuses_problems_in_training: bool = True
    """Whether one of them stops the run."""
    contaminated_suites: Found | None = None
    """Suites of which too many problems share a run of words with a training problem."""

    last_accepted_share: float | None = None
    """Share of training samples with a reward above the threshold, an iteration before."""
    last_mean_tokens: float | None = None
    """Mean solution length of the same table an iteration before, in tokens."""
    max_change: float = 3.0
    """Factor by which either may move from one iteration to the next without a warning."""
    max_truncated_share: float = 0.2
    """Share of samples cut at max_tokens above which a warning is due."""
