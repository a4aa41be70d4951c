"""How each split and suite is asked in an iteration: the decodings of its prompts."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.config.evaluation import SuiteConfig
from pipelines.config.run import RunConfig
from pipelines.config.sampling import Decoding
from schemas.problems import TEST, TRAIN
from schemas.prompts import GREEDY, PASS_AT_K, SAMPLE


@dataclass(frozen=True)
class NamedDecoding:
    """A way to draw solutions, with its name in `prompts.decoding`."""

    name: str
    decoding: Decoding


Draws = dict[str, tuple[NamedDecoding, ...]]
"""Split or suite -> its decodings; those of a split that is not named are under ""."""


def is_evaluated(config: RunConfig, iteration: int) -> bool:
    """Whether an iteration's policy is evaluated."""
    return iteration % config.evaluation.every == 0


def has_e_step(config: RunConfig, iteration: int) -> bool:
    """Whether solutions are drawn from an iteration's policy to train the next one on."""
    is_last = iteration == config.num_iterations
    is_asked = config.curate.human_solutions != "only" and not m_step(config, iteration + 1)
    return is_asked and not is_last


def m_step(config: RunConfig, iteration: int) -> int:
    """How many M-steps on the same samples come before an iteration's; 0: it follows an E-step."""
    return (iteration - 1) % config.sampling.m_steps


def draws(config: RunConfig, iteration: int) -> Draws:
    """The decodings of an iteration's prompts, by split and suite.

    No E-step follows the last policy, so its training problems are asked only if the evaluation
    needs its train-test gap (`evaluation.final_train_samples`). Of a policy that is not evaluated,
    nothing but training problems is asked.
    """
    sampling, evaluation = config.sampling, config.evaluation
    is_last = iteration == config.num_iterations
    num_samples = sampling.num_samples_per_problem if has_e_step(config, iteration) else 0
    if is_last:
        num_samples = evaluation.final_train_samples
    greedy = NamedDecoding(GREEDY, Decoding())
    train: tuple[NamedDecoding, ...] = ()
    if num_samples:
        e_step = Decoding(
            num_samples=num_samples,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
        )
        train = (NamedDecoding(SAMPLE, e_step),)
    if not is_evaluated(config, iteration):
        return {TRAIN: train, TEST: (), "": ()} | {suite.name: () for suite in evaluation.suites}
    test: tuple[NamedDecoding, ...] = (greedy,)
    if evaluation.pass_at_k:
        test = (greedy, NamedDecoding(PASS_AT_K, evaluation.pass_at_k))
    return {TRAIN: train, TEST: test, "": (greedy,)} | {
        suite.name: _suite_draws(suite) for suite in evaluation.suites
    }


def covered(config: RunConfig, iteration: int) -> tuple[str, ...]:
    """What an iteration's prompts cover of what may grow: its E-step, and each suite."""
    ways = draws(config, iteration)
    e_step = [f"{way.decoding.num_samples} per problem" for way in ways[TRAIN]]
    asked = [suite.name for suite in config.evaluation.suites if ways[suite.name]]
    return (*e_step, *(f"suite {name}" for name in asked))


def num_drawn(config: RunConfig, iteration: int, purposes: list[str]) -> dict[str, list[int]]:
    """Purpose -> solutions drawn for each prompt of one of its problems."""
    ways = draws(config, iteration)
    return {
        purpose: [way.decoding.num_samples for way in ways.get(purpose, ways[""])]
        for purpose in purposes
    }


def _suite_draws(suite: SuiteConfig) -> tuple[NamedDecoding, ...]:
    greedy = (NamedDecoding(GREEDY, Decoding()),) if suite.greedy else ()
    return greedy + ((NamedDecoding(PASS_AT_K, suite.pass_at_k),) if suite.pass_at_k else ())
