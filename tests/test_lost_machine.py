"""The machine is lost, again and again, and the same command goes on: all is in the object store."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.checkpoints.policy import policy_id_of
from pipelines.checkpoints.store import PolicyStore
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.runtime.cache import cache_folder
from tests.pipelines.lake.object_store import s3_lake, spark_conf
from tests.tiny_loop import kill_group, restem, start, write_project

CONNECTOR = os.environ.get("RESTEM_S3_JARS", "")
"""Folder with the jars of Spark's S3 connector (see jobs/README.md)."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        not CONNECTOR, reason="RESTEM_S3_JARS does not name the folder of Spark's S3 connector"
    ),
]


@pytest.fixture
def section() -> Iterator[dict[str, Any]]:
    with s3_lake() as lake:
        yield lake


class LostMachines:
    """A run that is killed, and whose machine is then lost: its output, and its cache of policies."""

    def __init__(self, folder: Path, section: dict[str, Any], cache: Path) -> None:
        jars = ",".join(str(jar) for jar in sorted(Path(CONNECTOR).glob("*.jar")))
        endpoint = section["storage_options"]["AWS_ENDPOINT_URL"]
        self.output, self.cache = folder / "data", cache
        self.config = write_project(
            folder, 1, lake=section, spark={"conf": spark_conf(endpoint, jars)}
        )
        location = Location.at(section["uri"], section["storage_options"])
        self.store, self.reader = PolicyStore(location), LakeReader(location)

    def kill_when(self, is_time: Callable[[str], bool], *arguments: str) -> str:
        """Start the run, kill all of it when it is time, and lose the machine.

        Args:
            is_time: given what was printed so far.
            arguments: further arguments of the command.
        """
        process = start("run", str(self.config), *arguments)
        assert process.stdout is not None
        lines: list[str] = []
        reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
        reader.start()
        deadline = time.monotonic() + 400
        while not is_time("".join(lines)):
            assert process.poll() is None, "".join(lines)
            assert time.monotonic() < deadline, "".join(lines)
            time.sleep(0.1)
        kill_group(process)
        process.wait(timeout=30)
        reader.join(timeout=30)
        self.lose()
        assert "Traceback" not in "".join(lines), "".join(lines)
        return "".join(lines)

    def lose(self) -> None:
        shutil.rmtree(self.output, ignore_errors=True)
        for name in ("policies", "policy_ids"):
            shutil.rmtree(self.cache / name, ignore_errors=True)

    def rows(self, query: str) -> list[dict[str, Any]]:
        return self.reader.rows(query)

    def sealed(self) -> list[tuple[int, str]]:
        rows = self.rows("SELECT iteration, stage FROM stages ORDER BY committed_at")
        return [(row["iteration"], row["stage"]) for row in rows]


@pytest.fixture
def lost(section: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LostMachines:
    cache = tmp_path / "cache"
    cache.mkdir()
    for entry in cache_folder().iterdir():  # jars and Java, which setting up a machine brings
        if entry.name not in ("policies", "policy_ids"):
            (cache / entry.name).symlink_to(entry)
    monkeypatch.setenv("RESTEM_CACHE", str(cache))
    return LostMachines(tmp_path, section, cache)


def test_a_run_whose_machine_is_lost_goes_on_on_another(lost: LostMachines) -> None:
    progress = lost.output / "runs" / "tiny" / "policy-1" / "progress.jsonl"
    lost.kill_when(lambda _: progress.exists() and progress.stat().st_size > 0)
    assert (1, "curate") in lost.sealed()
    assert (1, "improve") not in lost.sealed(), "it was to be killed in the middle of the M-step"
    drawn = lost.rows("SELECT * FROM samples ORDER BY sample_id")

    printed = lost.kill_when(lambda printed: "iteration 1  improve" in printed)
    (policy,) = lost.rows("SELECT policy_id, checkpoint_uri FROM policies WHERE iteration = 1")
    assert policy["checkpoint_uri"] == lost.store.uri(policy["policy_id"])
    assert f"store policy {policy['policy_id']}" in printed
    assert lost.store.holds(policy["policy_id"])

    # The engine has the policy from the store, and one chunk of its samples is committed. One sequence
    # at a time: slow enough to be met.
    slow = ("--set", "engine.max_num_seqs=1")
    printed = lost.kill_when(lambda _: bool(_drawn_by(lost, policy["policy_id"])), *slow)
    assert (1, "generate") not in lost.sealed()
    assert f"fetch policy {policy['policy_id']}" in printed
    assert "trained again" not in printed

    lost.store.discard(policy["policy_id"])
    code, printed = restem("run", str(lost.config))
    assert code == 0, printed
    assert f"policy {policy['policy_id']}: " in printed
    assert "it is trained again" in printed
    sealed = lost.sealed()
    assert sealed.count((1, "improve")) == 2
    assert {sealed.count(one) for one in sealed if one != (1, "improve")} == {1}
    assert lost.rows("SELECT * FROM samples WHERE iteration = 0 ORDER BY sample_id") == drawn
    (asked,) = lost.rows("SELECT sum(num_samples) AS n FROM prompts")
    (there,) = lost.rows("SELECT count(*) AS n, count(DISTINCT sample_id) AS ids FROM samples")
    assert there == {"n": asked["n"], "ids": asked["n"]}
    (now,) = lost.rows("SELECT policy_id, checkpoint_uri FROM policies WHERE iteration = 1")
    assert {row["policy_id"] for row in _drawn(lost, 1)} == {now["policy_id"]}

    from transformers import AutoModelForCausalLM, AutoTokenizer

    lost.lose()
    folder = lost.store.fetch(now["policy_id"])
    assert policy_id_of(folder) == now["policy_id"]
    assert AutoModelForCausalLM.from_pretrained(folder).config.model_type == "llama"
    assert AutoTokenizer.from_pretrained(folder)("1 + 1")["input_ids"]


def _read(printed: Iterable[str], lines: list[str]) -> None:
    for line in printed:
        lines.append(line)


def _drawn(lost: LostMachines, iteration: int) -> list[dict[str, Any]]:
    return lost.rows(f"SELECT policy_id FROM samples WHERE iteration = {iteration}")


def _drawn_by(lost: LostMachines, policy_id: str) -> list[dict[str, Any]]:
    return [row for row in _drawn(lost, 1) if row["policy_id"] == policy_id]
