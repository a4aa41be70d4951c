"""The lake's guarantees in an object store: the same stages, on a real S3 server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import LakeError
from pipelines.lake.commit import Committed, commit
from pipelines.lake.fence import Fence
from pipelines.lake.files import PartitionWriter
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from schemas import PROBLEMS
from tests.pipelines.lake.object_store import s3_lake, spark_conf
from tests.pipelines.lake.test_materialize import (
    Counted,
    ingest,
    one_file_a_sample,
    opened,
    problems,
)
from tests.tiny_loop import restem, write_project

CONNECTOR = os.environ.get("RESTEM_S3_JARS", "")
"""Folder with the jars of Spark's S3 connector (hadoop-aws and what it needs; see jobs/README.md)."""


@pytest.fixture
def section() -> Iterator[dict[str, Any]]:
    with s3_lake() as lake:
        yield lake


def test_stages_are_sealed_and_read_back_in_sql(section: dict[str, Any], tmp_path: Path) -> None:
    stage = Counted(problems("a", "b"))
    with opened(tmp_path, lake=section) as lake:
        first = lake.materialize(ingest(stage), 0)
    with opened(tmp_path, lake=section) as lake:
        second = lake.materialize(ingest(stage), 0)
    assert stage.calls == 1
    assert first == second
    assert second.count() == 2
    reader = LakeReader(Location.at(section["uri"], section["storage_options"]))
    assert reader.runs() == ["r"]
    asked = reader.sql("SELECT question FROM problems ORDER BY question").to_pylist()
    assert [row["question"] for row in asked] == ["a", "b"]
    assert list(tmp_path.iterdir()) == []


def test_a_killed_stream_resumes_after_its_last_commit(
    section: dict[str, Any], tmp_path: Path
) -> None:
    wanted, calls = [f"s{number}" for number in range(5)], list[str]()
    with opened(tmp_path, lake=section) as lake, pytest.raises(RuntimeError, match="killed"):
        lake.materialize(one_file_a_sample(calls, wanted, die_after=2), 0)
    with opened(tmp_path, lake=section) as lake:
        snapshot = lake.materialize(one_file_a_sample(calls, wanted), 0)
    assert calls == wanted
    assert snapshot.arrow(["sample_id"])["sample_id"].to_pylist() == wanted


def test_a_recorded_transaction_is_not_committed_again(
    section: dict[str, Any], tmp_path: Path
) -> None:
    with opened(tmp_path, lake=section) as lake:
        lake.materialize(ingest(Counted(problems("a"))), 0)
        writer = PartitionWriter(PROBLEMS, lake.location, "r", 0)
        files = [writer.write(problems("a"))]
        first = commit(writer, files, "append", ("again", 1), {}, Fence("r", 1))
        again = commit(writer, files, "append", ("again", 1), {}, Fence("r", 1))
    assert first.is_new
    assert again == Committed(first.version, is_new=False)


def test_an_unreachable_store_is_one_clear_error(tmp_path: Path) -> None:
    nowhere = {
        "uri": "s3://bucket/lake",
        "storage_options": {
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "k",
            "AWS_SECRET_ACCESS_KEY": "s",
            "max_retries": "0",
        },
    }
    with (
        pytest.raises(LakeError, match=r"lake\.uri: cannot use s3://bucket/lake"),
        opened(tmp_path, lake=nowhere),
    ):
        pass


@pytest.mark.slow
@pytest.mark.skipif(
    not CONNECTOR, reason="RESTEM_S3_JARS does not name the folder of Spark's S3 connector"
)
def test_the_whole_loop_runs_in_an_object_store(section: dict[str, Any], tmp_path: Path) -> None:
    jars = ",".join(str(jar) for jar in sorted(Path(CONNECTOR).glob("*.jar")))
    endpoint = section["storage_options"]["AWS_ENDPOINT_URL"]
    config = write_project(tmp_path, lake=section, spark={"conf": spark_conf(endpoint, jars)})
    code, printed = restem("run", str(config))
    assert code == 0, printed
    reader = LakeReader(Location.at(section["uri"], section["storage_options"]))
    sealed = reader.sql("SELECT stage FROM stages WHERE iteration = 2").to_pylist()
    assert {"curate", "improve", "generate", "score", "evaluate"} <= {r["stage"] for r in sealed}


@pytest.mark.slow
@pytest.mark.skipif(bool(CONNECTOR), reason="Spark's S3 connector is installed")
def test_spark_without_the_connector_reports_what_is_missing(
    section: dict[str, Any], tmp_path: Path
) -> None:
    code, printed = restem("run", str(write_project(tmp_path, lake=section)), timeout=120)
    assert code == 2, printed
    assert "Spark cannot reach s3://" in printed
    assert "spark.conf" in printed
    assert "Traceback" not in printed
