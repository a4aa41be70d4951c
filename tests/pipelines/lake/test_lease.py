"""The lease and the fence: one start at a time writes to a run, and knows when it no longer may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.config import LakeConfig
from pipelines.errors import LakeError
from pipelines.lake import lease as lease_module
from pipelines.lake.books import Books
from pipelines.lake.commit import commit, committed_transaction, raise_fence, transaction_of
from pipelines.lake.fence import Fence
from pipelines.lake.files import PartitionWriter
from pipelines.lake.lease import Lease
from pipelines.lake.location import Location
from pipelines.lake.tables import create_tables
from pipelines.runtime.process import Process, this_process
from schemas import PROBLEMS, SAMPLES
from tests.factories import arrow
from tests.pipelines.lake.test_materialize import config, problems


@pytest.fixture
def location(tmp_path: Path) -> Location:
    made = Location.at(str(tmp_path / "lake"), {})
    create_tables(made, LakeConfig(uri=made.uri))
    return made


def lease(location: Location, heard: list[str] | None = None, **settings: Any) -> Lease:
    say = [].append if heard is None else heard.append
    return Lease(location, "r", "1", **{"is_locked": False, "say": say, **settings})


def samples(location: Location, *names: str) -> tuple[PartitionWriter, list[Any]]:
    writer = PartitionWriter(SAMPLES, location, "r", 0)
    rows = arrow(SAMPLES, *({"sample_id": name} for name in names))
    return writer, [writer.write(rows.drop_columns(["run_id", "iteration"]))]


@pytest.fixture
def cannot_see_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Process, "is_running", lambda _: None)
    monkeypatch.setattr(lease_module, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(lease_module, "OBSERVED_SECONDS", 0.2)
    monkeypatch.setattr(lease_module, "EXPIRY_SECONDS", 0.3)


def test_starts_are_numbered_and_the_next_one_needs_no_wait(location: Location) -> None:
    for number in (1, 2, 3):
        held = lease(location)
        held.take()
        assert held.fence.start == number
        held.release()
    assert len(list((location.folder / "_leases" / "r").iterdir())) == 1


def test_a_live_start_of_this_machine_is_seen_at_once(location: Location) -> None:
    held = lease(location)
    held.take()
    with pytest.raises(LakeError, match=f"worked on by process {this_process().pid} on"):
        lease(location).wait_until_free()
    held.release()


@pytest.mark.usefixtures("cannot_see_processes")
def test_a_live_start_elsewhere_is_seen_by_its_heartbeat(location: Location) -> None:
    held = lease(location)
    held.take()
    with pytest.raises(LakeError, match="is being worked on by process"):
        lease(location).take()
    held.release()


@pytest.mark.usefixtures("cannot_see_processes")
def test_a_start_without_heartbeats_is_waited_for_once(location: Location) -> None:
    dead = lease(location)
    dead.take()
    assert dead._heart is not None
    dead._heart._end.set()
    dead._heart._thread.join()
    heard: list[str] = []
    next_one = lease(location, heard)
    next_one.wait_until_free()
    next_one.take()
    assert next_one.fence.start == 2
    assert len(heard) == 1
    assert "waiting" in heard[0]
    next_one.release()


def test_the_lock_file_of_this_machine_saves_the_wait(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Process, "is_running", lambda _: None)
    dead = lease(location)
    dead.take()
    heard: list[str] = []
    lease(location, heard, is_locked=True).wait_until_free()
    assert heard == []
    dead.release()


def test_commits_of_an_earlier_start_are_refused_once_a_later_one_has_looked(
    location: Location,
) -> None:
    writer, first = samples(location, "a")
    earlier, later = Fence("r", 1), Fence("r", 2)
    assert commit(writer, first, "append", transaction_of("x", first), {}, earlier).is_new
    raise_fence(writer, later)
    _, second = samples(location, "b")
    with pytest.raises(LakeError, match="was taken over by another start"):
        commit(writer, second, "append", transaction_of("x", second), {}, earlier)
    assert commit(writer, second, "append", transaction_of("x", second), {}, later).is_new


def test_a_commit_prepared_before_the_later_start_looked_is_refused_too(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, files = samples(location, "a")
    old = location.open_table(SAMPLES.name)
    raise_fence(writer, Fence("r", 2))
    opened = Location.open_table
    versions = iter([old])
    monkeypatch.setattr(
        Location, "open_table", lambda self, *args: next(versions, None) or opened(self, *args)
    )
    with pytest.raises(LakeError, match="was taken over by another start"):
        commit(writer, files, "append", transaction_of("x", files), {}, Fence("r", 1))
    assert writer.location.open_table(SAMPLES.name).to_pyarrow_table().num_rows == 0


def test_a_chunk_is_known_by_what_it_holds_and_not_by_its_turn(location: Location) -> None:
    writer, first = samples(location, "a", "b")
    _, same = samples(location, "b", "a")
    _, other = samples(location, "c")
    assert transaction_of("x", first) == transaction_of("x", same)
    fence = Fence("r", 1)
    done = [
        commit(writer, files, "append", transaction_of("x", files), {}, fence).is_new
        for files in (first, other, same)
    ]
    assert done == [True, True, False]
    assert committed_transaction(writer, transaction_of("x", other)[0]) == 1


def test_a_name_that_was_pinned_meanwhile_is_compared_again(
    location: Location, tmp_path: Path
) -> None:
    first = Books(location, config(tmp_path), "1")
    second = Books(location, config(tmp_path, seed=7), "1")
    second.refuse_another_config()  # nothing is pinned yet
    first.pin(None, Fence("r", 1))
    writer = PartitionWriter(PROBLEMS, location, "r", 0)
    files = [writer.write(problems("a"))]
    commit(writer, files, "overwrite", ("restem/r/0/ingest", 1), {}, Fence("r", 1))
    with pytest.raises(LakeError, match="seed: 0 -> 7"):
        second.pin(None, Fence("r", 2))


def test_a_start_whose_name_was_given_another_configuration_commits_no_problems(
    location: Location, tmp_path: Path
) -> None:
    first = Books(location, config(tmp_path), "1")
    first.pin(None, Fence("r", 1))
    second = Books(location, config(tmp_path, seed=7), "1")
    second.pin(None, Fence("r", 2))  # the run has no rows: nothing holds it to the first seed
    writer = PartitionWriter(PROBLEMS, location, "r", 0)
    files = [writer.write(problems("a"))]
    with pytest.raises(LakeError, match="was taken over by another start"):
        commit(writer, files, "overwrite", ("restem/r/0/ingest", 1), {}, Fence("r", 1))
    with pytest.raises(LakeError, match="was taken over by another start"):
        first.pin(None, Fence("r", 1))


def test_a_process_is_told_from_the_next_one_with_its_id() -> None:
    here = this_process()
    assert here.is_running()
    assert Process(here.host, here.boot_id, here.pid_namespace, here.pid, "1").is_running() is False
    assert Process("x", "other", here.pid_namespace, here.pid, here.started).is_running() is None
    assert Process("x", here.boot_id, "pid:[1]", here.pid, here.started).is_running() is None
