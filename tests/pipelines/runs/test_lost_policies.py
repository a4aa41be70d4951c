"""A policy whose checkpoint is lost is trained again, if something still needs it.

The tables, the seals and the store are real; an M-step writes a checkpoint of a few bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.checkpoints.load import PolicyLoader
from pipelines.checkpoints.policy import PolicyRef, policy_id_of
from pipelines.config import RunConfig
from pipelines.errors import PolicyLost
from pipelines.lake.lake import Lake, open_lake
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.runs.lost_policies import train_lost_policies
from pipelines.runs.stages_by_name import run_steps
from pipelines.runs.steps import Step
from pipelines.runtime.progress import SilentProgress
from pipelines.stage import (
    ArrowStage,
    FileWriter,
    Snapshot,
    Stage,
    StageContext,
    StreamStage,
    WrittenFile,
)
from pipelines.stages.generate import generate
from pipelines.stages.policy import policy_of
from schemas import POLICIES, PROMPTS, SAMPLES
from schemas.table import Table
from tests.doubles import FakeEngines, OneRuleGate, QuietListener
from tests.factories import arrow
from tests.pipelines.checkpoints.checkpoints import write_checkpoint

PROMPT_IDS = ["p1", "p2", "p3"]


class Said(SilentProgress):
    """Keeps the lines that are shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


class TinyRun:
    """Base policy, prompts, and two iterations of M-step and E-step."""

    def __init__(self, folder: Path, start_from: str) -> None:
        self.folder, self.start_from = folder, start_from
        self.base = write_checkpoint(folder / "model", "base")
        self.config = RunConfig.model_validate(
            {
                "name": "r",
                "output": folder / "output",
                "problems": {"sources": [{"kind": "jsonl", "location": "x.jsonl"}]},
                "model": {"base_model": str(self.base)},
                "lake": {"uri": str(folder / "lake")},
            }
        )
        self.loader = PolicyLoader.of(self.config)
        self.trained: list[str] = []
        """What each M-step started from."""
        self.noise = ""
        """What training is not deterministic in."""
        self.die_after = 99
        """Number of chunks after which an E-step dies."""

    @property
    def policies(self) -> Path:
        return self.folder / "lake" / "_policies"

    def steps(self) -> list[Step]:
        steps: list[Step] = []

        def step(stage: Stage, iteration: int, *inputs: Step) -> Step:
            steps.append(Step(len(steps), stage, iteration, inputs))
            return steps[-1]

        base = policy = step(_arrow_stage("base_policy", POLICIES, self._base), 0)
        prompts = step(_arrow_stage("render", PROMPTS, _prompts), 0)
        for i in (1, 2):
            start = policy if self.start_from == "previous" else base
            improve = ArrowStage(
                name="improve",
                table=POLICIES,
                reads=(POLICIES,),
                loads_policy=True,
                function=self._improve,
            )
            policy = step(improve, i, start)
            step(self._generate(i), i, prompts, policy)
        return steps

    def _base(self, _: StageContext) -> pa.Table:
        return _policy_row(PolicyRef(policy_id_of(self.base), str(self.base)), 0)

    def _improve(self, context: StageContext, start: Snapshot) -> pa.Table:
        folder = self.loader.folder_of(policy_of(start))
        weights = (folder / "model-00001-of-00002.safetensors").read_text()
        self.trained.append(weights)
        number = len(list(context.folder.glob("policy-*")))
        made = write_checkpoint(
            context.folder / f"policy-{number}", f"{weights} trained{self.noise}"
        )
        policy = self.loader.store.put(made, context.progress)
        return _policy_row(policy, start.iteration + 1)

    def _generate(self, iteration: int) -> StreamStage:
        real = generate(self.config, iteration)

        def draw(
            _: StageContext,
            prompts: Snapshot,
            policies: Snapshot,
            *,
            committed: Snapshot,
            writer: FileWriter,
        ) -> Iterator[list[WrittenFile]]:
            policy = policy_of(policies)
            self.loader.folder_of(policy)
            done = committed.arrow(["prompt_id"])["prompt_id"].to_pylist()
            for number, prompt_id in enumerate(p for p in PROMPT_IDS if p not in done):
                if number == self.die_after:
                    raise RuntimeError("killed")
                row = {
                    "sample_id": f"{policy.policy_id} {prompt_id}",
                    "prompt_id": prompt_id,
                    "policy_id": policy.policy_id,
                }
                yield [writer.write(_without_partition(arrow(SAMPLES, row)))]

        return StreamStage(
            name="generate",
            table=SAMPLES,
            reads=(PROMPTS, POLICIES),
            loads_policy=True,
            obsolete=real.obsolete,
            function=draw,
        )

    @contextmanager
    def open(self) -> Iterator[Lake]:
        gate, listener = OneRuleGate({}, ""), QuietListener()
        with open_lake(self.config, FakeEngines(), gate, listener, SilentProgress()) as lake:
            yield lake

    def go_on(self, num_steps: int = 99) -> list[str]:
        """Make the first steps, as `restem run` does; returns what was said of lost policies."""
        steps, said = self.steps()[:num_steps], Said()
        with self.open() as lake:
            pending = [s for s in steps if not lake.is_made(s.stage, s.iteration)]
            train_lost_policies(lake, pending, self.loader, said)
            run_steps(lake, steps)
        return said.lines

    def sql(self, query: str) -> list[dict[str, Any]]:
        return LakeReader(Location(str(self.folder / "lake"))).rows(query)

    def attempts(self) -> dict[int, int]:
        """Iteration -> the number of times its policy was made."""
        rows = self.sql(
            "SELECT iteration, count(*) AS n FROM stages WHERE stage = 'improve' GROUP BY 1"
        )
        return {row["iteration"]: row["n"] for row in rows}

    def policy_id(self, iteration: int) -> str:
        rows = self.sql(f"SELECT policy_id FROM policies WHERE iteration = {iteration}")
        return str(rows[0]["policy_id"])


def _arrow_stage(name: str, table: Table, function: Any) -> ArrowStage:
    return ArrowStage(name=name, table=table, function=function)


def _prompts(_: StageContext) -> pa.Table:
    return _without_partition(arrow(PROMPTS, *({"prompt_id": one} for one in PROMPT_IDS)))


def _policy_row(policy: PolicyRef, iteration: int) -> pa.Table:
    row = {"policy_id": policy.policy_id, "checkpoint_uri": policy.checkpoint_uri}
    return _without_partition(arrow(POLICIES, {**row, "iteration": iteration}))


def _without_partition(rows: pa.Table) -> pa.Table:
    return rows.drop_columns(["run_id", "iteration"])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTEM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def run(tmp_path: Path) -> TinyRun:
    return TinyRun(tmp_path, "base")


def test_a_run_that_lost_its_output_goes_on(run: TinyRun) -> None:
    run.go_on(4)
    shutil.rmtree(run.folder / "output")
    assert run.go_on() == []
    assert run.attempts() == {1: 1, 2: 1}


def test_a_lost_policy_that_is_needed_is_trained_again_under_a_new_attempt(run: TinyRun) -> None:
    run.go_on(3)  # the E-step of policy 1 is to come
    before = run.policy_id(1)
    shutil.rmtree(run.policies)
    (line,) = run.go_on()
    folder = run.policies / before
    assert line == f"iteration 1: policy {before}: {folder} is missing; it is trained again"
    assert run.attempts() == {1: 2, 2: 1}
    assert run.policy_id(1) == before
    (again,) = run.sql(
        "SELECT version FROM stages WHERE stage = 'improve' AND iteration = 1 AND attempt = 2"
    )
    (reads,) = run.sql("SELECT inputs FROM stages WHERE stage = 'generate' AND iteration = 1")
    assert f'"version": {again["version"]}' in reads["inputs"]


def test_damaged_weights_are_trained_again_and_replaced(run: TinyRun) -> None:
    run.go_on(3)
    before = run.policy_id(1)
    weights = run.policies / before / "model-00001-of-00002.safetensors"
    good = weights.read_text()
    weights.write_text("x" * len(good))
    (line,) = run.go_on()
    assert "holds other weights" in line
    assert weights.read_text() == good
    assert run.attempts() == {1: 2, 2: 1}


def test_a_finished_run_does_without_its_checkpoints(run: TinyRun) -> None:
    run.go_on()
    shutil.rmtree(run.policies)
    assert run.go_on() == []
    assert run.attempts() == {1: 1, 2: 1}
    assert not run.policies.exists()


def test_only_what_is_needed_is_trained_again(run: TinyRun) -> None:
    run.go_on(5)  # both policies; the E-step of policy 2 is to come
    shutil.rmtree(run.policies)
    run.trained.clear()
    assert len(run.go_on()) == 1
    assert run.attempts() == {1: 1, 2: 2}
    assert run.trained == ["base"]


def test_the_policy_that_a_lost_one_started_from_is_needed_too_and_first(tmp_path: Path) -> None:
    run = TinyRun(tmp_path, "previous")
    run.go_on(5)
    shutil.rmtree(run.policies)
    run.trained.clear()
    assert len(run.go_on()) == 2
    assert run.attempts() == {1: 2, 2: 2}
    assert run.trained == ["base", "base trained"]


def test_samples_of_a_policy_that_has_other_weights_now_are_drawn_again_unless_sealed(
    run: TinyRun,
) -> None:
    run.go_on(4)
    run.die_after = 2
    with pytest.raises(RuntimeError, match="killed"):
        run.go_on()
    old = {iteration: run.policy_id(iteration) for iteration in (1, 2)}
    drawn = run.sql("SELECT policy_id FROM samples WHERE iteration = 2")
    assert [row["policy_id"] for row in drawn] == [old[2]] * 2
    shutil.rmtree(run.policies)
    run.die_after, run.noise = 99, " on another machine"
    lines = run.go_on()
    assert f"iteration 2: policy {run.policy_id(2)} has other weights" in lines
    samples = run.sql(
        "SELECT iteration, policy_id, count(*) AS n FROM samples GROUP BY 1, 2 ORDER BY 1"
    )
    assert samples == [
        {"iteration": 1, "policy_id": old[1], "n": 3},
        {"iteration": 2, "policy_id": run.policy_id(2), "n": 3},
    ]
    assert run.policy_id(2) != old[2]


def test_a_retraining_that_was_killed_before_its_seal_is_not_repeated(run: TinyRun) -> None:
    run.go_on(3)
    old = run.policy_id(1)
    shutil.rmtree(run.policies)
    run.noise = " on another machine"
    _train_and_be_killed(run)
    assert run.attempts() == {1: 1}
    run.trained.clear()
    run.go_on(4)
    assert run.attempts() == {1: 2}
    assert run.trained == []
    assert run.policy_id(1) != old


def test_what_a_killed_retraining_made_may_be_lost_too(run: TinyRun) -> None:
    run.go_on(3)
    shutil.rmtree(run.policies)
    _train_and_be_killed(run)
    shutil.rmtree(run.policies)
    run.go_on(4)
    assert run.attempts() == {1: 3}
    assert run.loader.store.holds(run.policy_id(1))


def _train_and_be_killed(run: TinyRun) -> None:
    steps = run.steps()
    with run.open() as lake:
        lake._books.seal = _killed  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            train_lost_policies(lake, steps[3:], run.loader, Said())


def test_a_lost_base_model_cannot_be_trained(run: TinyRun) -> None:
    run.go_on(2)
    shutil.rmtree(run.base)
    with pytest.raises(PolicyLost, match=r"model\.base_model") as caught:
        run.go_on()
    assert "\n" not in str(caught.value)


def _killed(*args: Any, **kwargs: Any) -> Any:
    raise KeyboardInterrupt
