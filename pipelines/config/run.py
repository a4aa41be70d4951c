"""A run: all sections of the settings, and which of them its name is pinned to."""

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
    seed: int = Field(0, ge=0, lt=2**31)
    num_iterations: int = Field(2, ge=1)
    output: Path = Path("restem-data")
    """Folder for checkpoints, logs and reports of the run (`<output>/runs/<name>`)."""

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
        """Where the run keeps checkpoints, logs and reports."""
        return self.output / "runs" / self.name

    def pinned(self) -> dict[str, Any]:
        """The settings that decide the run's rows: what its name is pinned to."""
        return self.model_dump(mode="json", include=set(_PINNED))

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


def difference(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """The settings in which two pinned configurations differ: `field: old -> new`."""
    lines: list[str] = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        name = f"{prefix}{key}"
        if isinstance(before, dict) and isinstance(after, dict):
            lines += difference(before, after, f"{name}.")
        elif before != after:
            lines.append(f"{name}: {json.dumps(before)} -> {json.dumps(after)}")
    return lines
