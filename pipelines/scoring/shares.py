"""The score stage of a run with suites: each purpose's samples by the reward that judges them.

A suite that people grade (`reward.function: by_hand`) gets no rows here: `rewards` holds verdicts,
and its samples have none until a person gives marks. So nothing counts them as wrong, and
`evaluations` of that suite come from the marks alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.config import RunConfig
from pipelines.config.suites import by_hand, rewards_by_suite
from pipelines.stage import FileWriter, Snapshot, StreamStage, WrittenFile

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Only:
    """A snapshot's rows that meet a condition."""

    snapshot: Snapshot
    condition: str

    @property
    def iteration(self) -> int:
        """See Snapshot, as below."""
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
    """The samples that one reward judges."""

    condition: str
    """On their `purpose`."""
    config: RunConfig
    """The run's, its `reward` being theirs."""
    suites: tuple[str, ...] = ()
    """Whose they are; none for those that the run's own reward judges."""

    @property
    def task(self) -> str:
        """What scoring them is called while it goes on."""
        return f"score {', '.join(self.suites)}" if self.suites else "score"


def score_suites(config: RunConfig, score: Callable[[Share], StreamStage]) -> StreamStage:
    """The stage that scores with the run's reward, and each suite's samples with the suite's own.

    Args:
        config: the run's.
        score: the stage that scores all samples it is given with the share's reward.
    """
    stages = [(share.condition, score(share)) for share in shares_of(config)]
    if not config.evaluation.suites:
        return stages[0][1]
    measures: dict[str, float] = {}

    def judge(
        samples: Snapshot, prompts: Snapshot, *, committed: Snapshot, writer: FileWriter
    ) -> Iterator[list[WrittenFile]]:
        for condition, stage in stages:
            part = Only(samples, condition)
            yield from stage.function(part, prompts, committed=committed, writer=writer)
            add_measures(measures, stage.measures)

    return StreamStage("score", judge, measures)


def shares_of(config: RunConfig) -> list[Share]:
    """The samples that have a reward, parted by it."""
    own = {
        name: reward for name, reward in rewards_by_suite(config).items() if reward != config.reward
    }
    apart = [*own, *by_hand(config)]
    rest = f"purpose NOT IN ({_listed(apart)})" if apart else "true"
    shares = [Share(rest, config)]
    for reward in dict.fromkeys(reward.model_dump_json() for reward in own.values()):
        names = [name for name, given in own.items() if given.model_dump_json() == reward]
        judged = config.model_copy(update={"reward": own[names[0]]})
        shares.append(Share(f"purpose IN ({_listed(names)})", judged, tuple(names)))
    return shares


def add_measures(total: dict[str, float], part: dict[str, float]) -> None:
    """Add what scoring one share measured to what all of them did."""
    for name, value in part.items():
        total[name] = total.get(name, 0.0) + value
    if total.get("seconds"):
        total["per_second"] = total.get("samples", 0.0) / total["seconds"]


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)  # A suite's name has no quotes.
