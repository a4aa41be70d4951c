"""The lake's promises, on a real Delta table; the stages are tiny and real."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.config import RunConfig
from pipelines.errors import ExpectationsFailed, InputError, LakeError
from pipelines.lake.lake import Lake, open_lake
from pipelines.lake.snapshot import TableSnapshot
from pipelines.runtime.progress import SilentProgress
from pipelines.stage import (
    ArrowStage,
    FileWriter,
    Snapshot,
    StageContext,
    StreamStage,
    WrittenFile,
)
from schemas import PROBLEMS, SAMPLES
from tests.doubles import FakeEngines, OneRuleGate, QuietListener
from tests.factories import arrow


def config(folder: Path, **changes: Any) -> RunConfig:
    tree = {
        "name": "r",
        "problems": {"sources": [{"kind": "jsonl", "location": "x.jsonl"}]},
        "lake": {"uri": str(folder / "lake")},
    }
    return RunConfig.model_validate({**tree, **changes})


def opened(folder: Path, **changes: Any) -> AbstractContextManager[Lake]:
    gate = OneRuleGate({"problems": "question", "samples": "solution"}, "bad")
    settings = config(folder, **changes)
    return open_lake(settings, FakeEngines(), gate, QuietListener(), SilentProgress())


def ingest(function: Callable[..., pa.Table]) -> ArrowStage:
    return ArrowStage(name="ingest", table=PROBLEMS, function=function)


def problems(*questions: str) -> pa.Table:
    rows = arrow(PROBLEMS, *({"question": text} for text in questions))
    return rows.drop_columns(["run_id", "iteration"])


class Counted:
    """A stage's function that counts its calls."""

    def __init__(self, rows: pa.Table) -> None:
        self.rows, self.calls = rows, 0

    def __call__(self, context: StageContext, *inputs: Snapshot) -> pa.Table:
        self.calls += 1
        return self.rows


def one_file_a_sample(calls: list[str], wanted: list[str], die_after: int = 99) -> StreamStage:
    def draw(
        _: StageContext, *, committed: Snapshot, writer: FileWriter
    ) -> Iterator[list[WrittenFile]]:
        done = set(committed.arrow(["sample_id"]).column("sample_id").to_pylist())
        for number, sample_id in enumerate(item for item in wanted if item not in done):
            if number == die_after:
                raise RuntimeError("killed")
            calls.append(sample_id)
            row = arrow(SAMPLES, {"sample_id": sample_id})
            yield [writer.write(row.drop_columns(["run_id", "iteration"]))]

    return StreamStage(name="generate", table=SAMPLES, function=draw)


def test_a_sealed_stage_is_not_run_again_in_another_start(tmp_path: Path) -> None:
    stage = Counted(problems("a", "b"))
    with opened(tmp_path) as lake:
        first = lake.materialize(ingest(stage), 0)
    with opened(tmp_path) as lake:
        second = lake.materialize(ingest(stage), 0)
    assert stage.calls == 1
    assert first == second
    assert second.arrow(["question"]).column("question").to_pylist() == ["a", "b"]


def test_a_stage_committed_but_not_sealed_is_sealed_without_running_again(tmp_path: Path) -> None:
    stage = Counted(problems("a"))
    with opened(tmp_path) as lake:
        lake._books.seal = _killed  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            lake.materialize(ingest(stage), 0)
    with opened(tmp_path) as lake:
        snapshot = lake.materialize(ingest(stage), 0)
    assert stage.calls == 1
    assert snapshot.count() == 1


def _killed(*args: Any, **kwargs: Any) -> Any:
    raise KeyboardInterrupt


def test_rows_that_break_a_critical_expectation_are_never_committed(tmp_path: Path) -> None:
    with opened(tmp_path) as lake:
        with pytest.raises(ExpectationsFailed, match="1 rows are bad"):
            lake.materialize(ingest(Counted(problems("a", "bad"))), 0)
        snapshot = lake.materialize(ingest(Counted(problems("a"))), 0)
    assert snapshot.count() == 1


def test_a_stream_resumes_behind_its_last_commit_and_changes_no_committed_row(
    tmp_path: Path,
) -> None:
    wanted = [f"s{number}" for number in range(6)]
    calls: list[str] = []
    with opened(tmp_path) as lake, pytest.raises(RuntimeError, match="killed"):
        lake.materialize(one_file_a_sample(calls, wanted, die_after=3), 0)
    with opened(tmp_path) as lake:
        before = _rows(lake)
        snapshot = lake.materialize(one_file_a_sample(calls, wanted), 0)
    assert calls == wanted
    assert [row["sample_id"] for row in before] == wanted[:3]
    assert snapshot.arrow().slice(0, 3).to_pylist() == before
    assert snapshot.count() == 6


def _rows(lake: Lake) -> list[dict[str, Any]]:
    return lake.latest_snapshot(SAMPLES, 0).arrow().to_pylist()


def counting(wanted: list[str], die_after: int = 99, slow: float = 0.0) -> StreamStage:
    """As `one_file_a_sample`, with a measure of what is drawn."""
    inner = one_file_a_sample([], wanted, die_after)

    def draw(
        context: StageContext, *, committed: Snapshot, writer: FileWriter
    ) -> Iterator[list[WrittenFile]]:
        for files in inner.function(context, committed=committed, writer=writer):
            time.sleep(slow)
            context.measures["tokens"] = context.measures.get("tokens", 0) + 10
            yield files

    return StreamStage(name="generate", table=SAMPLES, function=draw)


def test_a_seal_holds_the_seconds_and_measures_of_all_starts(tmp_path: Path) -> None:
    wanted = [f"s{number}" for number in range(5)]
    with opened(tmp_path) as lake, pytest.raises(RuntimeError, match="killed"):
        lake.materialize(counting(wanted, die_after=3, slow=0.3), 0)
    with opened(tmp_path) as lake:
        lake.materialize(counting(wanted), 0)
        seal = lake._seals[0, "generate"]
    assert seal.measures["tokens"] == 50
    assert seal.seconds > 0.9


def test_a_kill_between_the_last_commit_and_the_seal_loses_no_measure(tmp_path: Path) -> None:
    def measured(context: StageContext) -> pa.Table:
        context.measures["loss"] = 0.5
        time.sleep(0.3)
        return problems("a")

    stages = (counting(["s0", "s1"], slow=0.2), ingest(measured))
    for stage in stages:
        with opened(tmp_path) as lake:
            lake._books.seal = _killed  # type: ignore[method-assign]
            with pytest.raises(KeyboardInterrupt):
                lake.materialize(stage, 0)
    with opened(tmp_path) as lake:
        for stage in stages:
            lake.materialize(stage, 0)
        drawn, read = lake._seals[0, "generate"], lake._seals[0, "ingest"]
    assert (drawn.measures, read.measures) == ({"tokens": 20}, {"loss": 0.5})
    assert drawn.seconds > 0.4
    assert read.seconds > 0.3


def test_a_snapshot_keeps_its_version_when_the_table_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path) as lake:
        first = lake.materialize(ingest(Counted(problems("a"))), 0)
        lake.materialize(ingest(Counted(problems("b", "c"))), 1)
    assert first.count() == 1
    assert first.arrow(["iteration"]).column("iteration").to_pylist() == [0]


def test_a_changed_configuration_is_refused_with_the_difference_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as lake:
        lake.materialize(ingest(Counted(problems("a"))), 0)
    before = _files(tmp_path)
    with (
        pytest.raises(LakeError, match=r"sampling.temperature: 0.7 -> 0.9"),
        opened(tmp_path, sampling={"temperature": 0.9}),
    ):
        pass
    assert _files(tmp_path) == before


def test_settings_of_speed_may_change_between_two_starts(tmp_path: Path) -> None:
    stage = Counted(problems("a"))
    with opened(tmp_path) as lake:
        lake.materialize(ingest(stage), 0)
    with opened(tmp_path, engine={"replicas": 2, "chunk_prompts": 4}) as lake:
        lake.materialize(ingest(stage), 0)
    assert stage.calls == 1


def test_a_stage_that_fails_before_its_commit_leaves_nothing_and_no_name_pinned(
    tmp_path: Path,
) -> None:
    def refuse(_: StageContext) -> pa.Table:
        raise InputError("x.jsonl: row 3: question must not be empty")

    with opened(tmp_path) as lake, pytest.raises(InputError):
        lake.materialize(ingest(refuse), 0)
    assert _files(tmp_path) == []
    with opened(tmp_path, sampling={"temperature": 0.9}) as lake:
        lake.materialize(ingest(Counted(problems("a"))), 0)


def _files(folder: Path) -> list[tuple[str, int]]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return sorted((str(path), path.stat().st_mtime_ns) for path in files)


def test_a_second_start_of_a_run_is_refused_while_the_first_holds_it(tmp_path: Path) -> None:
    with (
        opened(tmp_path),
        pytest.raises(LakeError, match="'r' is being worked on by process"),
        opened(tmp_path),
    ):
        pass
    with opened(tmp_path):
        pass


def test_another_run_in_the_same_lake_is_not_held_up(tmp_path: Path) -> None:
    with opened(tmp_path), opened(tmp_path, name="other") as lake:
        snapshot = lake.materialize(ingest(Counted(problems("a"))), 0)
    assert snapshot.run_id == "other"


def test_a_lake_of_another_version_is_refused_by_name_of_the_column(tmp_path: Path) -> None:
    from deltalake import DeltaTable

    types: dict[str, pa.DataType] = {"run_id": pa.string(), "iteration": pa.int32()}
    schema = pa.schema(types)
    (tmp_path / "lake" / "problems").mkdir(parents=True)
    DeltaTable.create(str(tmp_path / "lake" / "problems"), schema=schema)
    with pytest.raises(LakeError, match=r"made by another version.*question"), opened(tmp_path):
        pass


def test_a_seal_names_its_inputs_with_their_versions(tmp_path: Path) -> None:
    with opened(tmp_path) as lake:
        made = lake.materialize(ingest(Counted(problems("a"))), 0)
        copy = ArrowStage(
            name="copy", table=PROBLEMS, reads=(PROBLEMS,), function=lambda *_: problems("b")
        )
        lake.materialize(copy, 1, made)
        seal = lake._seals[1, "copy"]
    assert seal.inputs == ({"table": "problems", "iteration": 0, "version": made.version},)
    assert seal.mlflow_run_id == "mlflow-1"


def test_rows_with_a_null_where_there_may_be_none_are_refused(tmp_path: Path) -> None:
    rows = problems("a").set_column(1, "dataset", pa.array([None], pa.string()))
    with opened(tmp_path) as lake, pytest.raises(LakeError, match=r"problems\.dataset"):
        lake.materialize(ingest(Counted(rows)), 0)


def test_the_commit_message_links_to_mlflow_and_to_the_configuration(tmp_path: Path) -> None:
    with opened(tmp_path) as lake:
        made: TableSnapshot = lake.materialize(ingest(Counted(problems("a"))), 0)
    message = json.loads(made.delta().history(1)[0]["userMetadata"])
    assert message["mlflow_run_id"] == "mlflow-1"
    assert message["config_hash"] == config(tmp_path).config_hash()
    assert (message["stage"], message["iteration"]) == ("ingest", 0)
