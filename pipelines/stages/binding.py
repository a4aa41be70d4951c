"""The stages of a run, made from its configuration: where the loop's names meet the code."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipelines.config import RunConfig
from pipelines.config.draws import has_e_step, is_evaluated
from pipelines.stage import ArrowStage, SparkStage, StreamStage
from pipelines.stages.base_policy import base_policy
from pipelines.stages.contamination import contamination
from pipelines.stages.curate import curate
from pipelines.stages.evaluate import evaluate
from pipelines.stages.generate import generate
from pipelines.stages.improve import improve
from pipelines.stages.ingest import SourceRows, ingest
from pipelines.stages.render import render, render_hints
from pipelines.stages.score import obsolete_among_hinted, score
from pipelines.stages.select_samples import select
from pipelines.workload import Amount, Workload
from schemas.problems import TRAIN


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

    def evaluates(self, iteration: int) -> bool:
        """Whether an iteration's policy is evaluated."""
        return is_evaluated(self.config, iteration)

    def draws(self, iteration: int) -> bool:
        """Whether an iteration's policy draws the samples that the next one is trained on."""
        return has_e_step(self.config, iteration)

    def rationalizes(self, iteration: int) -> bool:
        """Whether problems that no sample solved are asked again with a hint."""
        return self.config.sampling.rationalize and self.draws(iteration)

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

    def render_hints(self, iteration: int) -> SparkStage:
        """Problems without a solution -> prompts with the answer as a hint."""
        return render_hints(self.config, iteration)

    def generate_hinted(self, iteration: int) -> StreamStage:
        """Prompts with a hint and policy -> the policy's solutions."""
        rows = Amount({TRAIN: self.config.sampling.num_samples_per_problem}, at_most=True)
        workload = Workload(
            rows, tokens=rows.times(self.config.sampling.max_tokens), engine_starts=1
        )
        made = generate(self.config, iteration)
        # What `generate` has sealed stays, whichever policy drew it.
        return replace(made, name="generate_hinted", workload=workload, covers=(), obsolete=None)

    def score_hinted(self, iteration: int) -> StreamStage:
        """Solutions drawn with a hint -> verdicts."""
        rows = Amount({TRAIN: self.config.sampling.num_samples_per_problem}, at_most=True)
        made = score(self.config, iteration)
        return replace(
            made,
            name="score_hinted",
            workload=Workload(rows),
            covers=(),
            obsolete=lambda *inputs: obsolete_among_hinted(self.config, *inputs),
        )

    def select(self, iteration: int) -> SparkStage:
        """Verdicts -> which solutions are kept, and why the others are not."""
        return select(self.config, iteration)

    def curate(self) -> SparkStage:
        """Kept solutions -> D_i."""
        return curate(self.config)

    def improve(self) -> ArrowStage:
        """D_i and a start policy -> the next policy."""
        return improve(self.config)
