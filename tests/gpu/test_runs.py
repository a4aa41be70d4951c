"""Whole runs on a GPU: the quickstart, memory between stages, resumption after SIGKILL."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from tests.gpu.nvidia import MemoryWatch, memory_mib, needs_gpu, wait_until_freed
from tests.test_kill import committed_rows, everything, kill_while_drawing, run_until
from tests.tiny_loop import ROOT, restem, write_project

UTILIZATION = 0.5
"""The engine's share of the GPU: so much that training in its presence would be seen."""


@needs_gpu
@pytest.mark.timeout(1800)
def test_the_quickstart_learns_on_a_gpu(tmp_path: Path) -> None:
    before, _ = memory_mib()
    lake = tmp_path / "lake"
    settings = (
        f"output={tmp_path / 'data'}",
        f"lake.uri={lake}",
        f"mlflow.tracking_uri=sqlite:///{tmp_path}/mlflow.db",
    )
    chosen = [word for setting in settings for word in ("--set", setting)]
    with MemoryWatch(lambda: "run") as watch:
        code, printed = restem(
            "run", str(ROOT / "configs" / "quickstart.yaml"), *chosen, timeout=1700
        )
    assert code == 0, printed
    assert watch.peak["run"] > before + 2000, "nothing ran on the GPU"
    assert wait_until_freed(before) <= before + 300
    query = (
        "SELECT value FROM evaluations WHERE suite = 'test' AND metric = 'greedy_accuracy' "
        "ORDER BY iteration"
    )
    accuracy = [row["value"] for row in LakeReader(Location(str(lake))).sql(query).to_pylist()]
    assert len(accuracy) == 3
    assert accuracy[2] > accuracy[0] + 0.1, accuracy


@needs_gpu
@pytest.mark.timeout(900)
def test_the_engine_and_the_training_do_not_hold_the_gpu_at_the_same_time(tmp_path: Path) -> None:
    before, total = memory_mib()
    config = write_project(tmp_path, engine={"gpu_memory_utilization": UTILIZATION})
    with MemoryWatch(lambda: phase(tmp_path / "data" / "runs" / "tiny")) as watch:
        code, printed = restem("run", str(config), timeout=800)
    assert code == 0, printed
    assert watch.peak["other"] > before + UTILIZATION * total / 2, "the engine ran elsewhere"
    assert before + 100 < watch.peak["training"] < before + UTILIZATION * total / 2
    assert wait_until_freed(before) <= before + 300


def phase(run: Path) -> str:
    """`training` from the first step of an M-step to its result, else `other`."""
    for progress in run.glob("policy-*/progress.jsonl"):
        if not (progress.parent / "result.json").exists():
            return "training"
    return "other"


@needs_gpu
@pytest.mark.timeout(1800)
def test_a_run_killed_while_drawing_and_while_training_goes_on(tmp_path: Path) -> None:
    before, _ = memory_mib()
    config = write_project(tmp_path, num_iterations=1, engine={"chunk_prompts": 6})
    lake = tmp_path / "lake"
    chance = random.Random(0)
    kill_while_drawing(config, lake, chance.uniform(0.0, 0.5))
    assert wait_until_freed(before, seconds=60) <= before + 300, "a killed engine holds memory"
    drawn = committed_rows(lake, "samples", "sample_id")
    run_until(config, "improve", chance.uniform(1.0, 3.0))
    assert wait_until_freed(before, seconds=60) <= before + 300, "a killed worker holds memory"
    assert drawn.items() <= committed_rows(lake, "samples", "sample_id").items()
    earlier = everything(lake)
    code, printed = restem("run", str(config), timeout=900)
    assert code == 0, printed
    after = everything(lake)
    for table, rows in earlier.items():
        assert rows.items() <= after[table].items(), f"a committed row of {table} changed"
    counts = "SELECT count(*) AS n, count(DISTINCT sample_id) AS ids FROM samples"
    (samples,) = LakeReader(Location(str(lake))).sql(counts).to_pylist()
    (asked,) = (
        LakeReader(Location(str(lake))).sql("SELECT sum(num_samples) AS n FROM prompts").to_pylist()
    )
    assert samples["n"] == samples["ids"] == asked["n"]
