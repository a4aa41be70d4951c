"""The configuration of a run: every setting, its default and its rule, a file per section or two.

One frozen tree, read from YAML, changed by `--set section.field=value`, stored in the lake. The
sections of `RunConfig` up to `evaluation` decide the run's rows and are pinned to its name, but for
tolerances and what may grow; those after it say where and how fast the work is done, and may change
when a run is resumed (docs/lake.md, "What may change").
"""

from pipelines.config.curate import CurateConfig
from pipelines.config.evaluation import EvaluationConfig, SuiteConfig
from pipelines.config.execution import EngineConfig, TrainingConfig
from pipelines.config.improve import ImproveConfig
from pipelines.config.model import EMBEDDED_MODEL, ModelConfig
from pipelines.config.problems import ContaminationConfig, ProblemsConfig, SourceConfig
from pipelines.config.prompt import PromptConfig
from pipelines.config.reward import BY_HAND, RewardConfig
from pipelines.config.run import RunConfig
from pipelines.config.sampling import Decoding, SamplingConfig
from pipelines.config.section import Section
from pipelines.config.services import GateConfig, LakeConfig, MLflowConfig, RayConfig, SparkConfig

__all__ = [
    "BY_HAND",
    "EMBEDDED_MODEL",
    "ContaminationConfig",
    "CurateConfig",
    "Decoding",
    "EngineConfig",
    "EvaluationConfig",
    "GateConfig",
    "ImproveConfig",
    "LakeConfig",
    "MLflowConfig",
    "ModelConfig",
    "ProblemsConfig",
    "PromptConfig",
    "RayConfig",
    "RewardConfig",
    "RunConfig",
    "SamplingConfig",
    "Section",
    "SourceConfig",
    "SparkConfig",
    "SuiteConfig",
    "TrainingConfig",
]
