"""Secrets planted in a real run's settings are in nothing that the run writes or prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pytest
from deltalake import write_deltalake

from tests.tiny_loop import ROOT, restem, sums, write_project

PLANTED = "planted-4f1c9a"
FIRST, ROTATED = f"{PLANTED}-first", f"{PLANTED}-rotated"


def with_secrets(folder: Path, secret: str) -> Path:
    """A configuration with a secret wherever one can be given without a server for it."""
    keys = {"AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": secret}
    source = {"kind": "delta", "location": str(folder / "problems"), "options": keys}
    suite = {"name": "other", "source": {**source, "location": str(folder / "others")}}
    return write_project(
        folder,
        num_iterations=1,
        problems={"sources": [{**source, "split_field": "split"}]},
        evaluation={"suites": [suite], "pass_at_k": None},
        lake={"storage_options": keys},
        spark={"conf": {"spark.hadoop.fs.s3a.secret.key": secret}},
    )


def holding(folder: Path) -> list[str]:
    """The files below a folder that hold a planted secret, Parquet's values decoded."""
    found = []
    for path in (path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += str(pa.dataset.dataset(path).to_table().to_pylist()).encode()
        if PLANTED.encode() in content:
            found.append(str(path.relative_to(folder)))
    return found


@pytest.mark.slow
def test_no_sink_of_a_run_holds_a_planted_secret(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "problems", pa.Table.from_pylist(list(sums(12, 4, 6, 0))))
    write_deltalake(tmp_path / "others", pa.Table.from_pylist(list(sums(0, 0, 3, 1))))
    config = with_secrets(tmp_path, FIRST)
    code, printed = restem("run", str(config))
    assert code == 0, printed
    for arguments in (
        ("status",),
        ("status", "tiny"),
        ("sql", "SELECT * FROM runs", "--format", "json"),
    ):
        code, more = restem(*arguments, "--lake", str(tmp_path / "lake"))
        assert code == 0, more
        printed += more
    _, planned = restem("plan", str(config))
    config.unlink()

    config = with_secrets(tmp_path, ROTATED)
    code, again = restem("run", str(config))
    assert code == 0, again  # rotated credentials do not stop a run that goes on
    code, refused = restem("run", str(config), "--set", "seed=7")
    assert code == 2
    assert "seed: 0 -> 7" in refused
    config.unlink()

    assert PLANTED not in printed + planned + again + refused
    assert (tmp_path / "mlflow.db").exists()
    assert holding(tmp_path) == []


@pytest.mark.slow
def test_the_jvms_command_line_holds_no_keys(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from jobs.machine.sessions import spark_session\n"
        "from pipelines.config import SparkConfig\n"
        f"conf = {{'spark.hadoop.fs.s3a.secret.key': '{PLANTED}', 'spark.ui.enabled': 'false'}}\n"
        f"session = spark_session(SparkConfig(conf=conf), Path({str(tmp_path)!r}))\n"
        "jvm = session.sparkContext._gateway.proc.pid\n"
        "line = Path(f'/proc/{jvm}/cmdline').read_text()\n"
        f"assert 'org.apache.spark' in line and '{PLANTED}' not in line, line\n"
        f"hadoop = session._jsc.hadoopConfiguration()\n"
        f"assert hadoop.get('fs.s3a.secret.key') == '{PLANTED}'\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
