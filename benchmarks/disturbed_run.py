"""A tiny run, undisturbed or with faults, and what is checked after each of them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.failing_store import FailingStore
from benchmarks.fault_kinds import STORE, Kind
from benchmarks.fault_moments import (
    Interval,
    Moment,
    Sealed,
    Timeline,
    drawn_from,
    intervals_of,
    moment_at,
    moment_in_life,
)
from benchmarks.fault_places import SHARED_MEMORY, mount_tmpfs, unmount
from benchmarks.fault_records import (
    BY_HAND,
    CHUNK_PROMPTS,
    FAILED,
    HUNG,
    SAME_COMMAND,
    WENT_ON,
    Record,
)
from benchmarks.fault_tables import (
    Rows,
    Snapshot,
    compare,
    drawn_in_vain,
    num_prompts,
    snapshot,
)
from benchmarks.run_processes import (
    MARK,
    SHORT_LIVED,
    VICTIMS,
    RunProcess,
    Start,
    processes_of,
    roles,
    send,
)
from pipelines.lake.location import Location
from tests.pipelines.lake.object_store import s3_lake, spark_conf, storage_options
from tests.tiny_loop import write_project

S3_JARS = "RESTEM_S3_JARS"
"""Environment variable: folder with the jars of Spark's S3 connector (jobs/README.md)."""
_MAX_EPOCHS = 8
_SIZE = "512m"
_STAYS = ("ray", "torchinductor_")
_STARTS_TO_THE_END = 3


@dataclass(frozen=True)
class Settings:
    """How long is waited for what, in seconds."""

    seed: int
    private: bool
    """Whether there are file systems of the run's own."""
    settle: float
    """For processes to end and files to go, at most."""
    patience: float
    """For a start to go on or to end."""
    stop: float
    outage: float
    printed: Path
    """Folder that keeps what starts printed that ended by themselves with an error."""


@dataclass(frozen=True)
class Reference:
    """An undisturbed run."""

    timeline: Timeline
    results: Rows
    left: list[str]

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Reference:
        """From JSON."""
        read = json.loads(text)
        line = read["timeline"]
        sealed = tuple(Sealed(**one) for one in line["sealed"])
        alive = {
            role: [(begin, end) for begin, end in line["alive"][role]] for role in line["alive"]
        }
        return cls(Timeline(line["seconds"], sealed, alive), read["results"], read["left"])


@dataclass(frozen=True)
class Planned:
    """A fault that is to be done."""

    kind: Kind
    moment: Moment


@dataclass(frozen=True)
class Trained:
    """How far a start came with the M-step, in examples of all epochs."""

    done_before: int
    reached: int
    per_epoch: int


class DisturbedRun:
    """A run in folders of its own, which are removed at the end.

    Args:
        model: the tiny model's folder.
        settings: how long is waited.
        number: of the run.
        lake: FOLDER or STORE.
        num_workers: training workers.
    """

    def __init__(
        self, model: Path, settings: Settings, number: int, lake: str, num_workers: int
    ) -> None:
        self.settings, self.number = settings, number
        self.stop_seconds, self.outage_seconds = settings.stop, settings.outage
        self.chance = random.Random(f"{settings.seed}/{number}")
        self._model, self._kind_of_lake, self._num_workers = model, lake, num_workers
        self.store: FailingStore | None = None
        self._sessions: set[int] = set()
        self._done: set[str] = set()
        self._snapshots: list[Snapshot] = []
        self._in_vain: set[str] = set()
        self._trained: Trained | None = None
        self._trained_until: Record | None = None
        """The fault that ended the start which trained."""
        self._open = ExitStack()

    def __enter__(self) -> Self:
        # Short: the paths of Ray's sockets, which lie below, may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="rf-", dir="/tmp"))
        self.lake, self.output = self.folder / "lake", self.folder / "data"
        self.temporary = self.folder / "tmp"
        self._mark = self.folder.name
        self._open.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._shared_before = _names(SHARED_MEMORY)
        for folder in (self.lake, self.output, self.temporary):
            folder.mkdir()
            if self.settings.private:
                mount_tmpfs(folder, _SIZE)
                self._open.callback(unmount, folder)
        self._open.callback(self._kill_all)
        shutil.copytree(self._model, self.folder / "model")
        sections: dict[str, dict[str, Any]] = {
            "sampling": {"max_tokens": 16},
            "improve": {"max_epochs": _MAX_EPOCHS, "patience": _MAX_EPOCHS, "batch_size": 1},
            # One sequence at a time, in float32: the same samples in any order of chunks.
            "engine": {"chunk_prompts": CHUNK_PROMPTS, "dtype": "float32", "max_num_seqs": 1},
            "training": {"dtype": "float32", "num_workers": self._num_workers},
        }
        self.location = Location(str(self.lake))
        if self._kind_of_lake == STORE:
            sections |= self._in_a_store()
        self.config = write_project(self.folder, num_iterations=1, **sections)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def _in_a_store(self) -> dict[str, dict[str, Any]]:
        lake = self._open.enter_context(s3_lake())
        options = lake["storage_options"]
        # What is checked goes past the proxy, in whose process it is.
        self.location = Location.at(lake["uri"], options)
        self.store = FailingStore(int(options["AWS_ENDPOINT_URL"].rpartition(":")[2]))
        self._open.callback(self.store.close)
        endpoint = f"http://127.0.0.1:{self.store.port}"
        jars = ",".join(map(str, sorted(Path(os.environ[S3_JARS]).glob("*.jar"))))
        return {
            "lake": {"uri": lake["uri"], "storage_options": storage_options(endpoint)},
            "spark": {"conf": spark_conf(endpoint, jars)},
        }

    def processes(self) -> list[RunProcess]:
        """The run's processes."""
        return processes_of(self._sessions, self._mark)

    def started_too(self) -> Start:
        """One more start of the same command."""
        environment = {MARK: self._mark, "TMPDIR": str(self.temporary)}
        start = Start(["run", str(self.config)], environment)
        self._sessions.add(start.pid)
        return start

    def undisturbed(self) -> Reference:
        """Run to the end, and note when what was there.

        Raises:
            SystemExit: the run fails.
        """
        self.start = self.started_too()
        seen: dict[str, list[tuple[float, bool]]] = {role: [] for role in VICTIMS}
        while self.start.code is None:
            now = {role for process in self.processes() for role in roles(process)}
            for role, looks in seen.items():
                looks.append((self.start.seconds, role in now))
            time.sleep(0.2)
        seconds = self.start.seconds
        if self.start.code:
            raise SystemExit("\n".join(self.start.printed))
        self._ended()
        alive: dict[str, list[Interval]] = {role: intervals_of(seen[role]) for role in seen}
        timeline = Timeline(seconds, tuple(self.start.sealed), alive)
        return Reference(timeline, snapshot(self.location).results, self._left())

    def planned(self, kinds: Sequence[Kind], timeline: Timeline) -> list[Planned]:
        """The faults in the order of their moments, which are drawn on an undisturbed run's timeline."""
        drawn = [
            (drawn_from(timeline.alive[one.alive], self.chance.random()), one) for one in kinds
        ]
        drawn.sort(key=lambda one: one[0])
        return [Planned(kind, _moment(timeline, seconds, kind.alive)) for seconds, kind in drawn]

    def disturb(self, kinds: Sequence[Kind], reference: Reference) -> list[Record]:
        """Run to the end, with faults; each has the damage that all of them did."""
        records: list[Record] = []
        self.start = self.started_too()
        startup = reference.timeline.startup
        for planned in self.planned(kinds, reference.timeline):
            if not self.start.wait_for(planned.moment, self._done, startup):
                if self.start.code == 0:
                    break
                self._fails_later(records)
                self._again(records)
                continue
            record = self._hit(planned)
            if record is None:
                continue
            records.append(record)
            if self.start.code not in (None, 0):
                self._again(records, planned.kind)
        self._to_the_end(records)
        damage = compare(self._snapshots, snapshot(self.location), reference.results)
        for record in records:
            record.lost, record.doubled = damage.lost, damage.doubled
            record.changed, record.differing = damage.changed, damage.differing
        if records:
            records[-1].left += self._left()
        return records

    def _hit(self, planned: Planned) -> Record | None:
        """Do a fault and see what the start does; None if there was nothing to do it to."""
        self._snapshots.append(snapshot(self.location))
        if planned.moment.in_life:
            self._wait_for_age(planned)
        while (did := planned.kind.act(self)) is None and self.start.code is None:
            time.sleep(0.2)  # there is no such process yet
        if did is None:
            return None
        record = Record(
            kind=planned.kind.name,
            seed=self.settings.seed,
            run=self.number,
            moment=str(planned.moment),
            did=did,
            outcome=WENT_ON,
        )
        seconds = self.start.wait_for_progress(self.settings.patience)
        if seconds is None:
            record.outcome = HUNG
            send(self.processes(), signal.SIGKILL)
            self.start.wait(30.0)
        elif self.start.code in (None, 0):
            record.seconds = seconds
        else:
            record.outcome = SAME_COMMAND
        self._note_what_was_said(record)
        return record

    def _wait_for_age(self, planned: Planned) -> None:
        """Wait until a process of the fault's role has an age, or has come and gone."""
        began: float | None = None
        while self.start.code is None:
            is_there = any(planned.kind.alive in roles(one) for one in self.processes())
            now = time.monotonic()
            if began is not None and (not is_there or now - began >= planned.moment.offset):
                return
            if is_there and began is None:
                began = now
            time.sleep(0.2)

    def _note_what_was_said(self, record: Record) -> None:
        """Note the last line of a start that ended by itself with an error."""
        if self.start.code is not None and self.start.code > 0:
            record.code = self.start.code
            record.said = self.start.said
            name = f"seed-{record.seed}-run-{record.run}-{self.start.pid}.txt"
            (self.settings.printed / name).write_text("\n".join(self.start.printed))
        record.traceback |= "Traceback" in "\n".join(self.start.printed)

    def _fails_later(self, records: list[Record]) -> None:
        """Note that a start ended by itself, some time after a fault that it seemed to survive."""
        if records:
            records[-1].outcome = SAME_COMMAND
            self._note_what_was_said(records[-1])

    def _again(self, records: list[Record], kind: Kind | None = None) -> None:
        """Give the same command again, after the one that ended."""
        record = records[-1] if records else None
        if kind is not None and kind.refused and record is not None:
            self._do_what_is_said(record, kind)
        self._ended(record)
        self.start = self.started_too()
        if record is not None and record.seconds is None:
            seconds = self.start.wait_for_progress(self.settings.patience)
            if self.start.code in (None, 0):
                record.seconds = seconds

    def _do_what_is_said(self, record: Record, kind: Kind) -> None:
        """Give the same command, which is refused, and do what its message says."""
        self._done |= {one.label for one in self.start.sealed}
        self.start = self.started_too()
        if self.start.wait(self.settings.patience) == 2 and kind.refused in self.start.said:
            record.outcome, record.code, record.said = BY_HAND, 2, self.start.said
            kind.mend(self.start.said)

    def _to_the_end(self, records: list[Record]) -> None:
        """Let the run end, with the same command again if need be."""
        for _ in range(_STARTS_TO_THE_END):
            code = self.start.wait(2 * self.settings.patience)
            if code == 0:
                self._ended(records[-1] if records else None)
                return
            if code is None:
                send(self.processes(), signal.SIGKILL)
                self.start.wait(30.0)
            self._fails_later(records)
            self._again(records)
        if records:
            records[-1].outcome, records[-1].said = FAILED, self.start.said
        self._ended(records[-1] if records else None)

    def _ended(self, record: Record | None = None) -> None:
        """Wait for the processes of a start that ended, and measure what it did in vain."""
        began = time.monotonic()
        while (left := self.processes()) and time.monotonic() - began < self.settings.settle:
            time.sleep(0.1)
        seconds = time.monotonic() - began
        send(left, signal.SIGKILL)
        self._done |= {one.label for one in self.start.sealed}
        self._snapshots.append(snapshot(self.location))
        in_vain, trained = drawn_in_vain(self.location), self._progress()
        if record is not None:
            record.gone_seconds = max(seconds, record.gone_seconds or 0.0)
            record.left += [f"process {one}" for one in left]
            record.prompts_again += num_prompts(self.location, in_vain - self._in_vain)
        self._in_vain = in_vain
        if trained is not None:
            if self._trained_until is not None and self._trained is not None:
                self._trained_until.epochs_again = epochs_again(self._trained, trained)
            self._trained, self._trained_until = trained, record

    def _progress(self) -> Trained | None:
        """How far the last start came with the M-step, if it came to it; looked at once."""
        file = self.output / "runs" / "tiny" / "policy-1" / "progress.jsonl"
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
            file.unlink()
        except OSError:
            return None
        return trained_in(lines)

    def _left(self) -> list[str]:
        """What is left outside the run's folders."""
        shared = sorted(_names(SHARED_MEMORY) - self._shared_before)
        rays = sorted(_names(self.temporary / "ray"))
        # torch's cache is each user's, and made to stay.
        others = [one for one in sorted(_names(self.temporary)) if not one.startswith(_STAYS)]
        return [
            *(f"/dev/shm/{name}" for name in shared),
            *(f"tmp/ray/{name}" for name in rays),
            *(f"tmp/{name}" for name in others),
        ]

    def _kill_all(self) -> None:
        send(self.processes(), signal.SIGKILL)


def trained_in(lines: Sequence[str]) -> Trained | None:
    """How far an M-step came, from the lines of its progress file; None if it trained nothing."""
    events = []
    for line in lines:
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            continue  # the last one, torn
    began = next((event for event in events if event["event"] == "started"), None)
    if began is None:
        return None
    stepped = sum(event["examples"] for event in events if event["event"] == "stepped")
    return Trained(began["done"], began["done"] + stepped, began["examples"] // _MAX_EPOCHS)


def epochs_again(earlier: Trained, later: Trained) -> float:
    """Epochs that an earlier start had trained and a later one trained again."""
    return max(0.0, (earlier.reached - later.done_before) / max(later.per_epoch, 1))


def _moment(timeline: Timeline, seconds: float, role: str) -> Moment:
    if role in SHORT_LIVED:
        return moment_in_life(timeline, seconds, role)
    return moment_at(timeline, seconds)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
