"""Two starts of one run: every chunk is committed once, and the loser is told."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from tests.pipelines.lake.object_store import s3_lake

pytestmark = pytest.mark.slow

WANTED = [f"s{number}" for number in range(6)]


class Start:
    """A start of the run in a process of its own."""

    def __init__(self, folder: Path, lake: dict[str, Any], **settings: Any) -> None:
        given = {"folder": str(folder), "wanted": WANTED, "pause": 0.3, **settings}
        given["changes"] = {"lake": lake, **settings.get("changes", {})}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.pipelines.lake.start_a_run", json.dumps(given)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.printed: list[str] = []

    def until(self, word: str) -> None:
        """Wait for a printed line."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.printed.append(line.rstrip())
            if line.startswith(word):
                return
        raise AssertionError(f"it ended without {word!r}: {self.printed}")

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=30)

    def end(self) -> int:
        """Its exit code."""
        rest, _ = self._process.communicate(timeout=60)
        self.printed += rest.splitlines()
        return self._process.returncode


@pytest.fixture(params=["folder", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    if request.param == "folder":
        yield {"uri": str(tmp_path / "lake")}
        return
    with s3_lake() as section:
        yield section


def drawn(lake: dict[str, Any]) -> list[str]:
    """The committed samples, in order."""
    reader = LakeReader(Location.at(lake["uri"], lake.get("storage_options", {})))
    rows = reader.rows("SELECT sample_id FROM samples ORDER BY sample_id")
    return [row["sample_id"] for row in rows]


def sealed_rows(lake: dict[str, Any]) -> list[int]:
    reader = LakeReader(Location.at(lake["uri"], lake.get("storage_options", {})))
    return [row["rows"] for row in reader.rows("SELECT rows FROM stages WHERE stage = 'generate'")]


def test_the_second_of_two_starts_stops_with_one_line(lake: dict[str, Any], tmp_path: Path) -> None:
    first = Start(tmp_path, lake)
    first.until("committed s0")
    second = Start(tmp_path, lake, wanted=WANTED[::-1])
    assert second.end() == 2, second.printed
    assert "is being worked on by process" in second.printed[-1]
    assert first.end() == 0, first.printed
    assert drawn(lake) == WANTED
    assert sealed_rows(lake) == [6]


def test_two_starts_that_open_a_new_run_together_commit_each_chunk_once(tmp_path: Path) -> None:
    with s3_lake() as lake:
        # Both have opened the lake before one of them commits; the second draws in reverse.
        starts = [
            Start(tmp_path, lake, wait=3.0, pause=0.2),
            Start(tmp_path, lake, wait=3.1, pause=0.1, wanted=WANTED[::-1]),
        ]
        codes = [start.end() for start in starts]
        assert sorted(codes) == [0, 2], [start.printed for start in starts]
        loser = starts[codes.index(2)]
        assert "is being worked on by process" in loser.printed[-1]
        assert drawn(lake) == WANTED
        assert sealed_rows(lake) == [6]


def test_two_starts_with_different_settings_do_not_share_a_name(tmp_path: Path) -> None:
    with s3_lake() as lake:
        first = Start(tmp_path, lake, wait=2.5, pause=0)
        second = Start(tmp_path, lake, wait=6.0, pause=0, changes={"seed": 7})
        first.until("sealed")
        assert first.end() == 0
        assert second.end() == 2, second.printed
        assert "seed: 0 -> 7" in "\n".join(second.printed)
        assert drawn(lake) == WANTED


def test_the_same_command_goes_on_at_once_after_a_kill(
    lake: dict[str, Any], tmp_path: Path
) -> None:
    killed = Start(tmp_path, lake)
    killed.until("committed s1")
    killed.kill()
    again = Start(tmp_path, lake, pause=0, wanted=WANTED[::-1])
    assert again.end() == 0, again.printed
    assert "wrote s0" not in again.printed
    assert drawn(lake) == WANTED
    assert sealed_rows(lake) == [6]


def another_machine(folder: Path, name: str) -> str:
    """A file that a start takes for the id of its machine's kernel."""
    path = folder / f"{name}-boot-id"
    path.write_text(name, encoding="utf-8")
    return str(path)


def test_a_start_on_another_machine_waits_for_the_lease_to_expire(
    lake: dict[str, Any], tmp_path: Path
) -> None:
    killed = Start(tmp_path, lake, machine=another_machine(tmp_path, "a"), no_flock=True, expiry=2)
    killed.until("committed s1")
    killed.kill()
    other = another_machine(tmp_path, "b")
    again = Start(tmp_path, lake, machine=other, no_flock=True, expiry=2, pause=0)
    assert again.end() == 0, again.printed
    assert drawn(lake) == WANTED


def test_a_start_that_was_taken_for_dead_commits_nothing_more(
    lake: dict[str, Any], tmp_path: Path
) -> None:
    first = Start(tmp_path, lake, machine=another_machine(tmp_path, "a"), no_flock=True, expiry=2)
    first.until("wrote s2")
    first.signal(signal.SIGSTOP)
    other = another_machine(tmp_path, "b")
    second = Start(
        tmp_path, lake, machine=other, no_flock=True, expiry=2, wanted=WANTED[::-1], pause=0.3
    )
    second.until("committed s4")
    first.signal(signal.SIGCONT)
    assert first.end() == 2, first.printed
    assert "was taken over by another start" in first.printed[-1]
    assert "committed s2" not in first.printed
    assert second.end() == 0, second.printed
    assert drawn(lake) == WANTED
    assert sealed_rows(lake) == [6]


def test_a_live_start_on_another_machine_is_not_disturbed(
    lake: dict[str, Any], tmp_path: Path
) -> None:
    first = Start(
        tmp_path, lake, machine=another_machine(tmp_path, "a"), no_flock=True, expiry=4, pause=0.7
    )
    first.until("committed s0")
    other = another_machine(tmp_path, "b")
    second = Start(tmp_path, lake, machine=other, no_flock=True, expiry=4)
    assert second.end() == 2, second.printed
    assert "is being worked on by process" in second.printed[-1]
    assert first.end() == 0, first.printed
    assert drawn(lake) == WANTED
