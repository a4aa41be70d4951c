"""Copy the tables of a run to a run of another name: its rows, its checks and its seals.

Files hold no run's name (it is a partition column), so they are copied as they are. Every version of a
partition that a seal names is committed, oldest first: the copied seals name versions that hold what
the seals of the run hold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import pyarrow as pa

from pipelines.lake.commit import AppTransaction, Mode, commit, committed_transaction
from pipelines.lake.fence import Fence
from pipelines.lake.files import PartitionWriter
from pipelines.lake.location import Location
from pipelines.lake.messages import newest_message, version_of_message
from pipelines.lake.run_state import RunState, run_state
from pipelines.lake.seal import Seal
from pipelines.lake.sql_text import sql_equals
from pipelines.stage import WrittenFile
from schemas import CHECKS, LEASES, RUNS, STAGES, TABLES
from schemas.table import Table

Partition = tuple[str, int]
"""Table and iteration."""
Copies = Mapping[Partition, Mapping[int, int]]
"""Version of a partition -> the version that holds its copy."""
COPIED_FROM = "copied_from"
"""In an input of a seal: the run whose rows were copied."""
_TABLES = {table.name: table for table in TABLES}
_OWN_RECORDS = (RUNS, STAGES, CHECKS, LEASES)
_NUMBERED = ("", "attempt", "obsolete")
"""What follows a stage's name in the application ids of its numbered commits."""


@dataclass(frozen=True)
class RunCopy:
    """Copies of one run's partitions under another name; what is copied is not copied again.

    Args:
        location: the lake.
        run: the run that is copied.
        copy: the other name.
        fence: of the start that has the other name.
        fork: hash of the configuration of a fork; None if the run is renamed. A fork's seals say where
            the rows are from, and it is another run in the tracker.
    """

    location: Location
    run: str
    copy: RunState
    fence: Fence
    fork: str | None = None

    def copy_sealed(self, seals: Sequence[Seal]) -> None:
        """Copy the rows of some sealed stages, with their checks and seals."""
        self._copy(seals, {}, {(seal.table_name, seal.iteration) for seal in seals})

    def copy_all(self, seals: Sequence[Seal], stages: Mapping[Partition, str]) -> None:
        """Copy a run with what is committed and not sealed.

        Args:
            seals: all that it has.
            stages: the stages that make its tables.
        """
        unsealed = {partition: stages.get(partition) for partition in self._partitions()}
        self._copy(seals, unsealed, None)

    def _copy(
        self,
        seals: Sequence[Seal],
        unsealed: Mapping[Partition, str | None],
        checked: set[Partition] | None,
    ) -> None:
        versions: dict[Partition, set[int]] = defaultdict(set)
        stages: dict[Partition, set[str]] = defaultdict(set)
        for seal in seals:
            stages[seal.table_name, seal.iteration].add(seal.stage)
            versions[seal.table_name, seal.iteration].add(seal.version)
            for item in _inputs(seal):
                versions[item["table"], item["iteration"]].add(item["version"])
        for partition, stage in unsealed.items():
            stages[partition] |= set() if stage is None else {stage}
            versions[partition].add(self.location.open_table(partition[0]).version())
        copies: Copies = {
            partition: self._copy_partition(
                partition, sorted(versions[partition]), sorted(stages[partition]),
                unsealed.get(partition),
            )
            for partition in sorted(versions)
        }  # fmt: skip
        self._copy_checks(copies, stages, checked)
        self._copy_seals(seals, copies)

    def _copy_partition(
        self,
        partition: Partition,
        versions: Sequence[int],
        stages: Sequence[str],
        unsealed: str | None,
    ) -> dict[int, int]:
        """Commit the versions of a partition; each with the version that holds the copy."""
        copies: dict[int, int] = {}
        earlier: set[str] = set()
        for number, version in enumerate(versions, 1):
            files = self._files(partition, version)
            if number > 1 and files == earlier:
                copies[version] = copies[versions[number - 2]]
                continue
            message: dict[str, Any] = {}
            if unsealed is not None and version == versions[-1]:
                message = self._newest_message(partition, unsealed)
            also = self._transactions(partition, version, stages)
            # Where rows were added to a sealed table, only they are copied.
            is_added = number > 1 and earlier <= files
            paths = sorted(files - earlier if is_added else files)
            mode: Mode = "append" if is_added else "overwrite"
            copies[version] = self._commit(partition, number, paths, mode, message, also)
            earlier = files
        return copies

    def _commit(
        self,
        partition: Partition,
        number: int,
        paths: Sequence[str],
        mode: Mode,
        message: Mapping[str, Any],
        also: Sequence[AppTransaction],
    ) -> int:
        """Commit copies of files, unless this was done; the version that holds them."""
        writer, app_id = self._writer(partition), self.copy.app_id("copy", *partition)
        key = {"run": self.copy.run_id, "copied_from": self.run, "copy": f"{app_id} {number}"}
        if committed_transaction(writer, app_id) < number:
            files = [self._copied_file(writer, path) for path in paths]
            done = commit(
                writer, files, mode, (app_id, number), {**message, **key}, self.fence, also
            )
            if done.is_new:
                return done.version
        return version_of_message(writer, key)

    def _copied_file(self, writer: PartitionWriter, path: str) -> WrittenFile:
        data = self.location.read(f"{writer.table.name}/{path}")
        assert data is not None, f"{path} is named by a version of {writer.table.name}"
        return writer.write_copy(data)

    def _files(self, partition: Partition, version: int) -> set[str]:
        """The files of the run's partition at a version."""
        name, iteration = partition
        table = self.location.open_table(name, version)
        uris = table.file_uris(
            file_pruning_predicate=sql_equals(run_id=self.run, iteration=iteration)
        )
        return {self.location.path_in(name, uri) for uri in uris}

    def _partitions(self) -> list[Partition]:
        """The partitions in which the run has rows that stages made."""
        found: set[Partition] = set()
        for table in TABLES:
            if table not in _OWN_RECORDS and self.location.has_table(table.name):
                delta = self.location.open_table(table.name)
                own = delta.partitions(file_pruning_predicate=sql_equals(run_id=self.run))
                found |= {(table.name, int(row["iteration"])) for row in own}
        return sorted(found)

    def _newest_message(self, partition: Partition, stage: str) -> dict[str, Any]:
        """What the run recorded of a stage that is not sealed: its seconds, measures, settings."""
        name, iteration = partition
        writer = PartitionWriter(_TABLES[name], self.location, self.run, iteration)
        return newest_message(writer, {"run": self.run, "iteration": iteration, "stage": stage})

    def _transactions(
        self, partition: Partition, version: int, stages: Sequence[str]
    ) -> list[AppTransaction]:
        """What the run's stages had committed at a version, as commits of the other name."""
        name, iteration = partition
        table, state = self.location.open_table(name, version), run_state(self.location, self.run)
        found = []
        for stage in stages:
            for part in _NUMBERED:
                key = (iteration, stage, part) if part else (iteration, stage)
                number = table.transaction_version(state.app_id(*key))
                if number:
                    found.append((self.copy.app_id(*key), number))
        return found

    def _copy_checks(
        self,
        copies: Copies,
        stages: Mapping[Partition, set[str]],
        partitions: set[Partition] | None,
    ) -> None:
        also: dict[int, list[AppTransaction]] = defaultdict(list)
        rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in self._rows(CHECKS):
            partition = (row["table_name"], row["iteration"])
            if partitions is not None and partition not in partitions:
                continue
            if row["version"] is not None:
                there = copies.get(partition, {})
                row["version"] = there.get(row["version"], max(there.values(), default=0))
            rows[row["iteration"]].append(row)
            for stage in stages.get(partition, ()):
                app_id = self.copy.app_id(row["iteration"], stage, "checks")
                also[row["iteration"]].append((app_id, row["attempt"]))
        for iteration, own in sorted(rows.items()):
            newest = dict(sorted(also[iteration], key=itemgetter(1)))
            self._append(CHECKS, iteration, own, list(newest.items()))

    def _copy_seals(self, seals: Sequence[Seal], copies: Copies) -> None:
        by_iteration: dict[int, list[Seal]] = defaultdict(list)
        for seal in seals:
            by_iteration[seal.iteration].append(seal)
        for iteration, own in sorted(by_iteration.items()):
            numbers = {seal.stage: seal.attempt for seal in sorted(own, key=_attempt)}
            also = [(self.copy.app_id(iteration, k, "seal"), n) for k, n in numbers.items()]
            rows = [self._copied_seal(seal, copies).to_row() for seal in own]
            self._append(STAGES, iteration, rows, also)

    def _copied_seal(self, seal: Seal, copies: Copies) -> Seal:
        inputs = tuple(
            {**item, "version": copies[item["table"], item["iteration"]][item["version"]]}
            for item in _inputs(seal)
        )
        version = copies[seal.table_name, seal.iteration][seal.version]
        if self.fork is None:
            origins = tuple(item for item in seal.inputs if COPIED_FROM in item)
            return replace(seal, version=version, inputs=(*inputs, *origins))
        origin = {"table": seal.table_name, "iteration": seal.iteration, "version": seal.version}
        return replace(
            seal,
            version=version,
            inputs=(*inputs, {**origin, COPIED_FROM: self.run}),
            config_hash=self.fork,
            mlflow_run_id=None,
        )

    def _append(
        self,
        table: Table,
        iteration: int,
        rows: Sequence[Mapping[str, Any]],
        also: Sequence[AppTransaction],
    ) -> None:
        writer = self._writer((table.name, iteration))
        transaction = (self.copy.app_id("copy", table.name, iteration), 1)
        schema = table.arrow_schema(partition_columns=False)
        own = [{name: row[name] for name in schema.names} for row in rows]
        file = writer.write(pa.Table.from_pylist(own, schema))
        message = {"run": self.copy.run_id, "table": table.name, "copied_from": self.run}
        commit(writer, [file], "append", transaction, message, self.fence, also)

    def _rows(self, table: Table) -> list[dict[str, Any]]:
        from deltalake import QueryBuilder

        delta = self.location.open_table(table.name)
        sql = f"SELECT * FROM t WHERE {sql_equals(run_id=self.run)}"
        return pa.table(QueryBuilder().register("t", delta).execute(sql).read_all()).to_pylist()

    def _writer(self, partition: Partition) -> PartitionWriter:
        name, iteration = partition
        return PartitionWriter(_TABLES[name], self.location, self.copy.run_id, iteration)


def _inputs(seal: Seal) -> list[dict[str, Any]]:
    """What a stage read; not where its rows were copied from, if they were."""
    return [item for item in seal.inputs if COPIED_FROM not in item]


def _attempt(seal: Seal) -> int:
    return seal.attempt
