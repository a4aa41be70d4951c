"""The suites of a run; a setting that a suite leaves open is the run's."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.config import BY_HAND, PromptConfig, RewardConfig, RunConfig, SourceConfig
from schemas.problems import TEST, TRAIN, VALIDATION

RUN_SPLITS = (TRAIN, VALIDATION, TEST)


@dataclass(frozen=True)
class Suite:
    """A suite with every setting resolved."""

    name: str
    split: str
    """Split of `problems` it asks: its own, `test`, or that of the suite named in `problems_of`."""
    prompt: PromptConfig
    reward: RewardConfig | None
    """None if people grade it."""
    max_tokens: int
    stop: tuple[str, ...]
    by: str | None
    """Field of the problems whose values group them; None: no groups."""


def suites_of(config: RunConfig) -> list[Suite]:
    """The run's suites, in the configuration's order."""
    suites = []
    for suite in config.evaluation.suites:
        reward = suite.reward or config.reward
        suites.append(
            Suite(
                name=suite.name,
                split=suite.problems_of or suite.name,
                prompt=suite.prompt or config.prompt,
                reward=None if reward.function == BY_HAND else reward,
                max_tokens=suite.max_tokens or config.sampling.max_tokens,
                stop=config.sampling.stop if suite.stop is None else suite.stop,
                by=suite.by,
            )
        )
    return suites


def suite_sources(config: RunConfig) -> list[tuple[str, SourceConfig]]:
    """(suite, source) of each suite with problems of its own; their split is `test` unless set."""
    return [
        (suite.name, suite.source.model_copy(update={"split": suite.source.split or TEST}))
        for suite in config.evaluation.suites
        if suite.source is not None
    ]


def covered_problems(config: RunConfig) -> tuple[str, ...]:
    """What the problems cover of what may grow: each suite with problems of its own."""
    return tuple(f"suite {name}" for name, _ in suite_sources(config))


def rewards_by_suite(config: RunConfig) -> dict[str, RewardConfig]:
    """Suite -> the reward that scores its samples, without the suites that people grade."""
    return {suite.name: suite.reward for suite in suites_of(config) if suite.reward is not None}


def verifiers_by_split(config: RunConfig) -> dict[str, tuple[RewardConfig, ...]]:
    """`test` or suite -> the further rewards that score its samples, where there are any."""
    found = {TEST: config.evaluation.verifiers}
    found |= {suite.name: suite.verifiers for suite in config.evaluation.suites}
    return {name: verifiers for name, verifiers in found.items() if verifiers}


def by_hand(config: RunConfig) -> list[str]:
    """Names of the suites that people grade."""
    return [suite.name for suite in suites_of(config) if suite.reward is None]
