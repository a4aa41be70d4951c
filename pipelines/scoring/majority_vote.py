"""Reward by majority vote: a problem's samples are compared with one another, not with a reference.

Self-consistency as a reward: Huang et al., "Large Language Models Can Self-Improve", 2022, section 3.1.
The answer that most of a problem's samples give wins; r is its share of the samples if the sample gave it,
else 0. So `curate.threshold` is a limit on the confidence. Samples without one final answer do not vote,
and count among the samples. Of answers with equally many votes the first in the alphabet wins.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.errors import ConfigError
from pipelines.rewards.resolve import text_reward
from pipelines.rewards.verdict import Verdict
from pipelines.rewards.votes import Answer, Equality, merged
from pipelines.rewards.workers.worker_process import Scored
from pipelines.runtime.slices import whole_groups
from pipelines.scoring.score_chunks import CHUNK_SAMPLES, Verifier, reward_rows
from pipelines.stage import StageContext, WrittenFile
from schemas.rewards import CORRECT, NO_ANSWER, TRUNCATED, WRONG
from schemas.samples import LENGTH, STOP

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.config import RewardConfig
    from pipelines.stage import FileWriter

VERSION = "1"
"""Raise it with every change that can change a verdict: verdicts are stored under it."""


class StatesAnswers(Equality, Protocol):
    """A reward that finds a solution's answer without a reference."""

    def stated_answer(self, solution: str) -> str | None:
        """The one final answer of a solution; None if it has none, or several that differ."""


def voting(config: RewardConfig) -> StatesAnswers:
    """The reward whose answers are votes.

    Raises:
        ConfigError: the reward's answers cannot be found without a reference.
    """
    reward = text_reward(config)
    if reward is None:
        raise ConfigError(
            "curate.majority_vote must be false with reward.function "
            f"{config.function!r}: only the answers of math_answer and exact_match can be compared "
            "with one another"
        )
    return reward


def voted_chunks(
    rows: pa.Table, verifier: Verifier, writer: FileWriter, context: StageContext
) -> Iterator[list[WrittenFile]]:
    """Let the samples of each problem vote, and write their verdicts, whole problems to a file.

    Args:
        rows: samples in the order of their problems, all of a problem: see `to_score`.
        verifier: with the reward whose answers are votes.
        writer: writes rows of `rewards`.
        context: progress and measures.
    """
    reward = voting(verifier.config)
    with context.progress.task("score by majority vote", rows.num_rows, "samples") as task:
        for start, stop in whole_groups(rows["problem_id"].to_pylist(), CHUNK_SAMPLES):
            chunk = rows.slice(start, stop - start)
            samples = chunk.select(["problem_id", "finish_reason", "solution"]).to_pylist()
            began = time.monotonic()
            by_problem = groupby(samples, key=lambda sample: sample["problem_id"])
            verdicts = [v for _, group in by_problem for v in votes_of(list(group), reward)]
            each = 1000 * (time.monotonic() - began) / len(samples)
            made = writer.write(reward_rows(chunk, [Scored(v, each) for v in verdicts], verifier))
            total = context.measures.get("samples_that_voted", 0.0)
            context.measures["samples_that_voted"] = total + len(samples)
            task.advance(len(samples))
            yield [made]


def votes_of(samples: Sequence[dict[str, Any]], reward: StatesAnswers) -> list[Verdict]:
    """The verdicts on the samples of one problem.

    Args:
        samples: `finish_reason` and `solution` of each.
        reward: finds and compares the answers.
    """
    answers = [
        reward.stated_answer(s["solution"]) if s["finish_reason"] == STOP else None for s in samples
    ]
    counted: dict[str, int] = {}
    for answer in answers:
        if answer is not None:
            counted[answer] = counted.get(answer, 0) + 1
    ranked = merged([Answer(text, votes, 0) for text, votes in counted.items()], reward)
    if not ranked:
        return [_without_vote(sample) for sample in samples]
    winner = min(ranked, key=lambda answer: (-answer.votes, answer.text))
    note = f"{winner.votes} of {len(samples)} samples answer {winner.text[:100]}"
    share = winner.votes / len(samples)
    return [
        _without_vote(sample)
        if answer is None
        else Verdict(share, CORRECT, answer, detail=note)
        if _equal(answer, winner.text, reward)
        else Verdict(0.0, WRONG, answer, detail=note)
        for sample, answer in zip(samples, answers, strict=True)
    ]


def _equal(first: str, second: str, reward: StatesAnswers) -> bool:
    same_key = reward.answer_key(first) == reward.answer_key(second)
    return same_key or reward.same_answer(first, second)


def _without_vote(sample: dict[str, Any]) -> Verdict:
    return Verdict(0.0, TRUNCATED if sample["finish_reason"] == LENGTH else NO_ANSWER)
