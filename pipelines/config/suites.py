"""What each purpose's problems are asked and how they are judged: the run's way, or a suite's own."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.config import BY_HAND, PromptConfig, RewardConfig, RunConfig, SourceConfig
from schemas.problems import TEST, TRAIN, VALIDATION

RUN_SPLITS = (TRAIN, VALIDATION, TEST)


@dataclass(frozen=True)
class Suite:
    """A suite of the configuration, what it leaves open taken from the run.

    `split` is the split of `problems` that it asks: its own, or that of the suite it shares them
    with. `reward` is None where people grade it.
    """

    name: str
    split: str
    prompt: PromptConfig
    reward: RewardConfig | None
    max_tokens: int
    stop: tuple[str, ...]
    by: str | None


def suites_of(config: RunConfig) -> list[Suite]:
    """The run's suites, in the configuration's order."""
    run = config.sampling
    return [
        Suite(
            name=suite.name,
            split=suite.problems_of or suite.name,
            prompt=suite.prompt or config.prompt,
            reward=_computed(suite.reward or config.reward),
            max_tokens=suite.max_tokens or run.max_tokens,
            stop=run.stop if suite.stop is None else suite.stop,
            by=suite.by,
        )
        for suite in config.evaluation.suites
    ]


def suite_sources(config: RunConfig) -> list[tuple[str, SourceConfig]]:
    """Each suite that has problems of its own, and where they come from."""
    return [
        (suite.name, suite.source.model_copy(update={"split": suite.source.split or TEST}))
        for suite in config.evaluation.suites
        if suite.source is not None
    ]


def rewards_by_suite(config: RunConfig) -> dict[str, RewardConfig]:
    """Suite -> the reward that judges it; suites that people grade are not in it."""
    return {suite.name: suite.reward for suite in suites_of(config) if suite.reward is not None}


def by_hand(config: RunConfig) -> list[str]:
    """The suites that people grade."""
    return [suite.name for suite in suites_of(config) if suite.reward is None]


def _computed(reward: RewardConfig) -> RewardConfig | None:
    return None if reward.function == BY_HAND else reward
