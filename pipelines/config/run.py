"""A run: all sections of the settings, and which of them are pinned to its name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from pipelines.config.curate import CurateConfig
from pipelines.config.evaluation import EvaluationConfig
from pipelines.config.execution import EngineConfig, TrainingConfig
from pipelines.config.improve import ImproveConfig
from pipelines.config.model import ModelConfig
from pipelines.config.problems import ProblemsConfig
from pipelines.config.prompt import PromptConfig
from pipelines.config.reward import BY_HAND, RewardConfig
from pipelines.config.sampling import SamplingConfig
from pipelines.config.section import Section
from pipelines.config.services import GateConfig, LakeConfig, MLflowConfig, RayConfig, SparkConfig


class RunConfig(Section):
    """A run of ReST-EM."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
    """Id of the run in the lake; default: the name of the configuration file."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of everything drawn or chosen by hash."""
    num_iterations: int = Field(2, ge=1)
    """I, the number of EM iterations (the paper's section 5: 3 on MATH, 2 on APPS)."""
    output: Path = Path("restem-data")
    """Checkpoints, logs and reports of the run are in `<output>/runs/<name>`."""

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

    @model_validator(mode="after")
    def _reward_is_computed(self) -> Self:
        if self.reward.function == BY_HAND:
            raise ValueError(
                f"reward.function must be computed, got {BY_HAND!r}: D_i is made from it; "
                "only a suite may be graded by hand"
            )
        return self

    @property
    def folder(self) -> Path:
        """Folder of the run's checkpoints, logs and reports."""
        return self.output / "runs" / self.name

    def pinned(self) -> dict[str, Any]:
        """The settings that decide the run's rows: those pinned to its name."""
        return self.model_dump(mode="json", include=set(_PINNED))

    def stored(self) -> dict[str, Any]:
        """The settings without credentials, to be stored and logged; readable as a RunConfig."""
        return self.model_dump(mode="json")

    def config_hash(self) -> str:
        """Hash of the pinned settings."""
        text = json.dumps(self.pinned(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


_PINNED = (
    "seed",
    "num_iterations",
    "model",
    "problems",
    "prompt",
    "sampling",
    "reward",
    "curate",
    "improve",
    "evaluation",
)
