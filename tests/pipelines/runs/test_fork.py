"""A fork has the stages that it takes, makes the others itself, and is made once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import RunConfig, SuiteConfig
from pipelines.config.flatten import flatten
from pipelines.errors import ConfigError, InputError, LakeError
from pipelines.lake.files import PartitionWriter
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.runs.fork import fork, plan_fork
from pipelines.runs.steps import all_stage_names, steps_of
from pipelines.stage import ArrowStage
from schemas import EVALUATIONS, GRADES, TABLES, Table
from tests.factories import arrow
from tests.stored_run import RUN, config, literal_of, make, opened, reader_of

CUTOFF: dict[str, Any] = {"curate": {"cutoff": 5}}
RECORDS = ("runs", "stages", "checks", "leases")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    make(config(folder))
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished / "lake", tmp_path / "lake")
    return tmp_path


def quiet(_: str) -> None: ...


def forked(folder: Path, first: str, *overrides: str, name: str = "new") -> bool:
    return fork(plan_fork(reader_of(folder), RUN, name, first, overrides), quiet)


def contents(reader: LakeReader, run: str) -> dict[str, list[dict[str, Any]]]:
    """A run's rows by table, without its name."""
    found = {}
    for table in TABLES:
        order = ", ".join(f'"{name}"' for name in table.key)
        rows = reader.rows(f"SELECT * FROM {table.name} ORDER BY {order}", run)
        found[table.name] = [{k: v for k, v in row.items() if k != "run_id"} for row in rows]
    return found


def unversioned(rows: list[dict[str, Any]], **of: Any) -> list[dict[str, Any]]:
    """Rows without the versions that they name."""
    wanted = [row for row in rows if of.items() <= row.items()]
    return [{k: v for k, v in row.items() if k not in ("version", "inputs")} for row in wanted]


def test_a_fork_takes_what_comes_before_a_stage_and_makes_the_rest(folder: Path) -> None:
    assert forked(folder, "select@1", "curate.cutoff=5")
    reader = reader_of(folder)
    before = [step.key for step in steps_of(config(folder)) if step.position < 6]
    assert before[-1] == (0, "evaluate")
    old, new = contents(reader, RUN), contents(reader, "new")
    for table in ("problems", "prompts", "samples", "rewards", "policies", "evaluations"):
        assert new[table] == [row for row in old[table] if row["iteration"] == 0], table
        assert new[table]
    assert new["selections"] == new["training_set"] == []
    assert {(row["iteration"], row["stage"]) for row in new["stages"]} == set(before)
    assert unversioned(new["checks"]) == unversioned(old["checks"], iteration=0) != []
    (created_at,) = (row["created_at"] for row in new["runs"])
    settings = config(folder, "new", curate={"cutoff": 5})
    assert make(settings) == [step.key for step in steps_of(settings) if step.key not in before]
    assert contents(reader, RUN) == old
    assert make(settings) == []
    (row,) = reader.rows("SELECT * FROM runs", "new")
    assert row["mlflow_run_id"] == "mlflow-1"  # its first start's
    assert (row["config_hash"], row["created_at"]) == (settings.config_hash(), created_at)


def test_what_a_seal_of_a_fork_names_is_what_the_stage_read(folder: Path) -> None:
    forked(folder, "select@1")
    reader = reader_of(folder)
    for seal in contents(reader, "new")["stages"]:
        versions = {seal["table_name"]: seal["version"]}
        *inputs, origin = json.loads(seal["inputs"])
        versions |= {item["table"]: item["version"] for item in inputs}
        for name, version in versions.items():
            here = reader.arrow(name, "new", seal["iteration"], version).drop_columns(["run_id"])
            there = reader.arrow(name, RUN, seal["iteration"]).drop_columns(["run_id"])
            assert here.num_rows
            assert here.to_pylist() == there.to_pylist()
        assert (origin["copied_from"], origin["table"]) == (RUN, seal["table_name"])


def test_a_fork_that_is_killed_after_any_commit_is_made_by_the_same_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = folder / "twin"
    shutil.copytree(folder / "lake", twin / "lake")
    forked(twin, "select@1", "curate.cutoff=5")
    num_kills = 0
    while killed_after_one_commit(folder, monkeypatch, "select@1", "curate.cutoff=5"):
        num_kills += 1
        if "new" in reader_of(folder).runs():
            continue  # killed after the last commit
        with pytest.raises(LakeError, match="finish it with: restem runs fork first new --from s"):
            make(config(folder, "new", curate={"cutoff": 5}))
        with pytest.raises(LakeError, match="was interrupted"):
            forked(folder, "select@1", "curate.cutoff=6")
    assert num_kills == 10  # six tables, checks, seals, and the first and last commit
    made, expected = contents(reader_of(folder), "new"), contents(reader_of(twin), "new")
    for table in TABLES:
        if table.name not in RECORDS:
            assert made[table.name] == expected[table.name], table.name
    for name in ("stages", "checks"):
        assert unversioned(made[name]) == unversioned(expected[name])
    assert make(config(folder, "new", curate={"cutoff": 5}))[0] == (1, "select")


def killed_after_one_commit(
    folder: Path, monkeypatch: pytest.MonkeyPatch, first: str, *overrides: str
) -> bool:
    """Make a fork up to its next commit; False if it was made whole."""
    from pipelines.lake import commit, copied_run, run_state

    def kill(*args: Any, **kwargs: Any) -> Any:
        done = commit.commit(*args, **kwargs)
        if done.is_new:
            raise KeyboardInterrupt
        return done

    with monkeypatch.context() as patched:
        for module in (copied_run, run_state):
            patched.setattr(module, "commit", kill)
        try:
            forked(folder, first, *overrides)
        except KeyboardInterrupt:
            return True
    return False


def rescore_leniently(folder: Path) -> int:
    """Replace the verdicts of iteration 0 by others, all rewarded; their number."""
    settings = config(folder)
    step = next(step for step in steps_of(settings) if step.key == (0, "score"))
    rows = literal_of(step).function()
    place = rows.column_names.index("reward")
    lenient = rows.set_column(place, "reward", [[1.0] * rows.num_rows])
    with opened(settings) as lake:
        inputs = [lake.sealed(item.stage.table, *item.key) for item in step.inputs]
        lake.remake(literal_of(step, lenient), 0, *[item for item in inputs if item is not None])
    return int(rows.num_rows)


def test_a_rescored_run_is_forked_with_the_verdicts_that_each_stage_read(folder: Path) -> None:
    num_rows = rescore_leniently(folder)
    forked(folder, "select@1")
    reader = reader_of(folder)
    total = "SELECT sum(reward) AS total FROM {} WHERE iteration = 0"
    for view in ("rewards", "evaluated_rewards"):
        new, old = (reader.rows(total.format(view), run)[0]["total"] for run in ("new", RUN))
        assert new == old
    (newest,) = reader.rows(total.format("rewards"), "new")
    (evaluated,) = reader.rows(total.format("evaluated_rewards"), "new")
    assert evaluated["total"] < newest["total"] == num_rows


@pytest.mark.parametrize(
    ("override", "step"),
    [
        ("seed=3", "ingest@0"),
        ("problems.num_test=3", "ingest@0"),
        ("model.base_model=other", "base_policy@0"),
        ("prompt.template='{question}?'", "render@0"),
        ("sampling.temperature=0.5", "render@0"),
        ("model.max_model_len=512", "generate@0"),
        ("reward.function=exact_match", "score@0"),
        ("evaluation.k=[1]", "evaluate@0"),
        ("evaluation.final_train_samples=8", "render@2"),
        ("num_iterations=1", "render@1"),
        ("curate.cutoff=5", "select@1"),
        ("curate.weight=exponential", "curate@1"),
        ("improve.learning_rate=1e-4", "improve@1"),
    ],
)
def test_a_change_of_what_would_be_taken_is_refused(folder: Path, override: str, step: str) -> None:
    names = [f"{s.stage.name}@{s.iteration}" for s in steps_of(config(folder))]
    if override == "num_iterations=1":
        names = names[: names.index("select@2")]
    after = names[names.index(step) + 1] if step != names[-1] else None
    assert after is not None
    with pytest.raises(ConfigError) as refused:
        plan_fork(reader_of(folder), RUN, "new", after, (override,))
    setting = override.partition("=")[0]
    assert str(refused.value).startswith(f"{setting}: ")
    assert f"decides {step} first" in str(refused.value)
    assert f"--from {step}" in str(refused.value)
    assert plan_fork(reader_of(folder), RUN, "new", step, (override,)).first_step == step
    assert reader_of(folder).runs() == [RUN]


def test_every_setting_that_is_pinned_names_the_first_stage_that_it_decides(folder: Path) -> None:
    stages = all_stage_names()
    pinned = [*flatten(config(folder).pinned()), "num_iterations", "model.max_model_len"]
    for setting in pinned:
        stage = RunConfig.first_stage_decided(setting.split("."))
        assert stage.removesuffix("@last") in stages, setting
    for field in SuiteConfig.model_fields:
        assert SuiteConfig.first_stage_decided([field]) in stages, field
    for setting in ("engine.replicas", "training.num_workers", "lake.uri", "gate.max_pandas_rows"):
        assert RunConfig.first_stage_decided(setting.split(".")) == ""


def test_settings_that_decide_no_row_that_is_taken_may_change(folder: Path) -> None:
    overrides = ("num_iterations=3", "engine.max_num_seqs=8", "model.max_model_len=2048")
    assert plan_fork(reader_of(folder), RUN, "new", "select@1", overrides).changes == [
        "model.max_model_len: 1024 -> 2048",
        "num_iterations: 2 -> 3",
    ]


def test_the_same_fork_again_does_nothing_and_another_one_is_refused(folder: Path) -> None:
    assert forked(folder, "select@1", "curate.cutoff=5")
    before = contents(reader_of(folder), "new")
    assert not forked(folder, "select@1", "curate.cutoff=5")
    assert contents(reader_of(folder), "new") == before
    with pytest.raises(LakeError, match="run 'new' exists"):
        forked(folder, "select@1", "curate.cutoff=6")
    with pytest.raises(LakeError, match="run 'first' exists"):
        forked(folder, "select@1", name=RUN)


def test_a_stage_that_is_not_sealed_cannot_be_taken(tmp_path: Path) -> None:
    make(config(tmp_path), last=(0, "generate"))
    with pytest.raises(LakeError, match=r"has not sealed score@0, .* use --from score@0"):
        forked(tmp_path, "select@1")
    assert forked(tmp_path, "score@0", "reward.function=exact_match")
    assert make(config(tmp_path, "new", reward={"function": "exact_match"}))[0] == (0, "score")


def test_problems_whose_own_answer_fails_a_changed_reward_are_not_taken(folder: Path) -> None:
    never = "reward.function=python:tests.pipelines.runs.test_fork:never"
    with pytest.raises(InputError, match=r"8 problems of run 'first' .* use --from ingest@0"):
        plan_fork(reader_of(folder), RUN, "new", "score@0", (never,))
    assert plan_fork(reader_of(folder), RUN, "new", "ingest@0", (never,)).seals == []


def never(solution: str, reference: str) -> float:
    """A reward that no solution earns."""
    return 0.0


def test_problems_that_were_left_out_for_the_reward_are_not_taken_for_another(
    tmp_path: Path,
) -> None:
    settings = config(tmp_path)
    step = steps_of(settings)[0]
    rows = literal_of(step).function().slice(0, 1)
    left_out = rows.set_column(rows.column_names.index("split"), "split", [["refused"]])
    with opened(settings) as lake:
        lake.materialize(literal_of(step, left_out), 0)
    reader, other = reader_of(tmp_path), ("reward.function=exact_match",)
    with pytest.raises(InputError, match=r"1 problems of run 'first' were left out"):
        plan_fork(reader, RUN, "new", "base_policy@0", other)


def test_marks_that_people_gave_come_with_the_samples(folder: Path) -> None:
    where = "suite = 'exam'"
    marks = arrow(GRADES, {"suite": "exam", "points": 1.0})
    totals = arrow(EVALUATIONS, {"suite": "exam", "metric": "points"})

    def grade(name: str, points: float) -> bool:
        rows = marks.set_column(marks.column_names.index("points"), "points", [[points]])
        with opened(config(folder, name, **CUTOFF if name == "new" else {})) as lake:
            changed = lake.amend(amendment("grade/exam/ada", GRADES, rows), 0, where)
            given = lake.latest_snapshot(GRADES, 0)
            stage = amendment("grade/exam", EVALUATIONS, totals, GRADES)
            lake.amend(stage, 0, where, given)
            return changed

    assert grade(RUN, 1.0)
    assert grade(RUN, 2.0)
    forked(folder, "select@1", "curate.cutoff=5")
    old, new = contents(reader_of(folder), RUN), contents(reader_of(folder), "new")
    assert new["grades"] == [row for row in old["grades"] if row["iteration"] == 0] != []
    assert new["evaluations"] == [row for row in old["evaluations"] if row["iteration"] == 0]
    assert "exam" in {row["suite"] for row in new["evaluations"]}
    assert not grade("new", 2.0)
    assert grade("new", 3.0)
    points = {row["points"] for row in contents(reader_of(folder), "new")["grades"]}
    assert points == {3.0}
    sealed = contents(reader_of(folder), "new")["stages"]
    assert [s["attempt"] for s in sealed if s["stage"] == "grade/exam/ada"] == [2, 3]


def amendment(name: str, table: Table, rows: pa.Table, *reads: Table) -> ArrowStage:
    own = rows.drop_columns(["run_id", "iteration"])
    return ArrowStage(name=name, table=table, reads=reads, function=lambda *_: own)


def test_a_file_that_spark_wrote_is_copied_with_its_statistics(tmp_path: Path) -> None:
    rows = arrow(GRADES, {"suite": "a"}, {"suite": "b"}).drop_columns(["run_id", "iteration"])
    pq.write_table(rows, tmp_path / "spark.parquet", use_deprecated_int96_timestamps=True)
    data = (tmp_path / "spark.parquet").read_bytes()
    writer = PartitionWriter(GRADES, Location.at(str(tmp_path), {}), "new", 0)
    copied, written = writer.write_copy(data), writer.write(rows)
    assert (tmp_path / "grades" / copied.path).read_bytes() == data
    assert json.loads(copied.stats) == json.loads(written.stats)
    assert json.loads(copied.stats)["minValues"]["graded_at"] == "2026-01-01T12:00:00.000Z"


def test_a_fork_that_goes_on_takes_what_was_there_when_it_was_begun(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert killed_after_one_commit(folder, monkeypatch, "select@1")
    num_rows = rescore_leniently(folder)
    assert forked(folder, "select@1")
    (total,) = reader_of(folder).rows("SELECT sum(reward) AS n FROM rewards", "new")
    assert total["n"] < num_rows
    (seal,) = reader_of(folder).rows("SELECT attempt FROM stages WHERE stage = 'score'", "new")
    assert seal["attempt"] == 1
