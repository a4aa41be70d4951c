"""The lease: which of a run's starts may write to it.

A start takes the run's next number with a row in `leases`, in a commit that fails if another start has
taken it since, and it records this number with every commit (pipelines/lake/fence.py). That alone
keeps the tables right. The heartbeat, an object that the start writes anew every few seconds, only
answers whether a start that has not given the run back is alive: if it is, a second start is refused;
if it is not, the second start takes the run over. A start that was taken for dead and is not (it was
stopped, or cut off from the store) is refused at its next commit.

How long the second start waits before it takes over:

| the earlier start | wait |
|---|---|
| ended, or was interrupted | none |
| was killed; its process was on this machine, in this container | none |
| was killed; the lake is a folder, and the process was on this machine | none |
| was killed; else | from OBSERVED_SECONDS to EXPIRY_SECONDS |

Within that time a live start shows a new heartbeat. So differing clocks of two machines make the wait
longer, up to EXPIRY_SECONDS, and never take a run from a start that is alive and reaches the store.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from deltalake.exceptions import CommitFailedError

from pipelines.errors import HeldByAnother, LakeError
from pipelines.lake.commit import add_files
from pipelines.lake.fence import Fence, starts_of
from pipelines.lake.files import PartitionWriter
from pipelines.lake.location import Location
from pipelines.lake.lock import run_lock
from pipelines.lake.sql_text import sql_equals
from pipelines.runtime.process import Process, this_process
from pipelines.runtime.version import code_version
from schemas import LEASES

if TYPE_CHECKING:
    from deltalake import DeltaTable

BEAT_SECONDS = 10.0
"""Seconds between two heartbeats of a start."""
OBSERVED_SECONDS = 25.0
"""Seconds for which a heartbeat must not change before its start is taken for dead."""
EXPIRY_SECONDS = 60.0
"""Age of a heartbeat from which OBSERVED_SECONDS are enough; the longest wait."""
_SURELY_DEAD_SECONDS = 24 * 3600.0
_POLLS = 20
"""How often a heartbeat is looked at in OBSERVED_SECONDS."""


@dataclass(frozen=True)
class _Holder:
    """The start that took a run last."""

    start: int
    id: str
    process: Process


@dataclass(frozen=True)
class _Beat:
    """A heartbeat as it was read."""

    number: int
    at: float
    """Seconds since 1970, by the clock of the start's machine."""
    released: bool


class Lease:
    """A start's hold of a run; nothing is written before `take`.

    Args:
        location: the lake.
        run_id: the run.
        code_version: of this start.
        is_locked: whether this process holds the run's lock file.
        say: called with one line if the start has to wait.
    """

    def __init__(
        self,
        location: Location,
        run_id: str,
        code_version: str,
        *,
        is_locked: bool,
        say: Callable[[str], None],
    ) -> None:
        self._location, self._run_id = location, run_id
        self._code_version = code_version
        self._is_locked, self._say = is_locked, say
        self._heart: _Heart | None = None
        self._fence: Fence | None = None
        self._dead: tuple[str, _Beat | None] | None = None
        """A start that was waited for, and its last heartbeat."""

    @property
    def fence(self) -> Fence:
        """What every commit of this start records."""
        assert self._fence is not None, "the run was not taken"
        return self._fence

    def wait_until_free(self) -> None:
        """Return once no other start has the run; nothing is written.

        Raises:
            HeldByAnother: a start that is alive has it.
        """
        holder = self._holder(self._open())
        if holder is not None and self._fence is None:
            self._wait_for(holder)

    def may_be_held(self) -> bool:
        """Whether another start may be at work on the run, as far as one look tells."""
        holder = self._holder(self._open())
        if holder is None:
            return False
        beat = self._beat(holder)
        if (beat is not None and beat.released) or holder.process.is_running() is False:
            return False
        return beat is None or time.time() - beat.at < _SURELY_DEAD_SECONDS

    def take(self) -> None:
        """Take the run's next number, and begin the heartbeat.

        Raises:
            HeldByAnother: a start that is alive has the run.
        """
        heart = _Heart(self._location, self._run_id)
        heart.beat()
        while self._fence is None:
            table = self._open()
            assert table is not None, "the lake's tables were not created"
            last = self._holder(table)
            if last is not None and last.id == heart.id:
                # The commit was made, and its answer was lost.
                self._fence = Fence(self._run_id, last.start)
                break
            try:
                if last is not None:
                    self._wait_for(last)
                # The numbers go on where a run of this name was deleted, with its rows.
                newest = table.transaction_version(starts_of(self._run_id)) or 0
                self._commit(table, heart.id, newest + 1)
            except LakeError:
                heart.remove()
                raise
            if last is not None:
                self._location.delete(_path(self._run_id, last.id))
        self._heart = heart
        heart.start()

    def release(self) -> None:
        """Give the run back, if it was taken."""
        if self._heart is not None:
            self._heart.stop()
            self._heart = None

    def forget(self) -> None:
        """Leave no heartbeat: the run that was taken is deleted."""
        if self._heart is not None:
            self._heart.stop()
            self._heart.remove()
            self._heart = None

    def _commit(self, table: DeltaTable, holder: str, start: int) -> None:
        """Record this start with a number, unless another start took one since `table` was read."""
        import pyarrow as pa

        row = {
            "start": start,
            "holder": holder,
            "process": json.dumps(asdict(this_process())),
            "code_version": self._code_version,
            "taken_at": datetime.now(UTC),
        }
        writer = PartitionWriter(LEASES, self._location, self._run_id, 0)
        rows = pa.Table.from_pylist([row], LEASES.arrow_schema(partition_columns=False))
        fence = Fence(self._run_id, start)
        with contextlib.suppress(CommitFailedError):
            add_files(table, writer, [writer.write(rows)], [fence.transaction], {"start": start})
            self._fence = fence

    def _wait_for(self, holder: _Holder) -> None:
        """Return once a holder has ended, or is taken for dead.

        Raises:
            HeldByAnother: it is alive.
        """
        first = self._beat(holder)
        if (first is not None and first.released) or self._dead == (holder.id, first):
            return
        is_running = holder.process.is_running()
        if is_running:
            raise self._refusal(holder)
        if is_running is False or (self._is_locked and holder.process.is_on_this_kernel):
            return
        age = 0.0 if first is None else time.time() - first.at
        wait = min(EXPIRY_SECONDS, max(OBSERVED_SECONDS, EXPIRY_SECONDS - age))
        self._say(
            f"run {self._run_id!r} was not given back by process {holder.process}; waiting "
            f"{wait:.0f} s to see whether it is still at work"
        )
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            time.sleep(OBSERVED_SECONDS / _POLLS)
            beat = self._beat(holder)
            if beat is not None and beat.released:
                return
            if beat != first:
                raise self._refusal(holder)
        self._dead = (holder.id, first)

    def _refusal(self, holder: _Holder) -> HeldByAnother:
        return HeldByAnother(
            f"run {self._run_id!r} is being worked on by process {holder.process}; wait for it to "
            "end, or choose another name with --name"
        )

    def _open(self) -> DeltaTable | None:
        if not self._location.has_table(LEASES.name):
            return None
        return self._location.open_table(LEASES.name)

    def _holder(self, table: DeltaTable | None) -> _Holder | None:
        """The start that took the run last, at the version of the table that is given."""
        if table is None or not table.transaction_version(starts_of(self._run_id)):
            return None
        import pyarrow as pa
        from deltalake import QueryBuilder

        sql = (
            f"SELECT start, holder, process FROM t WHERE {sql_equals(run_id=self._run_id)} "
            "ORDER BY start DESC LIMIT 1"
        )
        found = QueryBuilder().register("t", table).execute(sql)
        rows = pa.table(found.read_all()).to_pylist()
        if not rows:
            return None  # the run of this name was deleted
        (row,) = rows
        return _Holder(row["start"], row["holder"], Process(**json.loads(row["process"])))

    def _beat(self, holder: _Holder) -> _Beat | None:
        """A holder's heartbeat; None if it cannot be read, which is not a sign of life."""
        try:
            data = self._location.read(_path(self._run_id, holder.id))
            return None if data is None else _Beat(**json.loads(data))
        except (OSError, ValueError):
            return None


class _Heart:
    """Writes the heartbeat of a start, in a thread of its own."""

    def __init__(self, location: Location, run_id: str) -> None:
        self.id = uuid.uuid4().hex
        self._location, self._path = location, _path(run_id, self.id)
        self._number = 0
        self._end = Event()
        self._thread = Thread(target=self._run, name="lease", daemon=True)

    def beat(self, *, released: bool = False) -> None:
        """Write a heartbeat."""
        self._number += 1
        beat: dict[str, Any] = asdict(_Beat(self._number, time.time(), released))
        self._location.write(self._path, json.dumps(beat).encode())

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Write the last heartbeat: the run is given back."""
        self._end.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self.beat(released=True)

    def remove(self) -> None:
        """Delete the heartbeat of a start that did not get the run."""
        with contextlib.suppress(OSError):
            self._location.delete(self._path)

    def _run(self) -> None:
        while not self._end.wait(BEAT_SECONDS):
            # A store that does not answer: the next beat may reach it. If none does for
            # EXPIRY_SECONDS, another start may take the run, and commits of this one are refused.
            with contextlib.suppress(OSError):
                self.beat()


def _path(run_id: str, holder: str) -> str:
    return f"_leases/{run_id}/{holder}.json"


@contextmanager
def taken_run(location: Location, run_id: str, say: Callable[[str], None]) -> Iterator[Lease]:
    """Take a run for a change of all of it, in a lake that has its tables; give it back at the end.

    Args:
        location: the lake.
        run_id: the run, which may be a new one.
        say: called with one line if the start has to wait.

    Raises:
        HeldByAnother: a start that is alive has the run.
    """
    with ExitStack() as stack:
        with _without_another_name():
            is_locked = stack.enter_context(run_lock(location, run_id))
            lease = Lease(location, run_id, code_version(), is_locked=is_locked, say=say)
            lease.wait_until_free()
            lease.take()
        stack.callback(lease.release)
        yield lease


def require_free(location: Location, run_id: str, say: Callable[[str], None]) -> None:
    """Require that no start has a run; nothing is written.

    Raises:
        HeldByAnother: a start that is alive has it.
    """
    with _without_another_name():
        Lease(location, run_id, code_version(), is_locked=False, say=say).wait_until_free()


@contextmanager
def _without_another_name() -> Iterator[None]:
    """Turn the advice to a run that is held into one for a command on that very run."""
    try:
        yield
    except HeldByAnother as error:
        by_whom = str(error).partition(";")[0]
        raise HeldByAnother(f"{by_whom}; wait for it to end, or stop it") from None


def held_runs(location: Location) -> set[str]:
    """The runs that a start may be working on; none is waited for.

    A start that has not given its run back counts, unless its process is known to have ended or its
    last heartbeat is older than a day.
    """
    if not location.has_table(LEASES.name):
        return set()
    import pyarrow as pa
    from deltalake import QueryBuilder

    table = location.open_table(LEASES.name)
    sql = "SELECT DISTINCT run_id FROM t"
    found = pa.table(QueryBuilder().register("t", table).execute(sql).read_all())
    runs = {str(run) for run in found["run_id"].to_pylist()}
    leases = {run: Lease(location, run, "", is_locked=False, say=lambda _: None) for run in runs}
    return {run for run, lease in leases.items() if lease.may_be_held()}
