"""Export a run's policy and data, and say what was written."""

from __future__ import annotations

import re
from pathlib import Path

from jobs.show.console import console
from pipelines.config.secret import without_credentials
from pipelines.errors import ConfigError
from pipelines.lake.reader import LakeReader
from pipelines.lake.stored_run import stored_config
from pipelines.results.export.data import FileFormat
from pipelines.results.export.folder import DATA, POLICY, write_export
from pipelines.results.export.policy import choose_policy
from pipelines.results.overview import overview
from pipelines.runs.steps import timed_stages
from pipelines.runs.tracking import register_policy

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,99}")


def export_policy(
    reader: LakeReader,
    run: str,
    output: Path,
    iteration: int | None,
    form: str,
    *,
    best: bool,
    samples: bool,
    register: str | None,
) -> None:
    """Write the folder, register the policy if asked, and print what is where.

    Args:
        reader: the lake.
        run: the run.
        output: the new folder.
        iteration: whose policy; the last if None.
        form: `parquet` or `jsonl`.
        best: take the best policy on D_val.
        samples: write all samples, too.
        register: name in MLflow's model registry; None: it is not registered.

    Raises:
        RestEMError: the lake lacks the policy, the folder exists, or MLflow cannot be used.
    """
    config = stored_config(reader, run)
    if register is not None and not _MODEL_NAME.fullmatch(register):
        raise ConfigError(
            f"--register must be letters, digits, spaces, '.', '_' and '-', got {register!r}"
        )
    found = overview(reader, config, timed_stages(config))
    mlflow_run = found.about["mlflow_run_id"]
    if register is not None and mlflow_run is None:
        raise ConfigError(
            f"--register: run {run!r} is not in MLflow (mlflow.enabled was false); export it without"
        )
    policy = choose_policy(reader, run, iteration, best=best)
    made = write_export(reader, config, found, policy, output, FileFormat(form), samples=samples)
    out = console()
    out.print(f"policy {policy.row['policy_id']}, iteration {policy.iteration} ({policy.why})")
    out.print(f"  {output / POLICY}  the model, its tokenizer and its card")
    if made.num_training_rows:
        out.print(f"  {output / DATA}  {made.num_training_rows:,} training rows")
    if made.num_samples is not None:
        out.print(f"  {output / DATA}  {made.num_samples:,} samples with their verdicts")
    if register is not None:
        tags = {
            "run": run,
            "iteration": str(policy.iteration),
            "policy_id": policy.row["policy_id"],
        }
        where = without_credentials(config.mlflow.tracking_uri)
        version = register_policy(config, mlflow_run, output / POLICY, register, tags)
        out.print(f"  models:/{register}/{version}  in {where}")
