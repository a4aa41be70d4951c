"""Section `sampling`: how solutions are drawn."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from pipelines.config.section import Section


class Decoding(Section):
    """Number of solutions drawn per problem, and how; the defaults are greedy decoding."""

    num_samples: int = Field(1, ge=1)
    temperature: float = Field(0.0, ge=0)
    """0: greedy."""
    top_k: int = Field(0, ge=0)
    """Number of most probable tokens to choose from; 0: all."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Probability mass of the most probable tokens to choose from."""


class SamplingConfig(Section):
    """Generate (E-step). N, temperature and top-k are those of the paper's section 5."""

    first_stage = "render"

    num_samples_per_problem: int = Field(32, ge=1)
    """N, the number of solutions drawn per training problem (the paper: 32 on MATH, 64 on APPS)."""
    temperature: float = Field(0.7, ge=0)
    top_k: int = Field(40, ge=0)
    """Number of most probable tokens to choose from; 0: all."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Probability mass of the most probable tokens to choose from."""
    max_tokens: int = Field(512, ge=1)
    """Maximum number of tokens per solution, in evaluation too."""
    stop: tuple[str, ...] = ()
    """Strings that end a solution; they are not part of it. In evaluation too."""
    problems_per_iteration: int | None = Field(None, ge=1)
    """Training problems asked in an iteration, a mini-batch; null: all.

    The mini-batches are slices of an order by seed; when all problems have been asked, those of
    another order follow.
    """
    m_steps: int = Field(1, ge=1)
    """M-steps on the samples of one E-step: in the iterations between, nothing is drawn for training."""
    rationalize: bool = False
    """Ask the problems that no sample solved again, with the answer as a hint (STaR).

    A solution that is right then is trained on as if it had been given without the hint.
    """

    @model_validator(mode="after")
    def _distinct_samples(self) -> Self:
        if self.temperature == 0 and self.num_samples_per_problem > 1:
            raise ValueError(
                "num_samples_per_problem must be 1 at temperature 0 (every sample is the same), "
                f"got {self.num_samples_per_problem}; raise temperature"
            )
        return self
