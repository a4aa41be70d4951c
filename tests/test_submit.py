"""The stages as jobs of their own: spark-submit on a standalone cluster, ray job submit on a head.

The clusters are started from the installed packages, on this machine, and stopped by their ids.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.runtime.cache import cache_folder
from tests.ports import free_port, wait_for
from tests.tiny_loop import ROOT, write_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

BIN = Path(sys.executable).parent
ONE_ITERATION = "num_iterations=1"
_SHORT_LIVED = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
"""For a JVM that ends before thorough compilation pays."""


def test_stages_and_whole_runs_are_submitted_to_spark_and_ray_clusters(tmp_path: Path) -> None:
    """Every stage in jobs of their own, up to the first policy; then the rest as one Ray job."""
    config = write_project(tmp_path, training={"launcher": "ray"})
    with spark_cluster(tmp_path) as master, ray_head() as address:
        spark_submit(master, config, "ingest,base_policy,render")
        ray_submit(address, stages(config, "generate,score"))
        spark_submit(master, config, "evaluate,select@1,curate@1")
        ray_submit(address, stages(config, "improve@1"))
        before = seals(tmp_path)
        ray_submit(address, ["run", str(config), "--set", ONE_ITERATION])
    assert set(before) == {
        *((0, name) for name in ("ingest", "base_policy", "render", "generate", "score")),
        *((0, "evaluate"), (1, "select"), (1, "curate"), (1, "improve")),
    }
    after = seals(tmp_path)
    assert before.items() <= after.items(), "a stage that was sealed was run again"
    made = {key for key in after if key not in before}
    assert made == {(1, name) for name in ("render", "generate", "score", "evaluate")}
    reader = LakeReader(Location(str(tmp_path / "lake")))
    (asked,) = reader.sql("SELECT sum(num_samples) AS n FROM prompts").to_pylist()
    (drawn,) = reader.sql(
        "SELECT count(*) AS n, count(DISTINCT sample_id) AS ids FROM samples"
    ).to_pylist()
    assert drawn == {"n": asked["n"], "ids": asked["n"]}


def test_relational_stages_run_on_a_spark_connect_server(tmp_path: Path) -> None:
    with connect_server() as remote:
        # Rows above the line are checked and committed by Spark too.
        config = write_project(tmp_path, spark={"remote": remote}, gate={"max_pandas_rows": 1})
        names = stages(config, "ingest,base_policy,render")
        code, printed = call([sys.executable, "-m", "jobs", *names])
    assert code == 0, printed
    assert set(seals(tmp_path)) == {(0, "ingest"), (0, "base_policy"), (0, "render")}
    checks = LakeReader(Location(str(tmp_path / "lake"))).rows("SELECT * FROM checks")
    engines = {(row["table_name"], row["engine"]) for row in checks}
    assert engines == {("problems", "spark"), ("policies", "pandas"), ("prompts", "spark")}


def seals(folder: Path) -> dict[tuple[int, str], object]:
    """(iteration, stage) -> when it was sealed."""
    rows = LakeReader(Location(str(folder / "lake"))).arrow("stages").to_pylist()
    assert len(rows) == len({(row["iteration"], row["stage"]) for row in rows})
    return {(row["iteration"], row["stage"]): row["committed_at"] for row in rows}


def test_a_stage_without_its_inputs_says_which_stage_to_run_first(tmp_path: Path) -> None:
    config = write_project(tmp_path)
    code, printed = call([sys.executable, "-m", "jobs", *stages(config, "generate")])
    assert code == 2
    assert "needs stage 'ingest' of iteration 0 first" in printed


def stages(config: Path, names: str) -> list[str]:
    return ["stage", names, str(config), "--set", ONE_ITERATION]


def spark_submit(master: str, config: Path, names: str) -> None:
    from jobs.machine.delta_jars import delta_jars

    jars = ",".join(str(jar) for jar in delta_jars())
    code, printed = call(
        [
            str(BIN / "spark-submit"),
            *("--master", master, "--jars", jars, "--driver-memory", "1g"),
            *("--conf", "spark.executor.memory=1g", "--conf", "spark.driver.host=127.0.0.1"),
            *("--driver-java-options", _SHORT_LIVED),
            *("--conf", f"spark.executor.extraJavaOptions={_SHORT_LIVED}"),
            # A cluster's defaults cut a few hundred rows into hundreds of tasks.
            *("--conf", "spark.sql.shuffle.partitions=2"),
            *("--conf", "spark.databricks.delta.snapshotPartitions=1"),
            "jobs/__main__.py",
            *stages(config, names),
        ]
    )
    assert code == 0, printed


def ray_submit(address: str, arguments: list[str]) -> None:
    code, printed = call(
        [
            *(str(BIN / "ray"), "job", "submit", "--address", address, "--working-dir", "."),
            *("--", sys.executable, "-m", "jobs", *arguments),
        ]
    )
    assert code == 0, printed
    assert "succeeded" in printed


def call(command: list[str]) -> tuple[int, str]:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def environment() -> dict[str, str]:
    from jobs.machine.java import java_home

    return {
        **os.environ,
        # A submitted job runs in a copy of the checkout, which has no cache of its own.
        "RESTEM_CACHE": str(cache_folder()),
        "JAVA_HOME": str(java_home()),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_JAVA_OPTS": _SHORT_LIVED,
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "disabled",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }


@contextmanager
def spark_cluster(folder: Path) -> Iterator[str]:
    """A master and a worker with two cores; the master's address."""
    import pyspark

    spark_class = Path(pyspark.__file__).parent / "bin" / "spark-class"
    port = free_port()
    master = f"spark://127.0.0.1:{port}"
    place = ["--host", "127.0.0.1", "--webui-port", "0"]
    start_worker = [
        *(str(spark_class), f"{_DEPLOY}.worker.Worker", *place),
        *("--cores", "2", "--memory", "1g", "--work-dir", str(folder / "work"), master),
    ]
    start_master = [str(spark_class), f"{_DEPLOY}.master.Master", *place, "--port", str(port)]
    with listening(start_master, port), running(start_worker):
        yield master


_DEPLOY = "org.apache.spark.deploy"


@contextmanager
def connect_server() -> Iterator[str]:
    """A Spark Connect server with two cores and Delta; its address."""
    from jobs.machine.sessions import spark_conf
    from pipelines.config import SparkConfig

    port = free_port()
    own = {"spark.connect.grpc.binding.port": str(port)}
    conf = spark_conf(SparkConfig(master="local[2]", driver_memory="1g", conf=own))
    command = [
        *(str(BIN / "spark-submit"), *(f"--conf={key}={value}" for key, value in conf.items())),
        *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"),
    ]
    with listening(command, port):
        yield f"sc://127.0.0.1:{port}"


@contextmanager
def ray_head() -> Iterator[str]:
    """A head with two cores and its dashboard; the dashboard's address."""
    port = free_port()
    command = [
        *(str(BIN / "ray"), "start", "--head", "--block", "--num-cpus", "2"),
        *("--port", str(free_port()), "--dashboard-port", str(port), "--include-dashboard", "true"),
        *("--object-store-memory", "100000000", "--disable-usage-stats"),
    ]
    try:
        with listening(command, port):
            yield f"http://127.0.0.1:{port}"
    finally:
        # A head that was stopped stays noted here, and plain `ray.init()` calls would look for it.
        Path(tempfile.gettempdir(), "ray", "ray_current_cluster").unlink(missing_ok=True)


@contextmanager
def listening(command: list[str], port: int) -> Iterator[None]:
    """A server, from when it listens on its port."""
    with running(command) as server:
        wait_for(port, server)
        yield


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)
