"""The faults: what each does to a run, and while which of its processes are alive."""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from benchmarks.fault_places import fill, make_space
from benchmarks.run_processes import (
    DRIVER,
    ENGINE,
    JVM,
    RAYLET,
    SCORER,
    SESSION,
    TRAINER,
    WORKER,
    RunProcess,
    Start,
    roles,
    send,
)

if TYPE_CHECKING:
    from benchmarks.failing_store import FailingStore

FOLDER, STORE = "folder", "store"


class Target(Protocol):
    """The run that a fault is done to."""

    lake: Path
    output: Path
    temporary: Path
    store: FailingStore | None
    chance: random.Random
    stop_seconds: float
    outage_seconds: float
    start: Start
    """The start at work; a fault may put another one in its place."""

    def processes(self) -> list[RunProcess]:
        """The run's processes."""

    def started_too(self) -> Start:
        """One more start of the same command."""


Act = Callable[[Target], str | None]
"""Does a fault and returns what was done; None if there was nothing that it could be done to."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault."""

    name: str
    act: Act
    alive: str = DRIVER
    """The moment is drawn from when there are such processes."""
    lake: str = FOLDER
    num_workers: int = 1
    """Training workers of the run."""
    refused: str = ""
    """The same command may be refused with this in its message, until `mend` was done."""
    mend: Callable[[str], None] = lambda said: None
    """Does what the message says."""


def kill(role: str) -> Act:
    """Kill a process of the run, one of several at random."""

    def act(target: Target) -> str | None:
        found = [one for one in target.processes() if role in roles(one)]
        if not found:
            return None
        hit = found if role == SESSION else [target.chance.choice(found)]
        if not send(hit, signal.SIGKILL):
            return None
        return f"killed {hit[0]}" if len(hit) == 1 else f"killed {len(hit)} processes"

    return act


def stop(target: Target) -> str | None:
    """Stop all of the run's processes for a while."""
    found = target.processes()
    send(found, signal.SIGSTOP)
    time.sleep(target.stop_seconds)
    send(found, signal.SIGCONT)
    return f"stopped {len(found)} processes for {target.stop_seconds:g} s"


def full(place: str) -> Act:
    """Fill a file system of the run until the start ends or has sealed two more stages."""

    def act(target: Target) -> str | None:
        folder: Path = getattr(target, place)
        sealed = len(target.start.sealed)
        fill(folder)
        began = time.monotonic()
        while (
            target.start.code is None
            and len(target.start.sealed) < sealed + 2
            and time.monotonic() - began < target.outage_seconds * 2
        ):
            time.sleep(0.2)
        make_space(folder)
        return f"{place} full for {time.monotonic() - began:.0f} s"

    return act


def _outage(how: Callable[[FailingStore], AbstractContextManager[None]], what: str) -> Act:
    def act(target: Target) -> str | None:
        assert target.store is not None
        with how(target.store):
            target.start.wait(target.outage_seconds)
        return f"{what} for {target.outage_seconds:g} s"

    return act


def two_starts(target: Target) -> str | None:
    """Give the same command again; one of the two must be refused."""
    other = target.started_too()
    while other.code is None and target.start.code is None:
        time.sleep(0.1)
    ended, goes_on = (other, target.start) if target.start.code is None else (target.start, other)
    target.start = goes_on
    ended.wait(5.0)
    if ended.code == 2 and "is being worked on by process" in "\n".join(ended.printed):
        return "the other start was refused"
    return f"the other start ended with {ended.code}: {ended.said}"


def _killed_before(leave: Callable[[Target], str]) -> Act:
    """Kill the run, then leave in the lake what a process that died while it wrote would leave."""
    kill_session = kill(SESSION)

    def act(target: Target) -> str | None:
        done = kill_session(target)
        if done is None:
            return None
        target.start.wait(10.0)
        return f"{done}; {leave(target)}"

    return act


def _torn_parquet(target: Target) -> str:
    """Leave halves of a data file beside the data files, as other writers and file systems do."""
    whole = sorted(target.lake.glob("*/run_id=*/**/*.parquet"))
    if not whole:
        return "no data file yet"
    data = (chosen := target.chance.choice(whole)).read_bytes()
    for name, size in (("part-0torn.parquet", 2), ("part-1torn.parquet.partial", 3)):
        chosen.with_name(name).write_bytes(data[: len(data) // size])
    chosen.with_name("part-2torn.parquet").write_bytes(b"")
    return f"torn files in {chosen.parent.relative_to(target.lake)}"


def _torn_log(target: Target) -> str:
    """Leave the halves that delta-rs and Spark write before they rename or link a log file."""
    newest = _newest_log_file(target)
    if newest is None:
        return "no table yet"
    half = newest.read_bytes()[: newest.stat().st_size // 2]
    following = f"{int(newest.stem) + 1:020}.json"
    for name in (f"{following}#1", f".{following}.5f0e.tmp", "_commit_5f0e.json.tmp"):
        newest.with_name(name).write_bytes(half)
    return f"staging files in {newest.parent.relative_to(target.lake)}"


def _torn_commit(target: Target) -> str:
    """Leave half of the next log file under its final name: no atomic writer does so."""
    newest = _newest_log_file(target)
    if newest is None:
        return "no table yet"
    torn = newest.with_name(f"{int(newest.stem) + 1:020}.json")
    torn.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    return f"torn {torn.relative_to(target.lake)}"


def _newest_log_file(target: Target) -> Path | None:
    logs = [log for log in sorted(target.lake.glob("*/_delta_log")) if any(log.glob("0*.json"))]
    return max(target.chance.choice(logs).glob("0*.json")) if logs else None


def _remove_named_file(said: str) -> None:
    """Do what the message says: remove the log file that it names."""
    found = re.search(r"\S+/_delta_log/\d{20}\.json", said)
    if found is not None:
        Path(found[0]).unlink()


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("driver killed", kill(DRIVER)),
        Kind("session killed", kill(SESSION)),
        Kind("engine killed", kill(ENGINE), alive=ENGINE),
        Kind("Ray worker killed", kill(WORKER), alive=WORKER),
        Kind("raylet killed", kill(RAYLET), alive=RAYLET),
        Kind("JVM killed", kill(JVM), alive=JVM),
        Kind("training worker killed", kill(TRAINER), alive=TRAINER),
        Kind("scoring worker killed", kill(SCORER), alive=SCORER),
        Kind("one of 2 training workers killed", kill(TRAINER), alive=TRAINER, num_workers=2),
        Kind("stopped and continued", stop),
        Kind("lake full", full("lake")),
        Kind("output full", full("output")),
        Kind("temporary files full", full("temporary")),
        Kind("store down", _outage(lambda store: store.down(), "down"), lake=STORE),
        Kind("store slow", _outage(lambda store: store.slow(0.5), "slow"), lake=STORE),
        Kind("torn data files", _killed_before(_torn_parquet)),
        Kind("torn staging files", _killed_before(_torn_log)),
        Kind(
            "torn commit",
            _killed_before(_torn_commit),
            refused="_delta_log",
            mend=_remove_named_file,
        ),
        Kind("two starts", two_starts),
    )
}
