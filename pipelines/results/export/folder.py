"""A run's policy and data as a folder to take away."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.config import RunConfig
from pipelines.errors import ConfigError
from pipelines.lake.sql_text import sql_equals
from pipelines.results.export.cards import Exported, data_card, model_card, provenance
from pipelines.results.export.data import FileFormat, write_samples, write_training_set
from pipelines.results.export.policy import ChosenPolicy, checkpoint_of
from pipelines.results.overview import RunOverview
from pipelines.runtime.cache import atomic_folder
from schemas.prompts import GREEDY

if TYPE_CHECKING:
    from pipelines.lake.reader import LakeReader

POLICY = "policy"
DATA = "data"
CARD = "README.md"
_NOT_COPIED = (".git", ".cache", "README.md", "files.json")
"""Of a checkpoint's folder: what is not the model's, or is written anew."""


def write_export(
    reader: LakeReader,
    config: RunConfig,
    found: RunOverview,
    policy: ChosenPolicy,
    output: Path,
    form: FileFormat,
    *,
    samples: bool,
) -> Exported:
    """Write `policy` and `data` into a new folder, which appears whole.

    Args:
        reader: the lake.
        config: the run.
        found: its overview.
        policy: the policy to take.
        output: the new folder.
        form: of the data's files.
        samples: whether all samples of the run are written, besides the policy's training set.

    Raises:
        ConfigError: the folder exists.
        LakeError: the checkpoint is not on this machine.
    """
    if output.exists():
        raise ConfigError(f"--output must be a new folder, got {str(output)!r}; name another")
    checkpoint = checkpoint_of(policy, config)
    with atomic_folder(output) as folder:
        shutil.copytree(
            checkpoint,
            folder / POLICY,
            ignore=shutil.ignore_patterns(*_NOT_COPIED),
            copy_function=shutil.copyfile,  # the hub's cache holds links to its files
        )
        data = folder / DATA
        rows = 0
        if policy.iteration:
            rows = write_training_set(reader, config.name, policy.iteration, data, form)
        drawn = write_samples(reader, config.name, data, form) if samples else None
        made = Exported(config, found, policy, _prompt(reader, config, policy), rows, drawn, form)
        if data.exists():
            (data / CARD).write_text(data_card(made), encoding="utf-8")
        (folder / POLICY / CARD).write_text(model_card(made), encoding="utf-8")
        text = json.dumps(provenance(made), indent=2, ensure_ascii=False)
        (folder / POLICY / "restem.json").write_text(text + "\n", encoding="utf-8")
        folder.chmod(0o755)  # as any new folder: a temporary one is the user's alone
    return made


def _prompt(reader: LakeReader, config: RunConfig, policy: ChosenPolicy) -> str | None:
    where = sql_equals(iteration=policy.iteration, decoding=GREEDY)
    query = f"SELECT text FROM prompts WHERE {where} ORDER BY purpose DESC, prompt_id LIMIT 1"
    rows = reader.rows(query, config.name)
    return rows[0]["text"] if rows else None
