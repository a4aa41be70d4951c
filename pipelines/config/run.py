"""A run: all sections of the settings, and which of them are pinned to its name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from pipelines.config.curate import CurateConfig
from pipelines.config.evaluation import EvaluationConfig, refuse_same_verifier
from pipelines.config.execution import EngineConfig, TrainingConfig
from pipelines.config.improve import ImproveConfig
from pipelines.config.model import WEIGHTS, ModelConfig
from pipelines.config.problems import ProblemsConfig
from pipelines.config.prompt import PromptConfig
from pipelines.config.reward import BY_HAND, RewardConfig
from pipelines.config.sampling import SamplingConfig
from pipelines.config.section import OF_THE_LAST_POLICY, Section
from pipelines.config.services import GateConfig, LakeConfig, MLflowConfig, RayConfig, SparkConfig


class RunConfig(Section):
    """A run of ReST-EM."""

    first_stage_of = {"seed": "ingest", "num_iterations": f"render{OF_THE_LAST_POLICY}"}

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
    """Id of the run in the lake; default: the name of the configuration file."""
    method: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,59}$")] = "rest_em"
    """Name of the method, see configs/methods/; a label: the settings are what is done."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of everything drawn or chosen by hash."""
    num_iterations: int = Field(2, ge=1)
    """I, the number of EM iterations (the paper's section 5: 3 on MATH, 2 on APPS)."""
    output: Path = Path("restem-data")
    """Logs, reports and half-trained policies are in `<output>/runs/<name>`; nothing there is needed."""

    model: ModelConfig = ModelConfig()
    problems: ProblemsConfig
    prompt: PromptConfig = PromptConfig()
    sampling: SamplingConfig = SamplingConfig()
    reward: RewardConfig = RewardConfig()
    curate: CurateConfig = CurateConfig()
    improve: ImproveConfig = ImproveConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    engine: EngineConfig = EngineConfig()
    training: TrainingConfig = TrainingConfig()
    lake: LakeConfig = LakeConfig()
    ray: RayConfig = RayConfig()
    spark: SparkConfig = SparkConfig()
    mlflow: MLflowConfig = MLflowConfig()
    gate: GateConfig = GateConfig()

    @field_validator("output")
    @classmethod
    def _home_in_full(cls, output: Path) -> Path:
        return output.expanduser()

    @model_validator(mode="after")
    def _reward_is_computed(self) -> Self:
        if self.reward.function == BY_HAND:
            raise ValueError(
                f"reward.function must be computed, got {BY_HAND!r}: D_i is made from it; "
                "only a suite may be graded by hand"
            )
        return self

    @model_validator(mode="after")
    def _distinct_verifiers(self) -> Self:
        refuse_same_verifier(self.reward, self.evaluation.verifiers)
        for suite in self.evaluation.suites:
            refuse_same_verifier(suite.reward or self.reward, suite.verifiers)
        return self

    @model_validator(mode="after")
    def _evaluates_the_last_policy(self) -> Self:
        if self.num_iterations % self.evaluation.every:
            raise ValueError(
                "evaluation.every must divide num_iterations, so that the last policy is evaluated, "
                f"got {self.evaluation.every} and {self.num_iterations}"
            )
        return self

    @model_validator(mode="after")
    def _m_steps_have_thresholds(self) -> Self:
        further = self.sampling.m_steps - 1
        if self.curate.later_thresholds and len(self.curate.later_thresholds) != further:
            raise ValueError(
                f"curate.later_thresholds must have {further} values, one for each further M-step of "
                f"an E-step (sampling.m_steps - 1), got {len(self.curate.later_thresholds)}"
            )
        return self

    @model_validator(mode="after")
    def _draws_what_it_trains_on(self) -> Self:
        draws_none = self.curate.human_solutions == "only"
        if draws_none and (self.sampling.rationalize or self.sampling.m_steps > 1):
            raise ValueError(
                "curate.human_solutions must not be only with sampling.rationalize or "
                "sampling.m_steps: nothing is drawn for training"
            )
        return self

    @model_validator(mode="after")
    def _hints_are_answers(self) -> Self:
        if not self.sampling.rationalize:
            return self
        if self.reward.function == "unit_tests":
            raise ValueError(
                "sampling.rationalize must be false with reward.function unit_tests: tests are no "
                "answer that could be given as a hint"
            )
        if "{reference}" not in self.prompt.hint:
            raise ValueError(f"prompt.hint must contain {{reference}}, got {self.prompt.hint!r}")
        return self

    @property
    def folder(self) -> Path:
        """Folder of the run's logs, reports and half-trained policies."""
        return self.output / "runs" / self.name

    def pinned(self) -> dict[str, Any]:
        """The settings that decide the run's rows and never change: those pinned to its name.

        Left out are those that may grow (`growing`), and tolerances, which decide whether a table is
        handed on and not what is in it.
        """
        tree = self.model_dump(mode="json", include=set(_PINNED))
        del tree["evaluation"]["suites"], tree["model"]["max_model_len"]
        _identify_model(tree["model"])
        _drop(tree["reward"], self.reward.tolerances)
        _drop_tolerances(tree["evaluation"], self.evaluation.verifiers)
        for source in tree["problems"]["sources"]:
            _identify(source)
        if tree["problems"]["contamination"] is not None:
            # All of its settings are limits; whether the table is made is pinned.
            tree["problems"]["contamination"] = {}
        return tree

    def growing(self) -> Growing:
        """The settings that may grow under the run's name, in a finished run too."""
        suites = {}
        for suite in self.evaluation.suites:
            tree = suite.model_dump(mode="json")
            if tree["source"] is not None:
                _identify(tree["source"])
            if suite.reward is not None:
                _drop(tree["reward"], suite.reward.tolerances)
            _drop_tolerances(tree, suite.verifiers)
            suites[suite.name] = tree
        return Growing(self.num_iterations, self.model.max_model_len, suites)

    def decisive(self) -> dict[str, Any]:
        """The settings that are stored anew if one of them changes: the pinned, growth, tolerances."""
        return self.model_dump(mode="json", include={*_PINNED, "num_iterations"})

    def stored(self) -> dict[str, Any]:
        """The settings without credentials, to be stored and logged; readable as a RunConfig."""
        return self.model_dump(mode="json")

    def config_hash(self) -> str:
        """Hash of the pinned settings."""
        text = json.dumps(self.pinned(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Growing:
    """Settings that may only grow."""

    num_iterations: int
    max_model_len: int
    suites: dict[str, dict[str, Any]]
    """By name, each with its settings."""


def _identify(source: dict[str, Any]) -> None:
    """Reduce a source's settings to what decides its rows: what it holds, or else where it is."""
    del source["content" if source["content"] is None else "location"]


def _identify_model(model: dict[str, Any]) -> None:
    """Reduce the base model's settings to what decides its weights, as far as that is known."""
    if model["content"] is None:
        del model["content"]
    elif model["content"].startswith(WEIGHTS):
        del model["base_model"]


def _drop_tolerances(tree: dict[str, Any], verifiers: tuple[RewardConfig, ...]) -> None:
    for verifier, settings in zip(verifiers, tree["verifiers"], strict=True):
        _drop(settings, verifier.tolerances)


def _drop(tree: dict[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        del tree[name]


_PINNED = (
    "seed",
    "model",
    "problems",
    "prompt",
    "sampling",
    "reward",
    "curate",
    "improve",
    "evaluation",
)
