"""Deleting and renaming runs: every row once, whatever is killed, and a name that is free again."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import HeldByAnother, LakeError
from pipelines.lake import commit, copied_run, deleted_run, run_state
from pipelines.lake.files import PartitionWriter
from pipelines.lake.lease import Lease
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.lake.sizes import sizes_by_run
from pipelines.lake.vacuum import find_orphans, remove
from pipelines.runs.fork import fork, plan_fork
from pipelines.runs.steps import steps_of
from pipelines.runs.whole_run import delete_run, plan_deletion, rename_run
from schemas import TABLES
from tests.pipelines.lake.object_store import s3_lake
from tests.pipelines.runs.test_fork import contents, quiet, unversioned
from tests.stored_run import RUN, config, literal_of, make, opened, reader_of


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with two finished runs."""
    folder = tmp_path_factory.mktemp("finished")
    for name in (RUN, "other"):
        make(config(folder, name))
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished / "lake", tmp_path / "lake")
    return tmp_path


def delete(folder: Path, run: str = RUN) -> None:
    delete_run(plan_deletion(reader_of(folder), run), quiet)


def rename(folder: Path, name: str = "new") -> bool:
    return rename_run(reader_of(folder), RUN, name, quiet)


def stored(folder: Path, run: str) -> dict[str, list[dict[str, Any]]]:
    """What a run has, but for its starts, and for the versions that its records name."""
    found = contents(reader_of(folder), run)
    del found["leases"]
    for row in found["runs"]:
        del row["config"]
    return {table: unversioned(rows) for table, rows in found.items()}


class Kills:
    """Ends a change after each of its commits, once for each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._seen: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        return len(self._seen)

    def end(self, change: Callable[[], object]) -> bool:
        """Make a change up to the next commit that it was not ended after; False if it ends."""
        with self._monkeypatch.context() as patched:
            for module in (copied_run, run_state, deleted_run):
                patched.setattr(module, "commit", self._kill)
            try:
                change()
            except KeyboardInterrupt:
                return True
        return False

    def _kill(self, writer: PartitionWriter, *arguments: Any) -> Any:
        done = commit.commit(writer, *arguments)
        key = (writer.table.name, arguments[2][0])
        if done.is_new and key not in self._seen:
            self._seen.add(key)
            raise KeyboardInterrupt
        return done


def test_a_deleted_run_has_no_row_and_the_others_stay(folder: Path) -> None:
    reader = reader_of(folder)
    version = reader.version("samples")
    other, num_samples = stored(folder, "other"), reader.arrow("samples", RUN).num_rows
    assert num_samples > 0
    delete(folder)
    assert reader.runs() == ["other"]
    assert RUN not in sizes_by_run(reader.location)
    assert stored(folder, "other") == other
    query = "SELECT count(*) AS n FROM samples WHERE run_id = 'first'"
    assert version is not None
    assert reader.sql(query, versions={"samples": version}).to_pylist() == [{"n": num_samples}]
    with pytest.raises(LakeError, match="no run 'first'"):
        plan_deletion(reader, RUN)


def test_a_deleted_name_is_used_again_and_makes_every_row_anew(folder: Path) -> None:
    before = stored(folder, RUN)
    settings = config(folder, seed=5)
    delete(folder)
    for _ in range(2):
        assert make(settings) == [step.key for step in steps_of(settings)]
        assert make(settings) == []
        again = stored(folder, RUN)
        assert {t: len(rows) for t, rows in again.items()} == {
            t: len(rows) for t, rows in before.items()
        }
        assert again["samples"] == before["samples"]
        delete(folder)


def test_a_new_run_of_a_deleted_name_that_is_killed_before_its_seal_makes_no_row_twice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete(folder)
    settings = config(folder)
    with opened(settings) as lake:
        monkeypatch.setattr(lake._books, "seal", _killed)
        with pytest.raises(KeyboardInterrupt):
            lake.materialize(literal_of(steps_of(settings)[0]), 0)
    committed = contents(reader_of(folder), RUN)["problems"]
    assert committed
    make(settings)
    assert contents(reader_of(folder), RUN)["problems"] == committed


def _killed(*_: Any) -> Any:
    raise KeyboardInterrupt


def test_a_deletion_that_is_killed_after_any_commit_is_finished_by_the_same_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, kills = stored(folder, "other"), Kills(monkeypatch)
    while kills.end(lambda: delete(folder)):
        if RUN not in reader_of(folder).runs():
            break
        with pytest.raises(LakeError, match="finish it with: restem runs delete first"):
            make(config(folder))
    assert len(kills) == len(TABLES) + 1  # one per table, and the first
    assert stored(folder, "other") == other
    assert RUN not in sizes_by_run(reader_of(folder).location)
    assert make(config(folder))[0] == (0, "ingest")


def test_a_start_that_opened_the_run_before_its_deletion_makes_nothing_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", _no_locks)
    settings = config(folder, num_iterations=3)
    step = next(s for s in steps_of(settings) if s.key == (2, "render"))
    with opened(settings) as lake:
        inputs = [lake.sealed(item.stage.table, *item.key) for item in step.inputs]
        delete(folder)
        make(settings, last=(0, "render"))
        with pytest.raises(LakeError, match="was deleted since this command opened it"):
            lake.materialize(literal_of(step), 2, *[item for item in inputs if item is not None])
    assert {row["iteration"] for row in contents(reader_of(folder), RUN)["prompts"]} == {0}


def _no_locks(*_: Any) -> None:
    raise OSError(95, "Operation not supported")


def test_a_start_that_was_taken_for_dead_commits_nothing_to_a_deleted_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", _no_locks)
    settings = config(folder, num_iterations=3)
    step = next(s for s in steps_of(settings) if s.key == (2, "render"))
    with opened(settings) as lake:
        lake._make_ready()
        inputs = [lake.sealed(item.stage.table, *item.key) for item in step.inputs]
        with monkeypatch.context() as patched:
            patched.setattr(Lease, "_wait_for", lambda *_: None)
            delete(folder)
        with pytest.raises(HeldByAnother, match="was taken over by another start"):
            lake.materialize(literal_of(step), 2, *[item for item in inputs if item is not None])
    assert RUN not in sizes_by_run(reader_of(folder).location)


def test_a_deletion_that_was_taken_for_dead_removes_nothing_of_a_run_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", _no_locks)
    make(config(tmp_path), last=(0, "generate"))
    begin, before = run_state.RunState.begin, stored(tmp_path, RUN)

    def late(*arguments: Any) -> Any:
        # Another start takes the run just before the deletion's first commit.
        with monkeypatch.context() as patched:
            patched.setattr(Lease, "_wait_for", lambda *_: None)
            patched.setattr(run_state.RunState, "begin", begin)
            assert make(config(tmp_path), last=(0, "score")) == [(0, "score")]
        return begin(*arguments)

    monkeypatch.setattr(run_state.RunState, "begin", late)
    with pytest.raises(HeldByAnother, match="was taken over by another start"):
        delete(tmp_path)
    after = stored(tmp_path, RUN)
    assert after["samples"] == before["samples"]
    assert len(after["stages"]) == len(before["stages"]) + 1


def test_a_run_that_is_worked_on_is_neither_deleted_nor_renamed(folder: Path) -> None:
    settings = config(folder, num_iterations=3)
    with opened(settings) as lake:
        lake._make_ready()
        for change in (delete, rename):
            with pytest.raises(HeldByAnother, match="is being worked on"):
                change(folder)
    assert len(contents(reader_of(folder), RUN)["runs"]) == 1


def test_vacuum_removes_the_files_of_deleted_runs_and_keeps_all_others(folder: Path) -> None:
    reader = reader_of(folder)
    now = timedelta(0)
    other = stored(folder, "other")
    assert find_orphans(reader.location, now) == []
    delete(folder)
    make(config(folder, seed=1), last=(0, "generate"))
    found = find_orphans(reader.location, now)
    assert {orphan.run_id for orphan in found} == {RUN}
    again = stored(folder, RUN)
    remove(reader.location, found)
    assert find_orphans(reader.location, now) == []
    assert stored(folder, "other") == other
    assert stored(folder, RUN) == again
    sealed = reader.rows("SELECT version FROM stages WHERE stage = 'generate'", "other")
    for version in {row["version"] for row in sealed}:
        assert reader.arrow("samples", "other", version=version).num_rows > 0


def test_a_renamed_run_has_the_same_rows_and_goes_on(folder: Path) -> None:
    before = stored(folder, RUN)
    other = stored(folder, "other")
    assert rename(folder)
    assert set(reader_of(folder).runs()) == {"other", "new"}
    assert stored(folder, "new") == before
    assert stored(folder, "other") == other
    assert make(config(folder, "new")) == []
    more = config(folder, "new", num_iterations=3)
    assert make(more, last=(2, "render")) == [(2, "render")]
    assert not rename(folder)


def test_a_run_that_is_not_sealed_to_its_end_is_renamed_with_what_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(tmp_path)
    make(settings, last=(0, "render"))
    step = next(s for s in steps_of(settings) if s.key == (0, "generate"))
    with opened(settings) as lake:
        inputs = [lake.sealed(item.stage.table, *item.key) for item in step.inputs]
        monkeypatch.setattr(lake._books, "seal", _killed)
        with pytest.raises(KeyboardInterrupt):
            lake.materialize(literal_of(step), 0, *[item for item in inputs if item is not None])
    rows = contents(reader_of(tmp_path), RUN)["samples"]
    assert rows
    rename(tmp_path)
    assert contents(reader_of(tmp_path), "new")["samples"] == rows
    assert make(config(tmp_path, "new"), last=(0, "score")) == [(0, "generate"), (0, "score")]
    assert contents(reader_of(tmp_path), "new")["samples"] == rows


def test_a_renaming_that_is_killed_after_any_commit_is_finished_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(config(tmp_path), last=(0, "generate"))
    before, kills = stored(tmp_path, RUN), Kills(monkeypatch)
    while kills.end(lambda: rename(tmp_path)):
        if RUN not in reader_of(tmp_path).runs():
            break
        with pytest.raises(LakeError, match="finish it with: restem runs rename first new"):
            make(config(tmp_path))
    assert len(kills) > len(TABLES) + 6  # those of a deletion, and of its copies before
    assert stored(tmp_path, "new") == before
    assert not rename(tmp_path)
    assert make(config(tmp_path, "new"), last=(0, "score")) == [(0, "score")]


def test_a_name_that_is_taken_is_refused(folder: Path) -> None:
    for name in ("other", RUN):
        with pytest.raises(LakeError, match=f"run '{name}' exists"):
            rename(folder, name)
    rename(folder)
    make(config(folder), last=(0, "ingest"))
    with pytest.raises(LakeError, match="run 'new' exists"):
        rename(folder)
    assert contents(reader_of(folder), RUN)["problems"]


@pytest.fixture
def output(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the run, which has a lake of its own."""
    monkeypatch.chdir(folder)
    delete(folder, "other")  # it has the same literal rows
    delete(folder)
    make(config(folder, output="."))
    runs = folder / "runs" / RUN
    for entry in ("policy-1", "policy-2", "logs"):
        (runs / entry).mkdir(parents=True)
        (runs / entry / "file").write_text(entry, encoding="utf-8")
    return runs


def test_the_folder_of_a_deleted_run_is_removed(folder: Path, output: Path) -> None:
    planned = plan_deletion(reader_of(folder), RUN)
    assert planned.folder is not None
    assert planned.folder.size == len("logs") + 2 * len("policy-1")
    delete_run(planned, quiet)
    assert not output.exists()


@pytest.mark.parametrize("is_half_moved", [False, True])
def test_a_renamed_runs_folder_is_moved_and_its_policies_stay_where_they_are(
    folder: Path, output: Path, is_half_moved: bool
) -> None:
    before = stored(folder, RUN)
    moved = output.with_name("new")
    if is_half_moved:  # by a renaming that was killed
        moved.mkdir()
        (output / "logs").rename(moved / "logs")
    rename(folder)
    assert not output.exists()
    assert sorted(path.name for path in moved.iterdir()) == ["logs", "policy-1", "policy-2"]
    assert stored(folder, "new") == before


@pytest.mark.slow
def test_runs_are_forked_renamed_and_deleted_in_an_object_store(tmp_path: Path) -> None:
    with s3_lake() as section:
        reader = LakeReader(Location.at(section["uri"], section["storage_options"]))
        make(config(tmp_path, lake=section), last=(0, "generate"))
        drawn = contents(reader, RUN)["samples"]
        fork(plan_fork(reader, RUN, "new", "generate@0", ()), quiet)
        assert make(config(tmp_path, "new", lake=section), last=(0, "generate")) == [
            (0, "generate")
        ]
        delete_run(plan_deletion(reader, RUN), quiet)
        assert make(config(tmp_path, lake=section), last=(0, "ingest")) == [(0, "ingest")]
        rename_run(reader, "new", "renamed", quiet)
        assert contents(reader, "renamed")["samples"] == drawn
        assert sorted(reader.runs()) == [RUN, "renamed"]
        orphans = find_orphans(reader.location, timedelta(0))
        assert {orphan.run_id for orphan in orphans} == {RUN, "new"}
        remove(reader.location, orphans)
        assert contents(reader, "renamed")["samples"] == drawn
