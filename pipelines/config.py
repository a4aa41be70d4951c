"""The configuration of a run: every setting, its default, its rule.

One frozen tree, read from YAML, changed by `--set key=value`, saved resolved beside the run. The
sections up to `evaluation` decide the run's rows and are pinned to its name; the sections after it
say only where and how fast the work is done, and may change between two starts of one run.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipelines.datasets.published import PUBLISHED

EMBEDDED_MODEL = "embedded:smollm2-135m-instruct"
"""The base model that ships in a Python package; see pipelines/embedded_model.py."""
BY_HAND = "by_hand"
"""The reward of a suite that people grade: its samples are drawn and get no row in `rewards`."""


class Section(BaseModel):
    """A frozen section; a field it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class ModelConfig(Section):
    """The base model: what iteration 1 samples from and every M-step starts from."""

    base_model: str = EMBEDDED_MODEL
    """`embedded:smollm2-135m-instruct`, a checkpoint folder, or a hub id."""
    revision: str | None = None
    """The hub's revision; a folder has none."""
    max_model_len: int = Field(1024, ge=16)
    """Longest prompt plus solution, in tokens."""
    trust_remote_code: bool = False


class SourceConfig(Section):
    """Where problems come from, and which of the source's fields mean what."""

    kind: Literal[
        "generator",
        "reasoning_gym",
        "hub",
        "jsonl",
        "csv",
        "parquet",
        "delta",
        # Published sets, each with its own module in pipelines/datasets/ (docs/data.md).
        "apps",
        "bbh",
        "codecontests",
        "gsm8k",
        "humaneval",
        "hungarian_exam",
        "math",
        "math500",
        "mbpp",
    ]
    location: str = ""
    """generator: `module:function`; reasoning_gym: task name; hub: data set id; else a path/URI.

    A published set: a hub id (its own by default) or a file. `${NAME}` is an environment variable.
    """
    options: dict[str, Any] = {}
    """generator and reasoning_gym: keyword arguments; hub: `name`, `revision`, ...; delta: `version`;
    a published set: the hub's, and what its module says (`levels`, `difficulties`, ...)."""
    dataset: str | None = None
    """Name recorded with each problem; default: the published set's kind, else the location."""
    max_problems: int | None = Field(None, ge=1)
    """Keep at most so many of the source's problems, chosen by hash."""
    split: str | None = None
    """The source's own split to read (hub), or the split all its rows belong to."""
    question_field: str = "question"
    reference_field: str = "answer"
    solution_field: str | None = None
    split_field: str | None = None
    """Field that holds each row's split; null: rows are split by hash."""

    @model_validator(mode="before")
    @classmethod
    def _usual_location(cls, data: Any) -> Any:
        """A published set is read from its hub id unless the configuration says where else."""
        if isinstance(data, dict) and data.get("kind") in PUBLISHED and not data.get("location"):
            return {**data, "location": PUBLISHED[data["kind"]].hub_id}
        return data

    @model_validator(mode="after")
    def _has_a_location(self) -> Self:
        if not self.location:
            raise ValueError(f"location is required for kind {self.kind}; add it")
        return self

    @property
    def name(self) -> str:
        """The data set's name in `problems`: the same wherever the set is read from."""
        return self.dataset or (self.kind if self.kind in PUBLISHED else self.location)


class ContaminationConfig(Section):
    """Whether what is tested on was trained on; the table `contamination` is made if this is set."""

    words: int = Field(13, ge=8)
    """Words in a row that a test and a training problem may not share."""
    max_share: float = Field(0.01, ge=0, le=1)
    """Share of a suite's problems that may, before a warning is due."""
    exact: Literal["critical", "warning"] = "critical"
    """What one problem with the text of a training problem is; critical: the run stops."""


class ProblemsConfig(Section):
    """D, D_val and the test set."""

    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    num_validation: int = Field(0, ge=0)
    """Rows of D_val taken by hash from sources without splits."""
    num_test: int = Field(0, ge=0)
    """Test rows taken by hash from sources without splits."""
    max_train: int | None = Field(None, ge=1)
    """Keep at most so many training problems, chosen by hash."""
    contamination: ContaminationConfig | None = None
    """Look for test problems among the training problems (a stage of some seconds)."""
    duplicates: Literal["refuse", "first"] = "refuse"
    """What to do with a question that is there twice: refuse the sources, or keep one.

    first: the one in test, else in a suite, else in validation, else for training: what is held out
    is never trained on. Of several there, the first by source and row.
    """


class PromptConfig(Section):
    """What the policy sees: exemplars, then the question."""

    file: Path | None = None
    """YAML file of these settings (configs/prompts/ has the papers'); what is set here wins."""
    template: str = "Question: {question}\nAnswer:"
    """One exemplar or question; `{question}` is replaced."""
    exemplars: tuple[dict[str, str], ...] = ()
    """Few-shot exemplars, each with `question` and `solution`; or use `exemplars_file`."""
    exemplars_file: Path | None = None
    """YAML or JSONL file of exemplars (`question`, `solution`)."""
    exemplars_folder: str | None = None
    """Folder of a text of exemplars a task (`<file>.txt`, by the problem's field `file`), as
    BIG-Bench Hard has them; `${NAME}` is an environment variable."""
    exemplar_separator: str = "\n\n"
    solution_prefix: str = " "
    """Put between the template and an exemplar's solution."""
    chat: bool = False
    """Render as chat turns with the tokenizer's chat template instead of plain text."""
    system: str | None = None
    """System message, with `chat`."""


class Decoding(Section):
    """How solutions are drawn."""

    num_samples: int = Field(1, ge=1)
    temperature: float = Field(0.0, ge=0)
    top_k: int = Field(0, ge=0)
    """0 considers all tokens."""
    top_p: float = Field(1.0, gt=0, le=1)


class SamplingConfig(Section):
    """Generate (E-step): N solutions a problem. The paper's values are the defaults."""

    num_samples_per_problem: int = Field(32, ge=1)
    temperature: float = Field(0.7, ge=0)
    top_k: int = Field(40, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(512, ge=1)
    stop: tuple[str, ...] = ()
    """Strings that end a solution; they are not part of it."""

    @model_validator(mode="after")
    def _distinct_samples(self) -> Self:
        if self.temperature == 0 and self.num_samples_per_problem > 1:
            raise ValueError(
                "num_samples_per_problem must be 1 at temperature 0 (every sample is the same), "
                f"got {self.num_samples_per_problem}; raise temperature"
            )
        return self


class RewardConfig(Section):
    """r(x, y)."""

    function: str = "math_answer"
    """`math_answer`, `unit_tests`, `exact_match`, or `python:module:function` for your own; a
    suite's may be `by_hand`: its samples are drawn and kept, and wait for a person's marks."""
    options: dict[str, Any] = {}
    """Keyword arguments of the reward function (math_answer, exact_match: `extract`; unit_tests:
    `sandbox`, `challenge_tests`)."""
    timeout_seconds: float = Field(5.0, gt=0)
    """Longest time for one verdict; after it the worker is killed and the verdict is `timeout`."""
    memory_limit_mb: int = Field(2048, ge=256)
    """Address space of a worker; a solution that needs more gets the verdict `memory`."""
    max_checker_failures: float = Field(0.02, ge=0, le=1)
    """Largest share of samples whose checker may fail before the run stops."""


class CurateConfig(Section):
    """Which rewarded samples make up D_i."""

    threshold: float = 0.0
    """Keep a sample if its reward is greater."""
    distinct: Literal["none", "text", "normalized_text"] = "normalized_text"
    """Keep one of several equal solutions of a problem; normalized: white space and case folded."""
    cutoff: int = Field(10, ge=1)
    """At most so many solutions a problem (the paper's section 5: 10)."""
    max_rows: int | None = Field(None, ge=1)
    """Balance: at most so many rows, taken round-robin over problems, rarest-solved first."""
    weight: Literal["identity", "exponential"] = "identity"
    """f(r): identity weighs by the reward; exponential by exp(r / beta) (RWR)."""
    beta: float = Field(1.0, gt=0)


class ImproveConfig(Section):
    """Improve (M-step): reward-weighted fine-tuning, from the base model."""

    start_from: Literal["base", "previous"] = "base"
    learning_rate: float = Field(1e-5, gt=0)
    batch_size: int = Field(16, ge=1)
    """Rows an optimizer step, over all workers."""
    max_epochs: int = Field(3, ge=1)
    patience: int = Field(1, ge=1)
    """Stop after so many epochs without a better reward on D_val."""
    warmup_ratio: float = Field(0.1, ge=0, le=1)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    keep: Literal["best", "last"] = "best"
    """Epoch handed on: the best on D_val (the paper), or the last."""


class SuiteConfig(Section):
    """A transfer suite: further problems that every policy is asked, in their own way."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,59}$")]
    """The suite in `evaluations`; the purpose of its prompts."""
    source: SourceConfig | None = None
    """Its problems; none of them is trained on. A hub's split is `test` unless it says otherwise."""
    problems_of: str | None = None
    """Instead of a source: `test`, or the suite whose problems are asked in another way."""
    prompt: PromptConfig | None = None
    """null: the run's."""
    reward: RewardConfig | None = None
    """null: the run's."""
    greedy: bool = True
    """One solution a problem at temperature 0."""
    pass_at_k: Decoding | None = None
    """Extra draws for pass@k and maj@k; null: none."""
    max_tokens: int | None = Field(None, ge=1)
    """null: sampling.max_tokens."""
    stop: tuple[str, ...] | None = None
    """null: sampling.stop."""
    by: str | None = None
    """Field of the problems (BBH: `task`, `file`) by whose values the suite is also evaluated; the
    suite's own figures are then the mean over those groups."""

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.name in ("train", "validation", "test"):
            raise ValueError(f"name must not be a split's, got {self.name!r}; choose another")
        if (self.source is None) == (self.problems_of is None):
            raise ValueError("a suite must have a source, or problems_of, and not both")
        if not self.greedy and self.pass_at_k is None:
            raise ValueError("a suite without greedy must have pass_at_k: it draws nothing")
        return self


class EvaluationConfig(Section):
    """What every policy is asked besides the E-step's samples; iteration 0 is the base model."""

    pass_at_k: Decoding | None = None
    """Extra draws on `test` for pass@k and maj@k (the paper: temperature 1, top-p 0.95)."""
    k: tuple[int, ...] = (1, 8)
    """The k of pass@k and maj@k; those above the number of samples drawn are left out."""
    final_train_samples: int = Field(0, ge=0)
    """Draws a training problem from the last policy, for its train-test gap (it has no E-step)."""
    num_bootstrap: int = Field(1000, ge=100)
    suites: tuple[SuiteConfig, ...] = ()
    """Transfer suites, asked and judged in the same loop."""

    @model_validator(mode="after")
    def _distinct_suites(self) -> Self:
        names = [suite.name for suite in self.suites]
        with_source = {"test", *(suite.name for suite in self.suites if suite.source)}
        for suite in self.suites:
            if names.count(suite.name) > 1:
                raise ValueError(f"suites must have different names, {suite.name!r} is there twice")
            if suite.problems_of and suite.problems_of not in with_source:
                raise ValueError(
                    f"suites: problems_of must be test or a suite with a source, "
                    f"got {suite.problems_of!r}"
                )
        return self


class EngineConfig(Section):
    """The inference engine. Decides speed, not rows."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: bfloat16 where the processor or GPU computes it natively, else float32."""
    replicas: int = Field(1, ge=1)
    tensor_parallel: int = Field(1, ge=1)
    max_num_seqs: int = Field(256, ge=1)
    block_size: int | None = None
    """KV cache block, in tokens; null: 32 on a CPU, the engine's own choice elsewhere."""
    kv_cache_gib: float = Field(2.0, gt=0)
    """KV cache on a CPU; a GPU uses gpu_memory_utilization."""
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    chunk_prompts: int = Field(32, ge=1)
    """Prompts with an engine at once, committed in two halves: what is drawn again after a kill."""
    max_restarts: int = Field(2, ge=0)
    """Times a dead engine is started again before the run stops."""
    extra: dict[str, Any] = {}
    """Further arguments of vLLM's engine, passed on as they are."""

    @property
    def prompts_per_commit(self) -> int:
        """Prompts whose samples are one file: half a chunk, the other half is with the engine."""
        return max(1, self.chunk_prompts // 2)


class TrainingConfig(Section):
    """Where the M-step runs. Decides speed, not the result (to rounding)."""

    launcher: Literal["torchrun", "ray"] = "torchrun"
    num_workers: int = Field(1, ge=1)
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of matrix products (weights and optimizer stay float32)."""
    rows_per_pass: int = Field(16, ge=1)
    """Rows a worker computes at once; a batch is several passes."""


class LakeConfig(Section):
    """Where the tables are."""

    uri: str = "restem-data/lake"
    """Folder or object store (s3://, gs://, abfs://)."""
    storage_options: dict[str, str] = {}
    """delta-rs's storage options for an object store."""
    retention_days: int = Field(3650, ge=8)


class RayConfig(Section):
    """The Ray cluster; null address: one started here for the run."""

    address: str | None = None
    object_store_mb: int = Field(200, ge=80)
    num_cpus: int | None = Field(None, ge=1)


class SparkConfig(Section):
    """The Spark cluster: a classic master, or a Spark Connect server in `remote`."""

    master: str = "local[*]"
    remote: str | None = None
    driver_memory: str = "2g"
    shuffle_partitions: int | None = Field(None, ge=1)
    """null: 2 on a local master, Spark's default elsewhere."""
    conf: dict[str, str] = {}


class MLflowConfig(Section):
    """The tracking server; the default is a file beside the lake."""

    enabled: bool = True
    tracking_uri: str = "sqlite:///restem-data/mlflow.db"
    experiment: str = "restem"


class GateConfig(Section):
    """Where expectations run."""

    max_pandas_rows: int = Field(200_000, ge=0)
    """Larger tables are checked and committed by Spark, smaller ones by pandas and delta-rs."""


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
