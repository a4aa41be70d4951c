"""The model card and the data card: what was exported, how it was made, and how well it does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.config import RunConfig
from pipelines.config.flatten import flat_texts
from pipelines.results.export.data import SAMPLES, TRAINING_SET, FileFormat
from pipelines.results.export.policy import ChosenPolicy
from pipelines.results.figures import is_share
from pipelines.results.markdown import code_block, in_markdown, markdown_table
from pipelines.results.overview import RunOverview

if TYPE_CHECKING:
    from pipelines.lake.query_results import Row

PAPER = (
    '"Beyond Human Data: Scaling Self-Training for Problem-Solving with Language Models" '
    "(arXiv:2312.06585)"
)
_SETTINGS = ("sampling", "reward", "curate", "improve", "training")
"""Sections of the settings that say how the policy was made."""
_VERDICT_COLUMNS = {
    "verdict": "the verifier's verdict: correct, or why not",
    "extracted": "the answer that the verifier found in the solution",
    "weight": "the row's factor in the loss",
    "selection_rank": "the sample's place in its problem's seeded order",
    "sampled_from": "the policy that drew the solution",
    "trained_policy_id": "the policy that was trained on the row",
    "kept": "whether the sample is in the training set; null: it was drawn for an evaluation",
    "selection_reason": "kept, or the first rule against the sample",
    "stop_string": "the solution's end, which is not part of it; null: the end-of-text token",
}


@dataclass(frozen=True)
class Exported:
    """What was taken out of a lake."""

    config: RunConfig
    found: RunOverview
    policy: ChosenPolicy
    prompt: str | None
    """A prompt as the policy was asked it."""
    num_training_rows: int
    num_samples: int | None
    """None: no samples were asked for."""
    form: FileFormat

    @property
    def title(self) -> str:
        """Run and iteration."""
        return f"{self.config.name}, iteration {self.policy.iteration}"


def model_card(made: Exported) -> str:
    """README.md of the policy's folder."""
    row, config = made.policy.row, made.config
    origin = "The base model itself." if row["started_from"] is None else _training(made)
    settings = flat_texts(config.stored())
    shown = [
        {"setting": name, "value": value}
        for name, value in settings.items()
        if name.partition(".")[0] in _SETTINGS
    ]
    prompt = [] if made.prompt is None else ["## Prompt", _PROMPT, code_block(made.prompt)]
    return _joined(
        _front_matter(_model_metadata(made)),
        f"# {made.title}",
        f"Trained with restem by the method {config.method}, on the loop of ReST-EM, {PAPER}.",
        markdown_table(
            [
                {"policy": "base model", "value": config.model.base_model},
                {"policy": "iteration", "value": f"{made.policy.iteration} ({made.policy.why})"},
                {"policy": "hash of the weights", "value": row["policy_id"]},
                {
                    "policy": "run",
                    "value": f"{config.name}, restem {made.found.about['code_version']}",
                },
            ]
        ),
        origin,
        "## Use",
        code_block(
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            'model = AutoModelForCausalLM.from_pretrained("FOLDER")\n'
            'tokenizer = AutoTokenizer.from_pretrained("FOLDER")'
        ),
        *prompt,
        "## Results",
        in_markdown(made.found.report) or "The policy is not evaluated yet.",
        "## Data",
        markdown_table(_sources(config)),
        "Versions of the lake's tables:",
        markdown_table(_versions(made.found.stages, made.policy.iteration)),
        "## Settings",
        markdown_table(shown),
        "All settings are in `restem.json`.",
        "## Limits",
        "Solutions were verified by their final answers (or tests) alone, so their reasoning may be "
        "wrong. The licences of the base model and of the problems apply.",
    )


def data_card(made: Exported) -> str:
    """README.md of the data's folder, which names its parts for the `datasets` library."""
    configs = []
    if made.num_training_rows:
        configs.append(_data_config(TRAINING_SET, made.form))
    if made.num_samples is not None:
        configs.append(_data_config(SAMPLES, made.form))
    lines = [f"# Data of {made.title}", f"Made by ReST-EM, {PAPER}, with restem."]
    if made.num_training_rows:
        lines += [
            f"## `{TRAINING_SET}`: {made.num_training_rows:,} rows",
            f"D_{made.policy.iteration}, on which the policy was trained: one row per prompt and "
            "solution. The loss is on the solution's tokens and its end, times `weight`.",
        ]
    if made.num_samples is not None:
        lines += [
            f"## `{SAMPLES}`: {made.num_samples:,} rows",
            "Every solution drawn in the run, of all iterations and problems, with its verdict. Those "
            "of test problems and suites are among them (`purpose`): leave them out of training.",
        ]
    meanings = [{"column": name, "meaning": text} for name, text in _VERDICT_COLUMNS.items()]
    verifier = f"Verdicts are those of the reward `{made.config.reward.function}`."
    return _joined(
        _front_matter({"configs": configs, "tags": ["restem", "rest-em"]}),
        *lines,
        "## Columns",
        f"{verifier} A verdict looks at the final answer or the program, not at the reasoning.",
        markdown_table(meanings),
        "## Sources",
        markdown_table(_sources(made.config)),
        "Their licences apply. Versions of the lake's tables:",
        markdown_table(_versions(made.found.stages, made.policy.iteration)),
    )


def provenance(made: Exported) -> dict[str, Any]:
    """What `restem.json` says: where the policy comes from, and all settings."""
    return {
        "run": made.config.name,
        "iteration": made.policy.iteration,
        "chosen": made.policy.why,
        "policy_id": made.policy.row["policy_id"],
        "started_from": made.policy.row["started_from"],
        "training_set_version": made.policy.row["training_set_version"],
        "config_hash": made.found.about["config_hash"],
        "code_version": made.found.about["code_version"],
        "tables": _versions(made.found.stages, made.policy.iteration),
        "evaluations": [
            {name: row[name] for name in ("suite", "metric", "value", "ci_low", "ci_high", "n")}
            for row in made.found.evaluations
            if row["iteration"] == made.policy.iteration
        ],
        "settings": made.config.stored(),
    }


_PROMPT = (
    "The policy was trained and evaluated with a few-shot prompt and answers it best as it was "
    "asked. One of its prompts:"
)


def _training(made: Exported) -> str:
    row = made.policy.row
    reward = row["validation_reward"]
    on_validation = "" if reward is None else f", D_val reward {reward:.3f}"
    return (
        f"Fine-tuned from policy {row['started_from']} on {made.num_training_rows:,} solutions "
        f"(training_set version {row['training_set_version']}); epoch {row['epoch']} of {row['num_epochs']} was kept{on_validation}."
    )


def _model_metadata(made: Exported) -> dict[str, Any]:
    name = made.config.model.base_model
    is_hub_id = name.count("/") == 1 and not name.startswith((".", "/", "~", "embedded:"))
    metadata: dict[str, Any] = {"base_model": name} if is_hub_id else {}
    metadata |= {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["restem", "rest-em", "self-training"],
    }
    results = [
        {
            "task": {"type": "text-generation"},
            "dataset": {"type": row["suite"], "name": f"{row['suite']} problems of the run"},
            "metrics": [{"type": row["metric"], "value": round(row["value"], 4)}],
        }
        for row in made.found.evaluations
        if row["iteration"] == made.policy.iteration and is_share(row["metric"])
    ]
    if results:
        metadata["model-index"] = [{"name": made.title, "results": results}]
    return metadata


def _data_config(name: str, form: FileFormat) -> dict[str, Any]:
    split = "train" if name == TRAINING_SET else "drawn"
    files = [{"split": split, "path": f"{name}/*.{form}"}]
    return {"config_name": name, "data_files": files}


def _sources(config: RunConfig) -> list[Mapping[str, str | None]]:
    stored = config.stored()
    sources = [("problems", source) for source in stored["problems"]["sources"]]
    sources += [
        (f"suite {suite['name']}", suite["source"])
        for suite in stored["evaluation"]["suites"]
        if suite["source"]
    ]
    return [
        {"used as": used, "kind": source["kind"], "location": source.get("location")}
        for used, source in sources
    ]


def _versions(stages: Sequence[Row], iteration: int) -> list[Mapping[str, str | None]]:
    """The versions of the tables that the policy was made from, and of its own."""
    last = {(row["table_name"], row["iteration"]): row for row in stages}
    return [
        {
            "table": f"{table}, iteration {i}",
            "version": str(row["version"]),
            "rows": str(row["rows"]),
        }
        for (table, i), row in last.items()
        if i <= iteration
    ]


def _front_matter(metadata: Mapping[str, Any]) -> str:
    # JSON is YAML, and no text in it can end the block.
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in metadata.items()]
    return "\n".join(["---", *lines, "---"])


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
