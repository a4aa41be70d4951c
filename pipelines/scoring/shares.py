"""Which rewards score which samples: the run's own, or that of a suite, and further verifiers.

Every sample has one share of role `reward`. Where `evaluation.verifiers` or a suite's `verifiers` are
set, its samples are in further shares, of role `evaluation`.

A suite that people grade (`reward.function: by_hand`) has no share: `rewards` holds verdicts, and
its samples have none until people give marks. So nothing counts them as wrong, and `evaluations` of
that suite are computed from the marks alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.config import RewardConfig, RunConfig
from pipelines.config.suites import by_hand, rewards_by_suite, verifiers_by_split
from pipelines.lake.sql_text import sql_list, sql_literal
from pipelines.rewards.resolve import verifier_name
from pipelines.stage import Snapshot
from schemas.problems import TRAIN
from schemas.rewards import EVALUATION, REWARD

if TYPE_CHECKING:
    import pyarrow as pa


MAJORITY_VOTE = "majority_vote"
"""The name of verdicts by vote."""


@dataclass(frozen=True)
class FilteredSnapshot:
    """The rows of a snapshot that meet a condition; itself a Snapshot."""

    snapshot: Snapshot
    condition: str

    @property
    def iteration(self) -> int:
        return self.snapshot.iteration

    @property
    def version(self) -> int:
        return self.snapshot.version

    def arrow(self, columns: list[str] | None = None, where: str | None = None) -> pa.Table:
        return self.snapshot.arrow(columns, self._both(where))

    def count(self, where: str | None = None) -> int:
        return self.snapshot.count(self._both(where))

    def _both(self, where: str | None) -> str:
        return self.condition if where is None else f"({self.condition}) AND ({where})"


@dataclass(frozen=True)
class Share:
    """The samples that one reward scores."""

    condition: str
    """A SQL condition on their `purpose`."""
    reward: RewardConfig
    suites: tuple[str, ...] = ()
    """The suites they belong to; empty for those that the run's own reward scores."""
    role: str = REWARD
    """See the column of `rewards`."""
    by_vote: bool = False
    """Whether the samples are compared with one another, see `majority_vote`."""

    @property
    def verifier(self) -> str:
        """The name that its verdicts are stored under."""
        return MAJORITY_VOTE if self.by_vote else verifier_name(self.reward)

    @property
    def task(self) -> str:
        """The name of the work in its progress."""
        task = f"score {', '.join(self.suites)}" if self.suites else "score"
        return task if self.role == REWARD else f"{task} by {self.reward.function}"


def shares_of(config: RunConfig) -> list[Share]:
    """The samples that have a reward, divided by it, then those of each further verifier."""
    own = {
        name: reward for name, reward in rewards_by_suite(config).items() if reward != config.reward
    }
    apart = [*own, *by_hand(config)]
    votes = config.curate.majority_vote
    apart += [TRAIN] if votes else []
    rest = f"purpose NOT IN {sql_list(apart)}" if apart else "true"
    shares = [Share(rest, config.reward)]
    if votes:
        shares.append(
            Share(f"purpose = {sql_literal(TRAIN)}", config.reward, (TRAIN,), by_vote=True)
        )
    shares += _shares([(reward, name) for name, reward in own.items()], REWARD)
    further = verifiers_by_split(config)
    pairs = [(verifier, name) for name, several in further.items() for verifier in several]
    return shares + _shares(pairs, EVALUATION)


def _shares(pairs: list[tuple[RewardConfig, str]], role: str) -> list[Share]:
    """One share per reward, from (reward, suite) pairs."""
    suites: dict[str, list[str]] = {}
    rewards = {reward.model_dump_json(): reward for reward, _ in pairs}
    for reward, suite in pairs:
        suites.setdefault(reward.model_dump_json(), []).append(suite)
    return [
        Share(f"purpose IN {sql_list(names)}", rewards[key], tuple(names), role)
        for key, names in suites.items()
    ]
