"""The lake's promises, on a real Delta table; the stages are tiny and real."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.config import RunConfig
from pipelines.errors import ExpectationsFailed, InputError, LakeError
from pipelines.lake.lake import Lake, open_lake
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
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


def test_a_sealed_stream_that_is_asked_for_more_adds_it_and_changes_nothing(
    tmp_path: Path,
) -> None:
    first, more = one_file_a_sample([], ["s0", "s1"]), one_file_a_sample([], ["s0", "s1", "s2"])
    with opened(tmp_path) as lake:
        old = lake.materialize(replace(first, covers=("suite a",)), 0)
        before = old.arrow().to_pylist()
    with opened(tmp_path) as lake:
        new = lake.materialize(replace(more, covers=("suite a", "suite b")), 0)
    with opened(tmp_path) as lake:  # made: nothing to do
        assert lake.materialize(replace(more, covers=("suite a", "suite b")), 0) == new
        seal = lake._seals[0, "generate"]
    assert new.arrow().to_pylist()[:2] == before
    assert new.count() == 3
    assert (seal.attempt, seal.covers) == (2, ("suite a", "suite b"))
    assert old.count() == 2
    with opened(tmp_path) as lake:  # asked for less: nothing to do
        assert lake.materialize(replace(first, covers=("suite a",)), 0) == new


def test_rows_that_a_table_was_refused_for_are_made_again(tmp_path: Path) -> None:
    """A checker that failed on too many samples: with other limits the same command goes on."""
    calls: list[str] = []

    def draw(
        _: StageContext, *, committed: Snapshot, writer: FileWriter
    ) -> Iterator[list[WrittenFile]]:
        done = committed.arrow(["sample_id"])["sample_id"].to_pylist()
        for name in [name for name in ("s0", "s1", "s2") if name not in done]:
            calls.append(name)
            text = "bad" if name == "s1" and calls.count("s1") == 1 else "good"
            row = arrow(SAMPLES, {"sample_id": name, "solution": text})
            yield [writer.write(row.drop_columns(["run_id", "iteration"]))]

    stage = StreamStage(
        name="generate", table=SAMPLES, function=draw, obsolete=lambda: "solution = 'bad'"
    )
    with opened(tmp_path) as lake, pytest.raises(ExpectationsFailed, match="1 rows are bad"):
        lake.materialize(stage, 0)
    with opened(tmp_path) as lake:
        made = lake.materialize(stage, 0)
    assert calls == ["s0", "s1", "s2", "s1"]
    assert made.arrow(["solution"])["solution"].to_pylist() == ["good"] * 3


def suite(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "source": {"kind": "jsonl", "location": "y.jsonl"}, **changes}


def start_with_problems(folder: Path, **changes: Any) -> None:
    with opened(folder, **changes) as lake:
        lake.materialize(ingest(Counted(problems("a"))), 0)
        sample = one_file_a_sample([], ["s0"])
        lake.materialize(sample, 0)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({}, {"num_iterations": 3}),
        ({}, {"evaluation": {"suites": [suite("b")]}}),
        ({"evaluation": {"suites": [suite("b")]}}, {"evaluation": {"suites": [suite("a"), suite("b")]}}),
        ({}, {"reward": {"timeout_seconds": 60, "memory_limit_mb": 4096}}),
        ({}, {"reward": {"max_checker_failures": 0.5}}),
        ({}, {"model": {"max_model_len": 2048}}),
        (
            {"problems": {**config(Path()).model_dump(mode="json")["problems"], "contamination": {}}},
            {
                "problems": {
                    **config(Path()).model_dump(mode="json")["problems"],
                    "contamination": {"exact": "warning", "words": 10, "max_share": 0.5},
                }
            },
        ),
    ],
)  # fmt: skip
def test_tolerances_may_change_and_suites_and_iterations_may_grow(
    tmp_path: Path, first: dict[str, Any], then: dict[str, Any]
) -> None:
    start_with_problems(tmp_path, **first)
    with opened(tmp_path, **then) as lake:
        lake.materialize(one_file_a_sample([], ["s0"]), 1)
    stored = LakeReader(Location.at(str(tmp_path / "lake"), {})).rows("SELECT * FROM runs")
    assert len(stored) == 1
    assert json.loads(stored[0]["config"]).items() >= config(tmp_path, **then).decisive().items()
    assert stored[0]["config_hash"] == config(tmp_path, **first).config_hash()


@pytest.mark.parametrize(
    ("first", "then", "words"),
    [
        ({}, {"num_iterations": 1}, "num_iterations: 2 -> 1"),
        ({"evaluation": {"suites": [suite("b")]}}, {}, "evaluation.suites: b is missing"),
        (
            {"evaluation": {"suites": [suite("b")]}},
            {"evaluation": {"suites": [suite("b", max_tokens=9)]}},
            "evaluation.suites.b.max_tokens: null -> 9",
        ),
        ({}, {"model": {"max_model_len": 512}}, "model.max_model_len: 1024 -> 512"),
        # A program that runs out of time is wrong for it: there the limit decides rewards.
        (
            {"reward": {"function": "unit_tests"}},
            {"reward": {"function": "unit_tests", "timeout_seconds": 60}},
            "reward.timeout_seconds: 5.0 -> 60.0",
        ),
        (
            {"evaluation": {"final_train_samples": 4}},
            {"evaluation": {"final_train_samples": 4}, "num_iterations": 3},
            "cannot grow: the last policy drew evaluation.final_train_samples = 4",
        ),
    ],
)
def test_what_decides_rows_that_are_there_may_not_change(
    tmp_path: Path, first: dict[str, Any], then: dict[str, Any], words: str
) -> None:
    start_with_problems(tmp_path, **first)
    before = _files(tmp_path)
    with pytest.raises(LakeError, match=re.escape(words)), opened(tmp_path, **then):
        pass
    assert _files(tmp_path) == before


def test_the_context_may_not_grow_once_a_solution_has_reached_it(tmp_path: Path) -> None:
    with opened(tmp_path) as lake:
        lake.materialize(ingest(Counted(problems("a"))), 0)
        cut = {"finish_reason": "length", "num_prompt_tokens": 1000, "num_tokens": 24}
        row = arrow(SAMPLES, cut).drop_columns(["run_id", "iteration"])
        lake.materialize(ArrowStage(name="generate", table=SAMPLES, function=lambda _: row), 0)
    refused = "max_model_len: 1024 -> 2048 (cannot grow: 1 stored solutions reached it)"
    with (
        pytest.raises(LakeError, match=re.escape(refused)),
        opened(tmp_path, model={"max_model_len": 2048}),
    ):
        pass


def test_a_run_whose_problems_were_refused_is_held_to_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as lake, pytest.raises(ExpectationsFailed):
        lake.materialize(ingest(Counted(problems("bad"))), 0)
    with opened(tmp_path, reward={"function": "exact_match"}) as lake:
        lake.materialize(ingest(Counted(problems("a"))), 0)
    with (
        pytest.raises(LakeError, match='"exact_match" -> "math_answer"'),
        opened(tmp_path),
    ):
        pass


def test_an_attempt_that_adds_rows_counts_its_own_seconds_and_measures(tmp_path: Path) -> None:
    with opened(tmp_path) as lake:
        lake.materialize(counting(["s0", "s1"], slow=0.3), 0)
    with opened(tmp_path) as lake:
        lake.materialize(replace(counting(["s0", "s1", "s2"]), covers=("more",)), 0)
        seal = lake._seals[0, "generate"]
    assert seal.measures == {"tokens": 10}
    assert seal.seconds < 0.6


def formatted(wanted: list[str], dtype: str) -> StreamStage:
    """As `one_file_a_sample`, by an engine with a number format."""
    inner = one_file_a_sample([], wanted)

    def draw(
        context: StageContext, *, committed: Snapshot, writer: FileWriter
    ) -> Iterator[list[WrittenFile]]:
        context.resolve("engine.dtype", dtype)
        yield from inner.function(context, committed=committed, writer=writer)

    return StreamStage(name="generate", table=SAMPLES, function=draw)


def test_resolved_settings_are_in_every_commit_and_hold_for_the_whole_run(tmp_path: Path) -> None:
    with opened(tmp_path) as lake:
        made = lake.materialize(formatted(["s0"], "bfloat16"), 0)
        assert lake._seals[0, "generate"].settings == {"engine.dtype": "bfloat16"}
    message = json.loads(made.delta().history(1)[0]["userMetadata"])
    assert message["settings"] == {"engine.dtype": "bfloat16"}
    with opened(tmp_path) as lake:
        refused = pytest.raises(LakeError, match=r"engine\.dtype: bfloat16 -> float32")
        with refused:
            lake.materialize(formatted(["s1"], "float32"), 1)
        lake.materialize(formatted(["s1"], "auto"), 1)
        assert lake._seals[1, "generate"].settings == {"engine.dtype": "bfloat16"}


def test_settings_of_a_killed_stage_hold_when_it_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path) as lake:
        lake._books.seal = _killed  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            lake.materialize(formatted(["s0"], "bfloat16"), 0)
    with opened(tmp_path) as lake, pytest.raises(LakeError, match="bfloat16 -> float32"):
        lake.materialize(formatted(["s0", "s1"], "float32"), 0)


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
