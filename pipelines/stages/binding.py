"""The stages of a run, made from its configuration: where the loop's names meet the code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.config import RunConfig
from pipelines.runtime.progress import Progress
from pipelines.scoring.shares import score_suites
from pipelines.stage import ArrowStage, SparkStage, StreamStage
from pipelines.stages.base_policy import base_policy
from pipelines.stages.contamination import contamination
from pipelines.stages.curate import assemble, select_samples
from pipelines.stages.evaluate import evaluate
from pipelines.stages.generate import generate
from pipelines.stages.improve import improve
from pipelines.stages.ingest import ingest
from pipelines.stages.render import render
from pipelines.stages.score import score
from pipelines.tuning.checkpoint import PolicyRef

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pipelines.lake.snapshot import TableSnapshot


@dataclass(frozen=True)
class Stages:
    """Each method is a stage of the loop, in the loop's words."""

    config: RunConfig
    progress: Progress
    spark: Callable[[], SparkSession]
    start_ray: Callable[[], None]
    """Connects to Ray: called by the stages that have work for it, when they have."""

    def ingest(self) -> SparkStage:
        """Sources -> problems."""
        return ingest(self.config, self.spark)

    def contamination(self) -> SparkStage:
        """Problems -> those of the evaluation that share text with training problems."""
        return contamination()

    def base_policy(self) -> ArrowStage:
        """The base model's row in `policies`."""
        return base_policy(self.config)

    def render(self, iteration: int) -> SparkStage:
        """Problems -> all that the iteration's policy is asked."""
        return render(self.config, iteration)

    def generate(self, policy: TableSnapshot) -> StreamStage:
        """Prompts -> the policy's solutions."""
        return generate(self.config, policy_of(policy), self.progress, self.start_ray)

    def score(self) -> StreamStage:
        """Solutions -> verdicts."""
        return score_suites(
            self.config,
            lambda share: score(share.config, self.progress, self.start_ray, share.task),
        )

    def select(self) -> SparkStage:
        """Verdicts -> which solutions are kept, and why the others are not."""
        return select_samples(self.config.curate, self.config.seed)

    def curate(self) -> SparkStage:
        """Kept solutions -> D_i."""
        return assemble(self.config.curate)

    def improve(self, iteration: int, previous: TableSnapshot) -> ArrowStage:
        """D_i -> the next policy, from the base model or from the previous policy."""
        start = previous
        if self.config.improve.start_from == "base":
            start = self._base(previous)
        folder = self.config.folder / f"policy-{iteration}"
        return improve(self.config, folder, policy_of(start), self.progress, self.start_ray)

    def evaluate(self, policy: TableSnapshot) -> SparkStage:
        """Verdicts -> metrics with intervals."""
        return evaluate(self.config, policy_of(policy).policy_id)

    def _base(self, policy: TableSnapshot) -> TableSnapshot:
        from dataclasses import replace

        return replace(policy, iteration=0)


def policy_of(snapshot: TableSnapshot) -> PolicyRef:
    """The policy of a `policies` row."""
    row = snapshot.arrow(["policy_id", "checkpoint_uri"]).to_pylist()[0]
    return PolicyRef(row["policy_id"], row["checkpoint_uri"])
