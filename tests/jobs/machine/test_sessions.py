from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobs.machine.sessions import Sessions, ray_session, spark_conf, spark_session
from pipelines.config import RayConfig, RunConfig, SparkConfig
from pipelines.errors import MachineError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_settings_of_spark_conf_replace_ours() -> None:
    conf = spark_conf(SparkConfig(conf={"spark.ui.enabled": "true"}, shuffle_partitions=7))
    assert conf["spark.ui.enabled"] == "true"
    assert conf["spark.sql.shuffle.partitions"] == "7"
    assert "delta-spark" in conf["spark.driver.extraClassPath"]


def test_a_cluster_gets_the_jars_and_its_own_shuffle_partitions() -> None:
    conf = spark_conf(SparkConfig(master="spark://host:7077"))
    assert "delta-spark" in conf["spark.jars"]
    assert "spark.sql.shuffle.partitions" not in conf


def test_under_spark_submit_master_memory_and_jars_are_left_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    assert (
        not {"spark.master", "spark.driver.memory", "spark.jars"} & spark_conf(SparkConfig()).keys()
    )


def test_missing_delta_jars_are_reported_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTEM_CACHE", str(tmp_path))
    with pytest.raises(MachineError, match="run 'make setup'"):
        spark_conf(SparkConfig())


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (SparkConfig(master="spark://127.0.0.1:9"), "spark.master"),
        (SparkConfig(remote="sc://127.0.0.1:9/;token=planted"), "spark.remote"),
    ],
)
def test_an_unreachable_spark_cluster_is_reported_at_once(
    tmp_path: Path, config: SparkConfig, field: str
) -> None:
    with pytest.raises(MachineError, match=f"{field}: nothing answers at") as raised:
        spark_session(config, tmp_path)
    assert "planted" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_ray_cluster_is_reported_at_once() -> None:
    with (
        pytest.raises(MachineError, match=r"^ray\.address: nothing answers at"),
        ray_session(RayConfig(address="127.0.0.1:9")),
    ):
        pass


@pytest.mark.slow
def test_the_session_writes_delta_and_reads_earlier_versions(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = str(tmp_path / "table")
    for count in (1, 2):
        spark.range(count).write.format("delta").mode("append").save(path)
    assert spark.read.format("delta").load(path).count() == 3
    assert spark.read.format("delta").option("versionAsOf", 0).load(path).count() == 1


def test_ray_client_is_refused_and_the_ways_that_work_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = RayConfig(address="ray://127.0.0.1:10001")
    with pytest.raises(MachineError, match=r"got 'ray://.*`ray job submit`"), ray_session(config):
        pass
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(MachineError, match="got 'ray://head"), ray_session(RayConfig()):
        pass


@pytest.mark.slow
def test_both_sessions_open_once_print_nothing_and_leave_nothing(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from jobs.machine.sessions import Sessions
from pipelines.config import RunConfig
source = {{"kind": "jsonl", "location": "x"}}
config = RunConfig.model_validate(
    {{"name": "r", "output": {str(tmp_path)!r}, "problems": {{"sources": [source]}}}}
)
with Sessions(config) as sessions:
    assert sessions.spark() is sessions.spark()
    assert sessions.spark().range(3).count() == 3
    sessions.start_ray()
    sessions.start_ray()
    import ray
    assert ray.get(ray.remote(lambda: 2).remote()) == 2
assert not ray.is_initialized()
"""
    # Short, as the paths of Ray's sockets may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="r-", dir="/tmp") as temporary:
        done = subprocess.run(
            [sys.executable, "-c", script],
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "TMPDIR": temporary},
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert [path for path in Path(temporary).iterdir() if path.name != "ray"] == []
        assert list(Path(temporary).glob("ray/session_*")) == []
    assert (tmp_path / "runs" / "r" / "logs" / "spark.log").stat().st_size > 0


@pytest.mark.slow
def test_a_killed_jvm_is_one_clear_error(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from jobs.machine.sessions import Sessions
from pipelines.config import RunConfig
from pipelines.errors import MachineError
source = {{"kind": "jsonl", "location": "x"}}
config = RunConfig.model_validate(
    {{"name": "r", "output": {str(tmp_path)!r}, "problems": {{"sources": [source]}}}}
)
try:
    with Sessions(config) as sessions:
        session = sessions.spark()
        from pyspark import SparkContext
        SparkContext._gateway.proc.kill()
        SparkContext._gateway.proc.wait()
        session.range(3).count()
except MachineError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Spark's JVM was killed"), done.stdout


def test_unused_sessions_write_nothing(tmp_path: Path) -> None:
    source = {"kind": "jsonl", "location": "x"}
    config = RunConfig.model_validate(
        {"name": "r", "output": str(tmp_path), "problems": {"sources": [source]}}
    )
    before = dict(os.environ)
    with Sessions(config):
        pass
    assert list(tmp_path.iterdir()) == []
    assert dict(os.environ) == before
