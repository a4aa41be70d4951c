"""Only files that no version names are removed, and none of a run that is being worked on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from pipelines.lake.files import PartitionWriter
from pipelines.lake.location import Location
from pipelines.lake.vacuum import find_orphans, remove
from pipelines.stage import ArrowStage
from schemas import POLICIES, PROBLEMS
from tests.factories import arrow
from tests.pipelines.lake.object_store import s3_lake
from tests.pipelines.lake.test_materialize import (
    Counted,
    ingest,
    one_file_a_sample,
    opened,
    problems,
)

NOW = timedelta(0)


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.slow)])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    if request.param == "folder":
        yield {"uri": str(tmp_path / "lake")}
        return
    with s3_lake() as section:
        yield section


def location_of(lake: dict[str, Any]) -> Location:
    return Location.at(lake["uri"], lake.get("storage_options", {}))


def orphan(location: Location, run: str = "r") -> str:
    return PartitionWriter(PROBLEMS, location, run, 0).write(problems("in vain")).path


def test_what_a_killed_start_wrote_is_removed_and_every_version_stays_readable(
    lake: dict[str, Any], tmp_path: Path
) -> None:
    location = location_of(lake)
    with opened(tmp_path, lake=lake) as held:
        first = held.materialize(ingest(Counted(problems("a", "b"))), 0)
        drawn = held.materialize(one_file_a_sample([], ["s0", "s1"]), 0)
        again = held.remake(ingest(Counted(problems("c"))), 0)
    lost = orphan(location)
    found = find_orphans(location, NOW)
    assert [(file.table, file.path, file.run_id) for file in found] == [("problems", lost, "r")]
    assert find_orphans(location, timedelta(hours=1)) == []
    remove(location, found)
    assert find_orphans(location, NOW) == []
    assert (first.count(), again.count(), drawn.count()) == (2, 1, 2)
    assert first.arrow(["question"])["question"].to_pylist() == ["a", "b"]


def test_stored_policies_are_removed_if_no_row_has_them_and_no_run_is_worked_on(
    lake: dict[str, Any], tmp_path: Path
) -> None:
    location = location_of(lake)
    for policy in ("used", "unused"):
        location.write(f"_policies/{policy}/model.safetensors", b"weights")
    row = arrow(POLICIES, {"policy_id": "used"}).drop_columns(["run_id", "iteration"])
    with opened(tmp_path, lake=lake) as held:
        base = ArrowStage(name="base_policy", table=POLICIES, function=lambda _: row)
        held.materialize(base, 0)
        assert find_orphans(location, NOW) == []
    assert find_orphans(location, timedelta(hours=1)) == []
    found = find_orphans(location, NOW)
    assert [(file.table, file.path, file.run_id) for file in found] == [
        ("_policies", "unused/model.safetensors", "")
    ]
    remove(location, found)
    assert location.size("_policies/unused/model.safetensors") is None
    assert location.size("_policies/used/model.safetensors") == len(b"weights")


def test_files_of_a_start_at_work_are_kept(lake: dict[str, Any], tmp_path: Path) -> None:
    location = location_of(lake)
    with opened(tmp_path, lake=lake) as held:
        held.materialize(ingest(Counted(problems("a"))), 0)
        orphan(location)
        other = orphan(location, "other")
        assert [file.path for file in find_orphans(location, NOW)] == [other]
    assert len(find_orphans(location, NOW)) == 2


def test_a_table_whose_log_was_cut_keeps_what_its_oldest_version_names(tmp_path: Path) -> None:
    location = Location.at(str(tmp_path / "lake"), {})
    with opened(tmp_path) as held:
        held.materialize(ingest(Counted(problems("a"))), 0)
        held.remake(ingest(Counted(problems("b"))), 0)
        snapshot = held.remake(ingest(Counted(problems("c"))), 0)
    table = snapshot.delta()
    table.create_checkpoint()
    for version in range(table.version()):
        (location.folder / "problems" / "_delta_log" / f"{version:020}.json").unlink()
    remove(location, find_orphans(location, NOW))
    assert snapshot.arrow(["question"])["question"].to_pylist() == ["c"]


def test_the_command_only_shows_unless_it_is_told_to_remove(tmp_path: Path) -> None:
    import os

    location = Location.at(str(tmp_path / "lake"), {})
    with opened(tmp_path) as held:
        held.materialize(ingest(Counted(problems("a"))), 0)
    lost = location.folder / "problems" / orphan(location)
    day_before = lost.stat().st_mtime - 90_000
    os.utime(lost, (day_before, day_before))
    young = location.folder / "problems" / orphan(location)

    def call(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["vacuum", "--lake", location.uri, *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    assert "1 files" in call()
    assert lost.exists()
    assert "removed" in call("--remove")
    assert not lost.exists()
    assert young.exists()
    assert "no file can be removed" in call()
