from __future__ import annotations

import json

from pipelines.config import (
    LakeConfig,
    MLflowConfig,
    ProblemsConfig,
    RunConfig,
    SourceConfig,
    SparkConfig,
)
from pipelines.config.redact import redacted, redacted_for_tracker

RUN = RunConfig(
    name="demo",
    problems=ProblemsConfig(sources=(SourceConfig(kind="jsonl", location="x.jsonl"),)),
    mlflow=MLflowConfig(tracking_uri="http://me:password@host"),
    lake=LakeConfig(storage_options={"AWS_SECRET_ACCESS_KEY": "hidden"}),
    spark=SparkConfig(conf={"spark.hadoop.fs.s3a.secret.key": "hidden"}),
)


def test_the_tracker_gets_no_keys_or_passwords() -> None:
    text = json.dumps(redacted_for_tracker(RUN))
    assert "AWS_SECRET_ACCESS_KEY" in text
    assert "spark.hadoop.fs.s3a.secret.key" in text
    assert "hidden" not in text
    assert "password" not in text


def test_redacted_settings_hold_no_keys_and_can_be_read_again() -> None:
    text = json.dumps(redacted(RUN))
    assert "hidden" not in text
    stored = RunConfig.model_validate_json(text)
    assert stored.pinned() == RUN.pinned()
    assert stored.mlflow == RUN.mlflow
    assert stored.lake.storage_options == {"AWS_SECRET_ACCESS_KEY": "***"}
