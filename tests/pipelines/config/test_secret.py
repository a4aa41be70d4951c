from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.config import (
    EngineConfig,
    LakeConfig,
    MLflowConfig,
    ProblemsConfig,
    RewardConfig,
    RunConfig,
    SourceConfig,
    SparkConfig,
)
from pipelines.config.evaluation import EvaluationConfig, SuiteConfig
from pipelines.config.load import explain_validation
from pipelines.config.secret import revealed, without_credentials

PLANTED = "planted-4f1c"


def run(planted: str = PLANTED) -> RunConfig:
    """A run with a credential wherever one can be given."""
    delta = SourceConfig(
        kind="delta",
        location=f"s3://key:{planted}@bucket/problems?secret_key={planted}",
        options={"version": 3, "AWS_SECRET_ACCESS_KEY": planted, "AWS_SESSION_TOKEN": planted},
    )
    hub = SourceConfig(
        kind="hub",
        location="someone/problems",
        options={
            "name": "main",
            "token": planted,
            "storage_options": {"key": planted},
            "data_files": [f"https://me:{planted}@host/a.jsonl?sig={planted}"],
        },
    )
    return RunConfig(
        name="demo",
        problems=ProblemsConfig(sources=(delta, hub)),
        evaluation=EvaluationConfig(suites=(SuiteConfig(name="other", source=delta),)),
        mlflow=MLflowConfig(tracking_uri=f"http://me:{planted}@host:5000"),
        lake=LakeConfig.model_validate({"storage_options": {"AWS_SECRET_ACCESS_KEY": planted}}),
        spark=SparkConfig.model_validate(
            {
                "remote": f"sc://host:15002/;use_ssl=true;token={planted};user_id={planted}",
                "conf": {"spark.hadoop.fs.s3a.secret.key": planted},
            }
        ),
    )


def test_the_stored_settings_hold_no_credentials_and_can_be_read_again() -> None:
    text = json.dumps(run().stored())
    assert PLANTED not in text
    assert "AWS_SECRET_ACCESS_KEY" in text
    assert "spark.hadoop.fs.s3a.secret.key" in text
    stored = RunConfig.model_validate_json(text)
    assert stored.pinned() == run().pinned()
    assert stored.mlflow.tracking_uri == "http://host:5000"
    assert stored.spark.remote == "sc://host:15002/;use_ssl=true"
    assert [source.location for source in stored.problems.sources] == [
        "s3://bucket/problems",
        "someone/problems",
    ]
    assert stored.problems.sources[1].options == {
        "name": "main",
        "data_files": ["https://host/a.jsonl"],
    }


def test_the_run_itself_keeps_its_credentials() -> None:
    config = run()
    assert revealed(config.lake.storage_options) == {"AWS_SECRET_ACCESS_KEY": PLANTED}
    assert PLANTED in config.mlflow.tracking_uri
    assert config.problems.sources[0].options["AWS_SESSION_TOKEN"] == PLANTED


def test_rotated_credentials_change_nothing_that_is_pinned() -> None:
    old, new = run("old"), run("new")
    assert old.pinned() == new.pinned()
    assert old.config_hash() == new.config_hash()
    assert [s.name for s in old.problems.sources] == [s.name for s in new.problems.sources]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("sqlite:///restem-data/mlflow.db", "sqlite:///restem-data/mlflow.db"),
        ("sqlite:////a@b/mlflow.db", "sqlite:////a@b/mlflow.db"),
        ("postgresql://me:p%40ss@db:5432/mlflow?sslmode=require", "postgresql://db:5432/mlflow"),
        ("https://ghp_token@host/path", "https://host/path"),
        ("https://me:pass/word@host/path", "https://host/path"),
        ("https://host/file?sig=abc&se=2026", "https://host/file"),
        ("https://[::1]:5000/path", "https://[::1]:5000/path"),
        ("s3://bucket/a@b/c", "s3://bucket/a@b/c"),
        ("abfss://container@account.dfs.core.windows.net/x", "abfss://container@account.dfs.core.windows.net/x"),
        ("abfss://container:key@account/x", "abfss://account/x"),
        ("sc://host:15002/;token=abc", "sc://host:15002"),
        ("sc://host/", "sc://host"),
        ("openai/gsm8k", "openai/gsm8k"),
        ("${DATA}/a?b@c.jsonl", "${DATA}/a?b@c.jsonl"),
        ("module:function", "module:function"),
    ],
)  # fmt: skip
def test_an_address_is_shown_without_credentials(address: str, shown: str) -> None:
    assert without_credentials(address) == shown
    assert without_credentials(shown) == shown


def engine(arguments: dict[str, Any]) -> object:
    return EngineConfig(extra=arguments)


def reward(arguments: dict[str, Any]) -> object:
    return RewardConfig(function="python:mine:judge", options=arguments)


def generator(arguments: dict[str, Any]) -> object:
    return SourceConfig(kind="generator", location="mine:problems", options=arguments)


@pytest.mark.parametrize("section", [engine, reward, generator])
@pytest.mark.parametrize(
    "name", ["hf_token", "api_key", "apiKey", "AWS_SECRET_ACCESS_KEY", "password", "privateKey"]
)
def test_arguments_that_are_stored_whole_may_not_be_credentials(section: Any, name: str) -> None:
    for arguments in ({name: PLANTED}, {"client": [{name: PLANTED}]}):
        with pytest.raises(ValidationError) as raised:
            section(arguments)
        message = explain_validation(raised.value, "run.yaml")
        assert f"must not hold credentials, got {name!r}" in message
        assert "environment variable" in message
        assert PLANTED not in message


@pytest.mark.parametrize("section", [engine, reward, generator])
def test_other_arguments_are_stored_and_pinned(section: Any) -> None:
    arguments = {
        "max_num_batched_tokens": 512,
        "tokenizer_mode": "slow",
        "key": "answer",
        "quantization": "fp8",
        "secretary": 1,
    }
    made = section(arguments).model_dump(mode="json")
    assert arguments in made.values()


def test_a_lakes_address_may_not_hold_credentials() -> None:
    for uri in (f"s3://key:{PLANTED}@bucket/lake", f"s3://bucket/lake?secret={PLANTED}"):
        with pytest.raises(ValidationError) as raised:
            LakeConfig(uri=uri)
        message = explain_validation(raised.value, "run.yaml")
        assert "lake.storage_options" in message
        assert PLANTED not in message


@pytest.mark.parametrize(
    "tree",
    [
        {"mlflow": f"http://me:{PLANTED}@host"},
        {"mlflow": [PLANTED]},
        {"lake": {"storage_options": PLANTED}},
        {"lake": {"storage_options": {"KEY": [PLANTED]}}},
        {"lake": {"storage_options": {"KEY": {"nested": PLANTED}}}},
        {"spark": {"conf": [PLANTED]}},
        {"spark": {"remote": [PLANTED]}},
        {"spark": {"shuffle_partitions": f"http://me:{PLANTED}@host"}},
        {"engine": {"extra": PLANTED}},
        {"problems": {"sources": PLANTED}},
        {"problems": {"sources": [{"kind": "hub", "location": "a", "options": PLANTED}]}},
    ],
)
def test_a_broken_rule_does_not_print_what_may_be_a_credential(tree: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        RunConfig.model_validate({"name": "demo", "problems": {"sources": []}} | tree)
    message = explain_validation(raised.value, "run.yaml")
    assert PLANTED not in message
    assert "must be" in message


def test_no_form_of_a_section_shows_its_secrets() -> None:
    config = run()
    for shown in (repr(config.lake), str(config.lake), repr(config.spark.conf)):
        assert PLANTED not in shown


def test_a_librarys_message_is_printed_without_the_sources_credentials() -> None:
    source = run().problems.sources[0]
    message = (
        f"s3://key:{PLANTED}@bucket/problems?secret_key={PLANTED}: refused (key {PLANTED}, "
        "bucket/problems)"
    )
    hidden = source.hide(message)
    assert PLANTED not in hidden
    assert hidden.startswith("s3://bucket/problems: refused")
    assert hidden.endswith("bucket/problems)")
