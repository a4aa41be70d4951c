"""SIGKILL at any point loses at most one chunk, and changes nothing that was committed.

Neither does the loss of the run's folder: what a run needs is in its lake.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from tests.tiny_loop import kill_group, restem, start, write_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

CHUNK_PROMPTS = 6
PHASES = ("score", "curate", "improve", "generate", "evaluate")
"""Those after the first sampling, which is killed apart."""


def committed_rows(lake: Path, table: str, key: str) -> dict[str, str]:
    """Each committed row's hash by its key; empty if the table is not there."""
    if not (lake / table / "_delta_log").exists():
        return {}
    rows = LakeReader(Location(str(lake))).arrow(table).to_pylist()
    return {
        f"{row['iteration']}/{row[key]}": hashlib.sha256(
            repr(sorted(row.items())).encode()
        ).hexdigest()
        for row in rows
    }


def everything(lake: Path) -> dict[str, dict[str, str]]:
    keys = {
        "problems": "problem_id",
        "prompts": "prompt_id",
        "samples": "sample_id",
        "rewards": "sample_id",
        "training_set": "sample_id",
        "policies": "policy_id",
    }
    return {table: committed_rows(lake, table, key) for table, key in keys.items()}


def run_until(config: Path, phase: str, wait: float) -> str:
    """Start the run, SIGKILL its whole group `wait` seconds after the phase begins."""
    process = start("run", str(config))
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line)
        if begins(phase, line):
            time.sleep(wait)
            break
    kill_group(process)
    assert process.wait(timeout=30) == -signal.SIGKILL, f"{phase} was not met: {''.join(printed)}"
    return "".join(printed)


def begins(phase: str, line: str) -> bool:
    """Whether a printed line says that the stage before the phase is done."""
    before = {
        "score": " generate ",
        "curate": " evaluate ",
        "improve": " curate ",
        "generate": " improve ",
        "evaluate": " score ",
    }
    return before[phase] in line and "rows" in line


def kill_while_drawing(config: Path, lake: Path, wait: float) -> str:
    """Start the run, SIGKILL its whole group `wait` seconds after its first samples are committed."""
    # One sequence at a time: no setting that decides rows, and slow enough to be met.
    process = start("run", str(config), "--set", "engine.max_num_seqs=1")
    deadline = time.monotonic() + 300
    while not committed_rows(lake, "samples", "sample_id"):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.5)  # Looking costs the run processor time.
    time.sleep(wait)
    kill_group(process)
    return process.communicate(timeout=30)[0]


def drawn_in_vain(lake: Path) -> set[str]:
    """Prompts whose samples were written and not committed: they are drawn again."""
    named = {Path(uri).name for uri in DeltaTable(str(lake / "samples")).file_uris()}
    lost = [path for path in (lake / "samples").rglob("*.parquet") if path.name not in named]
    return {row["prompt_id"] for path in lost for row in pq.read_table(path).to_pylist()}


def test_a_run_killed_at_random_points_of_every_phase_ends_as_if_it_had_not_been(
    tmp_path: Path,
) -> None:
    engine = {"chunk_prompts": CHUNK_PROMPTS}
    config = write_project(tmp_path, num_iterations=1, engine=engine)
    lake = tmp_path / "lake"
    chance = random.Random(0)
    printed = kill_while_drawing(config, lake, chance.uniform(0.0, 0.5))
    assert "Traceback" not in printed, printed
    assert len(drawn_in_vain(lake)) <= CHUNK_PROMPTS
    drawn = everything(lake)["samples"]
    reader = LakeReader(Location(str(lake)))
    (asked,) = reader.sql("SELECT sum(num_samples) AS n FROM prompts").to_pylist()
    assert len(drawn) < asked["n"], "the kill came after the last sample"
    for phase in PHASES:
        printed = run_until(config, phase, chance.uniform(0.0, 2.0))
        assert "Traceback" not in printed, printed
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        now = everything(lake)
        assert drawn.items() <= now["samples"].items(), f"a committed sample changed in {phase}"
        drawn = now["samples"]
    before = everything(lake)
    code, printed = restem("run", str(config), timeout=900)
    assert code == 0, printed
    after = everything(lake)
    for table, rows in before.items():
        assert rows.items() <= after[table].items(), f"a committed row of {table} changed"
    (samples,) = reader.sql(
        "SELECT count(*) AS n, count(DISTINCT sample_id) AS ids FROM samples"
    ).to_pylist()
    (prompts,) = reader.sql("SELECT sum(num_samples) AS n FROM prompts").to_pylist()
    assert samples["n"] == samples["ids"] == prompts["n"]
    sealed = reader.sql("SELECT stage, iteration FROM stages").to_pylist()
    assert len(sealed) == len({tuple(row.values()) for row in sealed})
    assert {"stage": "evaluate", "iteration": 1} in sealed


def test_a_run_started_twice_at_once_is_refused_the_second_time(tmp_path: Path) -> None:
    config = write_project(tmp_path)
    first = start("run", str(config))
    try:
        _wait_for_lock(tmp_path / "lake" / "_locks" / "tiny.lock", first)
        code, printed = restem("run", str(config), timeout=120)
        assert code == 2
        assert "is being worked on by process" in printed
        assert "Traceback" not in printed
        assert first.poll() is None
    finally:
        kill_group(first)
        first.wait(timeout=30)


def _wait_for_lock(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
