"""Section `problems`: where problems come from, and how they are split."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_serializer, model_validator

from pipelines.config.published import PUBLISHED
from pipelines.config.secret import (
    Address,
    clean,
    hide,
    leaves,
    refuse_credentials,
    without_credentials,
)
from pipelines.config.section import Section

OWN_CODE = ("generator", "reasoning_gym")
"""Kinds whose options are arguments of a function, which all decide rows."""
_STORED_OPTIONS = frozenset(
    (
        # hub
        "name", "revision", "split", "data_dir", "data_files", "features", "streaming",
        "trust_remote_code", "verification_mode", "column_names", "field", "sep",
        # csv and jsonl
        "delimiter", "dialect", "doublequote", "encoding", "escapechar", "lineterminator",
        "quotechar", "quoting", "skipinitialspace", "strict",
        # delta
        "version",
    )
)  # fmt: skip
"""Options of readers that decide rows. Others (keys, endpoints) are neither stored nor pinned."""


_FILE_KINDS = ("jsonl", "csv", "parquet", "delta")
_FILE_ENDINGS = (".jsonl", ".json", ".csv", ".parquet", ".gz")


def names_a_file(kind: object, location: str) -> bool:
    """Whether a source's location is a path or a URI, and not a hub id or a function."""
    return kind in _FILE_KINDS or location.lower().endswith(_FILE_ENDINGS)


class SourceConfig(Section):
    """Where problems come from, and the names of their fields."""

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
    location: Address = ""
    """generator: `module:function`; reasoning_gym: task name; hub: data set id; else a path or URI.

    A published set: a hub id (default: the set's own) or a file. A relative path starts in the
    configuration file's folder. `${NAME}` is replaced by that environment variable when the source is
    read.
    """
    options: dict[str, Any] = {}
    """Keyword arguments of the reader.

    generator and reasoning_gym: those of the function or task; hub: those of
    `datasets.load_dataset` (`name`, `revision`, ...); csv: `encoding` and those of `csv.reader`
    (`delimiter`, ...); delta: `version` and storage options; a published set: the hub's, and its own
    (`levels`, `difficulties`, ...). Keys, tokens and storage options are not stored, and may change
    when a run is resumed.
    """
    content: str | None = None
    """Hash of the files at the location, filled in when a run starts.

    The run is pinned to it instead of to the location, so that the files may be moved.
    """
    dataset: str | None = None
    """Name of the set in `problems.dataset`; default: a published set's kind, else the location.

    Problems of a set with a name have ids of their own: the same question in two sets with different
    names is two problems.
    """
    max_problems: int | None = Field(None, ge=1)
    """Maximum number of problems kept, chosen by hash; null: all."""
    split: str | None = None
    """Split of all problems of the source; from the hub, also the split that is read."""
    question_field: str = "question"
    reference_field: str = "answer"
    """Field of the correct answer or the tests that the reward compares a solution with."""
    solution_field: str | None = None
    """Field of a solution written by a person; null: there is none."""
    split_field: str | None = None
    """Field of each problem's split. Without it and `split`, problems are split by hash."""

    @model_validator(mode="before")
    @classmethod
    def _usual_location(cls, data: object) -> object:
        """A published set is read from its hub id if no location is given."""
        if isinstance(data, dict) and data.get("kind") in PUBLISHED and not data.get("location"):
            return {**data, "location": PUBLISHED[data["kind"]].hub_id}
        return data

    @model_validator(mode="after")
    def _has_a_location(self) -> Self:
        if not self.location:
            raise ValueError(f"location is required for kind {self.kind}; add it")
        if self.kind in OWN_CODE:
            refuse_credentials("options", self.options)
        return self

    @field_serializer("options", when_used="json")
    def _stored_options(self, options: dict[str, Any]) -> object:
        if self.kind in OWN_CODE:
            return clean(options)
        filters = PUBLISHED[self.kind].filters if self.kind in PUBLISHED else ()
        stored = _STORED_OPTIONS.union(filters)
        return clean({name: value for name, value in options.items() if name in stored})

    def hide(self, message: str) -> str:
        """A message about the source without its credentials."""
        stored = self.model_dump(mode="json")
        message = hide(message, self.location, stored["location"])
        return hide(message, " ".join(leaves(self.options)), " ".join(leaves(stored["options"])))

    @property
    def name(self) -> str:
        """The name in `problems.dataset`, the same wherever a published set is read from."""
        return self.identity or without_credentials(self.location)

    @property
    def identity(self) -> str:
        """What, besides its question, makes a problem of the source the one that it is.

        Empty if the set has no name: where it is read from does not matter.
        """
        return self.dataset or (self.kind if self.kind in PUBLISHED else "")


class ContaminationConfig(Section):
    """Limits on text that evaluation problems share with training problems."""

    words: int = Field(13, ge=8)
    """Length of a shared n-gram, in words, that makes a problem contaminated (GPT-3: 13)."""
    max_share: float = Field(0.01, ge=0, le=1)
    """Maximum share of contaminated problems per suite without a warning."""
    exact: Literal["critical", "warning"] = "critical"
    """Severity of an evaluation problem with the text of a training problem.

    critical stops the run.
    """


class ProblemsConfig(Section):
    """The training problems D, the validation problems D_val and the test problems."""

    first_stage = "ingest"
    first_stage_of = {"contamination": "contamination"}

    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    num_validation: int = Field(0, ge=0)
    """Number of D_val problems chosen by hash from the problems without a split."""
    num_test: int = Field(0, ge=0)
    """Number of test problems chosen by hash from the problems without a split."""
    max_train: int | None = Field(None, ge=1)
    """Maximum number of training problems kept, chosen by hash; null: all."""
    contamination: ContaminationConfig | None = None
    """Make the table `contamination`: evaluation problems that share text with training problems.

    null: not made. The stage takes seconds.
    """
    refused: Literal["stop", "drop"] = "stop"
    """What to do with a problem whose own answer fails its verifier: no solution of it could pass.

    The own answer is the reference, or for tests any of the first ten human solutions. stop: the run
    stops, and names them. drop: they are left out before the splits are made, and stay in the table
    `problems` with the split `refused` and the reason.
    """
    duplicates: Literal["refuse", "first"] = "refuse"
    """What to do if a question occurs more than once (white space and case aside).

    refuse: stop, and name the rows. first: keep one, preferably in test, then in a suite, then in
    validation, then in training, so that nothing held out is trained on; within one of these the
    first by source and row.
    """
