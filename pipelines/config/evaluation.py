"""Section `evaluation`: how every policy is evaluated, and on which suites."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from pipelines.config.problems import SourceConfig
from pipelines.config.prompt import PromptConfig
from pipelines.config.reward import BY_HAND, RewardConfig
from pipelines.config.sampling import Decoding
from pipelines.config.section import OF_THE_LAST_POLICY, Section


class SuiteConfig(Section):
    """A transfer suite: problems that every policy is evaluated on, with settings of their own."""

    first_stage = "render"
    first_stage_of = {"source": "ingest", "reward": "score", "verifiers": "score", "by": "evaluate"}

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,59}$")]
    """Name of the suite in `evaluations.suite`, `prompts.purpose` and `samples.purpose`."""
    source: SourceConfig | None = None
    """Its problems, never trained on; the split read from the hub is `test` unless set."""
    problems_of: str | None = None
    """Instead of a source: `test` or a suite with a source, whose problems are asked here too."""
    prompt: PromptConfig | None = None
    """null: the run's `prompt`."""
    reward: RewardConfig | None = None
    """null: the run's `reward`."""
    greedy: bool = True
    """Draw one solution per problem at temperature 0."""
    pass_at_k: Decoding | None = None
    """Further solutions drawn per problem, for pass@k and maj@k; null: none."""
    max_tokens: int | None = Field(None, ge=1)
    """null: `sampling.max_tokens`."""
    stop: tuple[str, ...] | None = None
    """null: `sampling.stop`."""
    verifiers: tuple[RewardConfig, ...] = ()
    """See `evaluation.verifiers`; for the suite's own samples."""
    by: str | None = None
    """Field of the problems that groups them (BIG-Bench Hard: `task` or `file`).

    Each group gets metrics of its own, and the suite's are the mean over groups.
    """

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.name in ("train", "validation", "test", "refused"):
            raise ValueError(f"name must not be a split's, got {self.name!r}; choose another")
        if (self.source is None) == (self.problems_of is None):
            raise ValueError("a suite must have either source or problems_of, not both")
        if not self.greedy and self.pass_at_k is None:
            raise ValueError("a suite without greedy must have pass_at_k, else it draws nothing")
        if self.reward is not None:
            refuse_same_verifier(self.reward, self.verifiers)
        return self


def refuse_same_verifier(reward: RewardConfig, verifiers: tuple[RewardConfig, ...]) -> None:
    """Check that no two rewards of the same samples have the same name: verdicts are stored under it.

    Raises:
        ValueError: two have.
    """
    names = [reward.function, *(verifier.function for verifier in verifiers)]
    if verifiers and BY_HAND in names:
        raise ValueError(f"verifiers must be computed, beside a reward that is, not {BY_HAND}")
    for verifier in verifiers:
        if names.count(verifier.function) > 1:
            raise ValueError(
                "verifiers must be other functions than the reward of the same samples and than "
                f"each other, got {verifier.function!r} twice"
            )


class EvaluationConfig(Section):
    """How every policy is evaluated; iteration 0 is the base model."""

    first_stage = "evaluate"
    first_stage_of = {
        "pass_at_k": "render",
        "every": "render",
        "final_train_samples": f"render{OF_THE_LAST_POLICY}",
        "verifiers": "score",
        "suites": "ingest",
    }

    pass_at_k: Decoding | None = None
    """Further solutions drawn per test problem, for pass@k and maj@k; null: none.

    The paper's section 5: temperature 1, top-p 0.95, 64 solutions for maj@k on MATH.
    """
    k: tuple[Annotated[int, Field(ge=1)], ...] = (1, 8)
    """The k of pass@k and maj@k; a k above the number of solutions drawn is left out."""
    final_train_samples: int = Field(0, ge=0)
    """Solutions drawn per training problem from the last policy, which has no E-step.

    They give it a train-test gap; 0: none.
    """
    every: int = Field(1, ge=1)
    """Iterations per evaluation, a divisor of `num_iterations`; policies between are not evaluated."""
    verifiers: tuple[RewardConfig, ...] = ()
    """Further rewards that score the test problems' samples, for evaluation only.

    `math_verify` and `hendrycks_math` judge as others do, so that figures can be compared with
    theirs. Each gets the metrics `<function>/greedy_accuracy`, `<function>/pass_at_1`, ... and its
    agreement with the run's reward.
    """
    num_bootstrap: int = Field(1000, ge=100)
    """Number of bootstrap resamples of a confidence interval."""
    suites: tuple[SuiteConfig, ...] = ()
    """Transfer suites, drawn and scored together with the run's own problems."""

    @model_validator(mode="after")
    def _distinct_suites(self) -> Self:
        names = [suite.name for suite in self.suites]
        with_source = {"test", *(suite.name for suite in self.suites if suite.source)}
        for suite in self.suites:
            if names.count(suite.name) > 1:
                raise ValueError(f"suites must have different names, got {suite.name!r} twice")
            if suite.problems_of and suite.problems_of not in with_source:
                raise ValueError(
                    f"suites: problems_of must be test or a suite with a source, "
                    f"got {suite.problems_of!r}"
                )
        return self
