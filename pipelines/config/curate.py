"""Section `curate`: which rewarded samples become the training set D_i."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from pipelines.config.section import Section


class CurateConfig(Section):
    """Which rewarded samples become the training set D_i."""

    first_stage = "select"
    first_stage_of = {
        "majority_vote": "score",
        "human_solutions": "render",
        "weight": "curate",
        "beta": "curate",
        "per_problem": "curate",
    }

    threshold: float | None = 0.0
    """Keep a sample if its reward is greater than this; null: whatever its reward is."""
    later_thresholds: tuple[float, ...] = ()
    """Thresholds of the further M-steps on the samples of one E-step (`sampling.m_steps`)."""
    majority_vote: bool = False
    """Reward a sample for giving the answer that most of its problem's samples give, with the share
    that do, instead of comparing it with the reference. No training problem's reference is read.
    """
    distinct: Literal["none", "text", "normalized_text", "equations"] = "normalized_text"
    """Which solutions of one problem are equal, so that only one of them is kept.

    none: no two; text: the same text; normalized_text: the same text, white space and case aside;
    equations: the same equations in the same order, such as `3+4=7` (RFT's reasoning paths; all
    solutions without an equation are equal).
    """
    order: Literal["hash", "reward"] = "hash"
    """Which of a problem's distinct solutions come first under `cutoff`.

    hash: an order by seed, the same for all; reward: the best first, ties by hash (RAFT).
    """
    cutoff: int | None = Field(10, ge=1)
    """Maximum number of solutions kept per problem (the paper's section 5: 10); null: no limit."""
    max_rows: int | None = Field(None, ge=1)
    """Maximum number of rows of D_i; null: no limit.

    One solution per problem is taken, then a second, and so on; problems solved least often first.
    """
    weight: Literal["one", "identity", "exponential"] = "identity"
    """Weight of a row in the loss: 1, its reward r, or exp(r / beta) (reward-weighted regression).

    A factor that all rows have in common changes nothing: the loss divides by the mean weight.
    """
    beta: float = Field(1.0, gt=0)
    """Temperature of the exponential weight."""
    per_problem: bool = False
    """Divide weights by their sum over the problem's rows, so that every problem counts the same."""
    human_solutions: Literal["none", "add", "only"] = "none"
    """Whether the problems' human solutions are trained on, with weight 1.

    add: beside the policy's own; only: instead of them, so that none are drawn for training.
    """

    def max_kept(self, num_samples: int) -> int:
        """Maximum number of rows of a problem in D_i.

        Args:
            num_samples: N, the solutions drawn per problem.
        """
        own = num_samples if self.cutoff is None else min(self.cutoff, num_samples)
        return {"none": own, "add": own + 1, "only": 1}[self.human_solutions]

    def threshold_of(self, m_step: int) -> float | None:
        """The threshold of an M-step on the samples of an E-step.

        Args:
            m_step: 0 is the first after the E-step.
        """
        return self.later_thresholds[m_step - 1] if m_step else self.threshold

    @model_validator(mode="after")
    def _rising(self) -> Self:
        thresholds = [self.threshold, *self.later_thresholds]
        known = [value for value in thresholds if value is not None]
        if self.later_thresholds and (len(known) < len(thresholds) or known != sorted(known)):
            raise ValueError(
                "later_thresholds must rise from threshold, so that each training set is part of "
                f"the one before, got {self.threshold} and then {list(self.later_thresholds)}"
            )
        return self
