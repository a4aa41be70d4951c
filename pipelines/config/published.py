"""The published problem sets: their ids on the hub and the number of problems per split.

These are settings' defaults, so that a run can be configured and planned without reading a set; how
a set is read is in pipelines/datasets/.
"""

from __future__ import annotations

from dataclasses import dataclass, field

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
    """A published problem set."""

    hub_id: str
    sizes: dict[str, int]
    """Split on the hub -> number of problems read from it with default options."""
    options: dict[str, object] = field(default_factory=dict)
    """Arguments of `datasets.load_dataset` that the set needs."""
    names: tuple[str, ...] = ()
    """Configurations on the hub that together are the set; empty: a single one."""
    filters: tuple[str, ...] = ()
    """Options of the source that choose among the problems."""


# On the hub APPS is a script, which the `datasets` library refuses to run. Its Parquet branch holds
# every problem twice: in all/ and by difficulty.
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
