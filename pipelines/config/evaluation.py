"""What every policy is asked besides the E-step's samples."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from pipelines.config.problems import SourceConfig
from pipelines.config.prompt import PromptConfig
from pipelines.config.reward import RewardConfig
from pipelines.config.sampling import Decoding
from pipelines.config.section import Section


class SuiteConfig(Section):
    """A transfer suite: further problems that every policy is asked, in their own way."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,59}$")]
    """The suite in `evaluations`; the purpose of its prompts."""
    source: SourceConfig | None = None
    """Its problems; none of them is trained on. A hub's split is `test` unless it says otherwise."""
    problems_of: str | None = None
    """Instead of a source: `test`, or the suite whose problems are asked in another way."""
    prompt: PromptConfig | None = None
    """null: the run's."""
    reward: RewardConfig | None = None
    """null: the run's."""
    greedy: bool = True
    """One solution a problem at temperature 0."""
    pass_at_k: Decoding | None = None
    """Extra draws for pass@k and maj@k; null: none."""
    max_tokens: int | None = Field(None, ge=1)
    """null: sampling.max_tokens."""
    stop: tuple[str, ...] | None = None
    """null: sampling.stop."""
    by: str | None = None
    """Field of the problems (BBH: `task`, `file`) by whose values the suite is also evaluated; the
    suite's own figures are then the mean over those groups."""

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.name in ("train", "validation", "test"):
            raise ValueError(f"name must not be a split's, got {self.name!r}; choose another")
        if (self.source is None) == (self.problems_of is None):
            raise ValueError("a suite must have a source, or problems_of, and not both")
        if not self.greedy and self.pass_at_k is None:
            raise ValueError("a suite without greedy must have pass_at_k: it draws nothing")
        return self


class EvaluationConfig(Section):
    """What every policy is asked besides the E-step's samples; iteration 0 is the base model."""

    pass_at_k: Decoding | None = None
    """Extra draws on `test` for pass@k and maj@k (the paper: temperature 1, top-p 0.95)."""
    k: tuple[int, ...] = (1, 8)
    """The k of pass@k and maj@k; those above the number of samples drawn are left out."""
    final_train_samples: int = Field(0, ge=0)
    """Draws a training problem from the last policy, for its train-test gap (it has no E-step)."""
    num_bootstrap: int = Field(1000, ge=100)
    suites: tuple[SuiteConfig, ...] = ()
    """Transfer suites, asked and judged in the same loop."""

    @model_validator(mode="after")
    def _distinct_suites(self) -> Self:
        names = [suite.name for suite in self.suites]
        with_source = {"test", *(suite.name for suite in self.suites if suite.source)}
        for suite in self.suites:
            if names.count(suite.name) > 1:
                raise ValueError(f"suites must have different names, {suite.name!r} is there twice")
            if suite.problems_of and suite.problems_of not in with_source:
                raise ValueError(
                    f"suites: problems_of must be test or a suite with a source, "
                    f"got {suite.problems_of!r}"
                )
        return self
