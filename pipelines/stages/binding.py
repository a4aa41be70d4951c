"""The stages of a run, made from its configuration: where the loop's names meet the code."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.config import RunConfig
from pipelines.stage import ArrowStage, SparkStage, StreamStage
from pipelines.stages.base_policy import base_policy
from pipelines.stages.contamination import contamination
from pipelines.stages.curate import curate
from pipelines.stages.evaluate import evaluate
from pipelines.stages.generate import generate
from pipelines.stages.improve import improve
from pipelines.stages.ingest import SourceRows, ingest
from pipelines.stages.render import render
from pipelines.stages.score import score
from pipelines.stages.select_samples import select


@dataclass(frozen=True)
class Stages:
    """Each method is a stage of the loop, in the loop's words. Nothing is read or started."""

    config: RunConfig
    sources: SourceRows | None = None
    """The problems' rows, if they may have been read already."""

    @property
    def looks_for_contamination(self) -> bool:
        """Whether test problems are looked for among the training problems."""
        return self.config.problems.contamination is not None

    @property
    def starts_from_previous(self) -> bool:
        """Whether the M-step starts from the previous policy instead of the base model."""
        return self.config.improve.start_from == "previous"

    def ingest(self) -> SparkStage:
        """Sources -> problems."""
        return ingest(self.config, self.sources)

    def contamination(self) -> SparkStage:
        """Problems -> evaluation problems that share text with training problems."""
        return contamination(self.config)

    def base_policy(self) -> ArrowStage:
        """The base model's row in `policies`."""
        return base_policy(self.config.model)

    def render(self, iteration: int) -> SparkStage:
        """Problems -> the prompts of the iteration's policy."""
        return render(self.config, iteration)

    def generate(self, iteration: int) -> StreamStage:
        """Prompts and policy -> the policy's solutions."""
        return generate(self.config, iteration)

    def score(self, iteration: int) -> StreamStage:
        """Solutions -> verdicts."""
        return score(self.config, iteration)

    def evaluate(self, iteration: int) -> SparkStage:
        """Verdicts -> metrics with intervals."""
        return evaluate(self.config, iteration)

    def select(self) -> SparkStage:
        """Verdicts -> which solutions are kept, and why the others are not."""
        return select(self.config)

    def curate(self) -> SparkStage:
        """Kept solutions -> D_i."""
        return curate(self.config)

    def improve(self) -> ArrowStage:
        """D_i and a start policy -> the next policy."""
        return improve(self.config)
