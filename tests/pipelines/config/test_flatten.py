"""What of a configuration is told to others."""

from __future__ import annotations

import json

from pipelines.config import LakeConfig, MLflowConfig, ProblemsConfig, RunConfig, SourceConfig
from pipelines.config.flatten import flattened, without_secrets


def test_settings_become_flat_parameters() -> None:
    tree = {"a": {"b": 1, "c": {"d": None}}, "list": [{"x": 1}], "text": "word", "empty": {}}
    assert flattened(tree) == {
        "a.b": "1",
        "a.c.d": "null",
        "list": '[{"x": 1}]',
        "text": "word",
        "empty": "{}",
    }


def test_keys_and_passwords_are_not_told() -> None:
    run = RunConfig(
        name="demo",
        problems=ProblemsConfig(sources=(SourceConfig(kind="jsonl", location="x.jsonl"),)),
        mlflow=MLflowConfig(tracking_uri="http://me:hidden@host"),
        lake=LakeConfig(storage_options={"AWS_SECRET_ACCESS_KEY": "hidden"}),
    )
    text = json.dumps(without_secrets(run))
    assert "AWS_SECRET_ACCESS_KEY" in text
    assert "hidden" not in text
