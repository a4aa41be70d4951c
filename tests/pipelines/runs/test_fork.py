"""A fork has the stages that it takes, makes the others itself, and is made once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import RunConfig, SuiteConfig
from pipelines.config.flatten import flatten
from pipelines.errors import ConfigError, LakeError
from pipelines.lake.reader import LakeReader
from pipelines.runs.fork import fork, plan_fork
from pipelines.runs.steps import all_stage_names, steps_of
from schemas import TABLES
from tests.stored_run import RUN, config, literal_of, make, opened, reader_of

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
    settings = config(folder, "new", curate={"cutoff": 5})
    assert make(settings) == [step.key for step in steps_of(settings) if step.key not in before]
    assert contents(reader, RUN) == old
    assert make(settings) == []


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
    for table in ("stages", "checks"):
        assert unversioned(made[table]) == unversioned(expected[table])
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


def test_a_rescored_run_is_forked_with_the_verdicts_that_each_stage_read(folder: Path) -> None:

    settings = config(folder)
    with opened(settings) as lake:
        step = next(step for step in steps_of(settings) if step.key == (0, "score"))
        rows = literal_of(step).function()
        lenient = rows.set_column(
            rows.column_names.index("reward"), "reward", [[1.0] * rows.num_rows]
        )
        inputs = [lake.sealed(item.stage.table, *item.key) for item in step.inputs]
        again = literal_of(step, lenient)
        lake.remake(again, 0, *[item for item in inputs if item is not None])
    forked(folder, "select@1")
    reader = reader_of(folder)
    total = "SELECT sum(reward) AS total FROM {} WHERE iteration = 0"
    for view in ("rewards", "evaluated_rewards"):
        new, old = (reader.rows(total.format(view), run)[0]["total"] for run in ("new", RUN))
        assert new == old
    (newest,) = reader.rows(total.format("rewards"), "new")
    (evaluated,) = reader.rows(total.format("evaluated_rewards"), "new")
    assert evaluated["total"] < newest["total"] == rows.num_rows


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
