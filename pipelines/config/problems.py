"""Where problems come from, and how they are split."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pipelines.config.published import PUBLISHED
from pipelines.config.section import Section


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
