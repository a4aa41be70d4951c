"""The published problem sets: where the hub has them, and how many problems a split has.

Facts alone, so that a configuration can be read and planned without any of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MATH_SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
BBH_FILES = (
    "boolean_expressions",
    "causal_judgement",
    "date_understanding",
    "disambiguation_qa",
    "dyck_languages",
    "formal_fallacies",
    "geometric_shapes",
    "hyperbaton",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "logical_deduction_three_objects",
    "movie_recommendation",
    "multistep_arithmetic_two",
    "navigate",
    "object_counting",
    "penguins_in_a_table",
    "reasoning_about_colored_objects",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "sports_understanding",
    "temporal_sequences",
    "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects",
    "tracking_shuffled_objects_three_objects",
    "web_of_lies",
    "word_sorting",
)


@dataclass(frozen=True)
class Published:
    """A problem set that others published."""

    hub_id: str
    sizes: dict[str, int]
    """The hub's split -> problems read from it, nothing else being asked for."""
    options: dict[str, Any] = field(default_factory=dict)
    """Arguments of `datasets.load_dataset` that this set needs."""
    names: tuple[str, ...] = ()
    """The hub's configurations that make up the set, where it is several."""
    filters: tuple[str, ...] = ()
    """Options of the source that leave problems out."""


# APPS on the hub is a loading script, which `datasets` runs no more; its Parquet branch holds every
# problem twice (by difficulty, and in all/).
_APPS_FILES = {split: f"all/{split}/*.parquet" for split in ("train", "test")}

PUBLISHED: dict[str, Published] = {
    "apps": Published(
        "codeparrot/apps",
        {"train": 2342, "test": 1000},
        {"revision": "refs/convert/parquet", "data_files": _APPS_FILES},
        filters=("difficulties",),
    ),
    "bbh": Published("SaylorTwift/bbh", {"test": 6511}, names=BBH_FILES, filters=("files",)),
    "codecontests": Published(
        "deepmind/code_contests", {"train": 13328, "valid": 117, "test": 165}
    ),
    "gsm8k": Published("openai/gsm8k", {"train": 7473, "test": 1319}, {"name": "main"}),
    "humaneval": Published("openai/openai_humaneval", {"test": 164}),
    "hungarian_exam": Published("keirp/hungarian_national_hs_finals_exam", {"test": 33}),
    "math": Published(
        "EleutherAI/hendrycks_math",
        {"train": 7498, "test": 5000},
        names=MATH_SUBJECTS,
        filters=("levels", "subjects"),
    ),
    "math500": Published("HuggingFaceH4/MATH-500", {"test": 500}, filters=("levels", "subjects")),
    "mbpp": Published(
        "google-research-datasets/mbpp",
        {"train": 374, "validation": 90, "test": 500, "prompt": 10},
        {"name": "full"},
        filters=("task_ids",),
    ),
}
