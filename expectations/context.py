"""What a table's rules need to know from outside the table."""

from __future__ import annotations

from dataclasses import dataclass

from expectations.rule import Found


@dataclass(frozen=True)
class Checker:
    """A reward that scored samples, and how often it failed on them."""

    name: str
    """The reward, with the suites whose samples it scored."""
    failed: Found
    total: int
    """Number of samples that it scored."""
    max_share: float
    """Largest share of them that it may fail on, 0 to 1."""
    tolerances: str
    """The settings that allow more, in words."""
    usual_failure: str | None = None
    """What failed most often, if that is known."""


@dataclass(frozen=True)
class Context:
    """Figures that the caller knows; a rule whose figure is None is not evaluated.

    All figures are about the run and iteration whose table is checked.
    """

    expected_rows: int | None = None
    """Number of rows that the inputs imply: for samples, prompts x N; for rewards, samples; etc."""

    may_be_empty: bool = False
    """Whether there may be no rows."""

    refused_references: Found | None = None
    """Problems whose reference answer is rejected by their own verifier."""

    problems_left_out: Found | None = None
    """Problems that the run leaves out for it."""

    samples_without_verdict: Found | None = None
    verdicts_without_sample: Found | None = None
    checkers: tuple[Checker, ...] = ()
    """The rewards that scored the iteration's samples."""

    evaluation_problems_in_training: Found | None = None
    """Training rows whose problem_id is that of a validation, test or transfer problem."""
    evaluation_questions_in_training: Found | None = None
    """Training rows with the question (by its key) of such a problem under another id."""
    cutoff: int | None = None
    """Maximum number of training rows per problem."""

    problems_in_training: Found | None = None
    """Evaluation problems with the text of a training problem."""
    refuses_problems_in_training: bool = True
    """Whether one of them stops the run."""
    contaminated_suites: Found | None = None
    """Suites of which too many problems share a run of words with a training problem."""

    last_accepted_share: float | None = None
    """Share of the last iteration's training samples with a reward above the threshold."""
    last_mean_tokens: float | None = None
    """Mean solution length in the same table of the last iteration, in tokens."""
    max_change: float = 3.0
    """Factor by which either may change from one iteration to the next without a warning."""
    max_killed_share: float = 0.02
    """Largest share of samples whose prompt kills the engine, 0 to 1."""
    max_truncated_share: float = 0.2
    """Share of samples cut at max_tokens above which a warning is reported."""
