from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines.checkpoints.policy import policy_id_of
from pipelines.config import RunConfig
from pipelines.errors import InputError, LakeError, StageFailed
from pipelines.sampling.chunks import pending_chunks, requests_of, sample_rows
from pipelines.sampling.sampler import DrawnSolution, Request, Sampler
from pipelines.sampling.scripted_sampler import ScriptedSampler
from pipelines.sampling.vllm_sampler import VllmSampler
from pipelines.stage import WrittenFile
from pipelines.stages.generate import SamplerFactory, generate
from tests.doubles import Rows, context, policies
from tests.pipelines.checkpoints.checkpoints import write_checkpoint
from tests.pipelines.sampling.prompts import committed_table, prompt, prompt_table
from tests.tiny_model import build_tiny_model

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class FolderWriter:
    """Writes Parquet into a folder."""

    folder: Path

    def write(self, rows: pa.Table) -> WrittenFile:
        name = f"{os.urandom(8).hex()}.parquet"
        pq.write_table(rows, self.folder / name)
        return WrittenFile(name, (self.folder / name).stat().st_size, rows.num_rows, "{}", name)


@dataclass(frozen=True)
class FailingSampler:
    """Fails in `how` on the first `times` draws of all its processes, then answers."""

    how: str
    times: int
    marks: Path
    dtype: str = "float32"
    inner: ScriptedSampler = field(default_factory=lambda: ScriptedSampler(lambda r, i: "fine"))

    def draw(self, requests: list[Request]) -> list[list[DrawnSolution]]:
        if len(list(self.marks.iterdir())) < self.times:
            (self.marks / os.urandom(8).hex()).touch()
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "refused":
                raise InputError("row 7: this prompt cannot be asked")
            raise RuntimeError("the engine lost its mind")
        return self.inner.draw(requests)


@dataclass(frozen=True)
class KilledSampler:
    """Ends its process whenever it is asked for one of the prompts, and answers others."""

    killers: tuple[str, ...]
    dtype: str = "float32"

    def draw(self, requests: list[Request]) -> list[list[DrawnSolution]]:
        if any(request.prompt_id in self.killers for request in requests):
            os._exit(1)
        return scripted().draw(requests)


@pytest.fixture(scope="module", autouse=True)
def ray_cluster() -> Iterator[None]:
    import ray

    root = Path(__file__).resolve().parents[3]
    os.environ["RAY_AUTH_MODE"] = "disabled"
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=100_000_000,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(root)}},
    )
    yield
    ray.shutdown()


def already_started() -> None:
    """Ray is started by the module's fixture."""


def config(folder: Path, **engine: Any) -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": "generate",
            "output": folder,
            "model": {"max_model_len": 128},
            "problems": {"sources": [{"kind": "generator", "location": "m:f"}]},
            "engine": {"chunk_prompts": 4, "kv_cache_gib": 0.25, "max_num_seqs": 16} | engine,
        }
    )


@dataclass
class Outcome:
    groups: list[list[WrittenFile]]
    rows: pa.Table
    measures: dict[str, float]


def run(
    folder: Path,
    prompts: pa.Table,
    factory: SamplerFactory | None,
    checkpoint: Path | None = None,
    committed: pa.Table | None = None,
    **engine: Any,
) -> Outcome:
    settings = config(folder, **engine)
    given = context(settings.folder, start_ray=already_started)
    (folder / "files").mkdir(exist_ok=True)
    groups = list(
        generate(settings, 0, factory).function(
            given,
            Rows(prompts),
            policies() if checkpoint is None else policy_in(checkpoint),
            committed=Rows(committed_table() if committed is None else committed),
            writer=FolderWriter(folder / "files"),
        )
    )
    files = [pq.read_table(folder / "files" / file.path) for group in groups for file in group]
    rows = pa.concat_tables(files) if files else pa.table({})
    return Outcome(groups, rows, given.measures)


def policy_in(checkpoint: Path) -> Rows:
    return policies(policy_id_of(checkpoint), str(checkpoint))


STOPS = "abcdefghijklmnopqrstuvwxyz"
"""A random model writes one of them soon."""


def answer(request: Request, index: int) -> str:
    return f"{request.prompt_id} {index}"


def scripted() -> ScriptedSampler:
    return ScriptedSampler(answer)


def prompts(count: int) -> pa.Table:
    return prompt_table(*(prompt(f"p{number}", seed=10 * number) for number in range(count)))


def sampled(rows: pa.Table) -> list[tuple[str, int]]:
    return sorted((row["prompt_id"], row["index"]) for row in rows.to_pylist())


def test_every_prompt_gets_its_samples_once_in_files_of_a_chunk(tmp_path: Path) -> None:
    outcome = run(tmp_path, prompts(5), scripted)
    assert sampled(outcome.rows) == [(f"p{n}", index) for n in range(5) for index in range(2)]
    assert sorted(file.num_rows for group in outcome.groups for file in group) == [2, 4, 4]
    assert pc.count_distinct(outcome.rows["sample_id"]).as_py() == 10
    assert outcome.measures["tokens"] == 20
    assert outcome.measures["engine_starts"] == 1


def test_a_resumed_stage_asks_only_what_is_not_committed(tmp_path: Path) -> None:
    outcome = run(tmp_path, prompts(5), scripted, committed=committed_table("p0", "p3"))
    assert set(outcome.rows["prompt_id"].to_pylist()) == {"p1", "p2", "p4"}


def resumed(folder: Path, recorded: dict[str, str], **engine: Any) -> dict[str, str]:
    """The settings after a stage whose run has recorded some has drawn a prompt."""
    settings = config(folder, **engine)
    given = context(settings.folder, start_ray=already_started)
    given.settings.update(recorded)
    (folder / "files").mkdir(exist_ok=True)
    groups = generate(settings, 0, scripted).function(
        given,
        Rows(prompts(1)),
        policies("policy"),
        committed=Rows(committed_table()),
        writer=FolderWriter(folder / "files"),
    )
    assert len(list(groups)) == 1
    return given.settings


def test_the_resolved_settings_of_the_engine_are_recorded(tmp_path: Path) -> None:
    extra = {"quantization": "fp8", "hf_overrides": {"a": 1}, "max_num_batched_tokens": 64}
    recorded = resumed(tmp_path, {}, extra=extra)
    assert recorded["engine.dtype"] == "float32"  # the scripted sampler's, for auto
    assert recorded["engine.extra.quantization"] == "fp8"
    assert recorded["engine.extra.hf_overrides"].startswith("sha256:")
    assert "engine.extra.max_num_batched_tokens" not in recorded
    assert resumed(tmp_path, recorded, extra={**extra, "max_num_batched_tokens": 9}) == recorded


@pytest.mark.parametrize(
    ("recorded", "engine", "difference"),
    [
        ({"engine.dtype": "bfloat16"}, {"dtype": "float32"}, "engine.dtype: bfloat16 -> float32"),
        (
            {"engine.dtype": "float32"},
            {"extra": {"kv_cache_dtype": "fp8"}},
            "engine.extra.kv_cache_dtype: not set -> fp8",
        ),
        (
            {"engine.dtype": "float32", "engine.extra.quantization": "fp8"},
            {},
            "engine.extra.quantization: fp8 -> not set",
        ),
    ],
)
def test_an_engine_that_would_draw_other_samples_is_refused_before_it_starts(
    tmp_path: Path, recorded: dict[str, str], engine: dict[str, Any], difference: str
) -> None:
    with pytest.raises(LakeError, match=difference):
        resumed(tmp_path, recorded, **engine)
    assert not list((tmp_path / "files").iterdir())


def test_engines_that_resolve_auto_differently_are_not_mixed(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match=r"engine\.dtype: bfloat16 -> float32"):
        resumed(tmp_path, {"engine.dtype": "bfloat16"})  # the scripted sampler has only float32


def test_a_stage_with_nothing_left_starts_no_engine(tmp_path: Path) -> None:
    def explode() -> ScriptedSampler:
        raise AssertionError

    outcome = run(tmp_path, prompts(1), explode, committed=committed_table("p0"))
    assert outcome.groups == []


@pytest.mark.parametrize("how", ["killed", "raises"])
def test_a_dead_engine_is_started_again_and_its_chunk_drawn_again(tmp_path: Path, how: str) -> None:
    (tmp_path / "marks").mkdir()
    outcome = run(
        tmp_path,
        prompts(5),
        partial(FailingSampler, how, 1, tmp_path / "marks"),
        max_restarts=1,
        max_num_seqs=1,
    )
    assert sampled(outcome.rows) == [(f"p{n}", index) for n in range(5) for index in range(2)]
    assert set(outcome.rows["finish_reason"].to_pylist()) == {"stop"}


def without_times(rows: pa.Table) -> list[dict[str, Any]]:
    kept = rows.drop_columns("created_at").to_pylist()
    return sorted(kept, key=lambda row: (row["prompt_id"], row["index"]))


def test_a_prompt_that_kills_the_engine_gets_rows_with_the_reason_and_all_others_are_drawn(
    tmp_path: Path,
) -> None:
    factory = partial(KilledSampler, ("p2",))
    outcome = run(tmp_path, prompts(6), factory, max_killed_share=0.2)
    assert sampled(outcome.rows) == [(f"p{n}", index) for n in range(6) for index in range(2)]
    others = pc.field("prompt_id") != "p2"
    killed = outcome.rows.filter(~others)
    assert killed["finish_reason"].to_pylist() == ["engine_killed"] * 2
    assert killed["solution"].to_pylist() == ["", ""]
    assert killed["seed"].to_pylist() == [20, 21]
    assert killed["log_probability"].to_pylist() == [None, None]
    # Deaths change no seed and no solution of the others.
    (whole,) = pending_chunks(prompts(6), committed_table("p2"), 9, 128)
    expected = sample_rows("policy", whole, scripted().draw(requests_of(whole)))
    assert without_times(outcome.rows.filter(others)) == without_times(expected)
    # A file is a commit, and no prompt is in two of them.
    assert all(len(group) == 1 for group in outcome.groups)


def test_prompts_that_kill_the_engine_are_held_to_a_share_and_not_committed_above_it(
    tmp_path: Path,
) -> None:
    factory, files = partial(KilledSampler, ("p2",)), tmp_path / "files"
    settings = config(tmp_path, max_restarts=1)
    files.mkdir()
    groups = generate(settings, 0, factory).function(
        context(settings.folder, start_ray=already_started),
        Rows(prompts(3)),
        policies("policy"),
        committed=Rows(committed_table("p0")),
        writer=FolderWriter(files),
    )
    written: list[WrittenFile] = []
    with pytest.raises(
        StageFailed, match=r"engine\.max_killed_share must be at least 0\.3334"
    ) as told:
        written.extend(file for group in groups for file in group)
    assert "prompt is p2" in str(told.value)
    assert "generate-policy.log" in str(told.value)
    rows = pa.concat_tables([pq.read_table(files / file.path) for file in written])
    assert set(rows["prompt_id"].to_pylist()) == {"p1"}

    # The remedy: the same command with the share that the message names.
    there = committed_table("p0", "p1")
    again = run(
        tmp_path, prompts(3), factory, committed=there, max_restarts=1, max_killed_share=0.3334
    )
    assert sampled(again.rows) == [("p2", 0), ("p2", 1)]
    assert set(again.rows["finish_reason"].to_pylist()) == {"engine_killed"}


@pytest.mark.parametrize(
    ("how", "why"), [("killed", "engine"), ("raises", "the engine lost its mind")]
)
def test_an_engine_that_dies_too_often_fails_the_stage_with_its_last_words(
    tmp_path: Path, how: str, why: str
) -> None:
    (tmp_path / "marks").mkdir()
    factory = partial(FailingSampler, how, 99, tmp_path / "marks")
    with pytest.raises(StageFailed, match=why) as failure:
        run(tmp_path, prompts(2), factory, max_restarts=1, max_num_seqs=1)
    assert "generate-policy.log" in str(failure.value)
    assert len(list((tmp_path / "marks").iterdir())) == 2


def test_what_the_sampler_refuses_is_not_tried_again(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    factory = partial(FailingSampler, "refused", 99, tmp_path / "marks")
    with pytest.raises(InputError, match="row 7: this prompt cannot be asked"):
        run(tmp_path, prompts(2), factory, max_restarts=3)
    assert len(list((tmp_path / "marks").iterdir())) == 1


def test_an_engine_that_does_not_start_fails_the_stage(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "model")
    with pytest.raises(StageFailed, match=rf"generate-{policy_id_of(checkpoint)}\.log"):
        run(tmp_path, prompts(2), None, checkpoint)


def test_vllm_draws_the_samples_of_a_policy(tmp_path: Path) -> None:
    checkpoint = build_tiny_model(tmp_path / "model")
    asked = prompt_table(
        *(prompt(f"p{n}", seed=10 * n, num_samples=3, stop=[]) for n in range(5)),
        prompt("greedy", decoding="greedy", temperature=0.0, top_k=0, num_samples=1, stop=[]),
        prompt("long", text="x" * 200, num_samples=2),
        prompt("stopped", seed=7, num_samples=4, max_tokens=64, stop=list(STOPS)),
    )
    outcome = run(tmp_path, asked, None, checkpoint)
    rows = {(row["prompt_id"], row["index"]): row for row in outcome.rows.to_pylist()}
    assert len(rows) == outcome.rows.num_rows == 5 * 3 + 1 + 2 + 4
    for (prompt_id, index), row in rows.items():
        if prompt_id == "long":
            assert (row["finish_reason"], row["num_prompt_tokens"]) == ("prompt_too_long", 200)
            assert row["log_probability"] is None
            continue
        if prompt_id == "stopped":
            # The tokens drawn include those of the stop string, which the text does not.
            assert row["stop_string"] in STOPS
            assert row["num_tokens"] >= 1
            assert not set(STOPS) & set(row["solution"])
            continue
        assert row["stop_string"] is None
        assert row["finish_reason"] in ("stop", "length")
        assert 1 <= row["num_tokens"] <= 8
        assert row["log_probability"] < 0
        assert row["seed"] == (1000 if prompt_id == "greedy" else 10 * int(prompt_id[1:])) + index
    log = tmp_path / "runs" / "generate" / "logs" / f"generate-{policy_id_of(checkpoint)}.log"
    assert "vllm" in log.read_text().lower()


def marked_vllm(marks: Path, checkpoint: str, config: RunConfig) -> Sampler:
    """A vLLM engine that leaves a file named like its process."""
    (marks / str(os.getpid())).touch()
    return VllmSampler(checkpoint, config.model, config.engine)


def test_a_vllm_process_killed_while_drawing_is_replaced(tmp_path: Path) -> None:
    marks, files = tmp_path / "marks", tmp_path / "files"
    marks.mkdir()
    files.mkdir()
    checkpoint = str(build_tiny_model(tmp_path / "model"))
    settings = config(tmp_path, max_restarts=1, max_num_seqs=4)
    given = context(settings.folder, start_ray=already_started)
    stage = generate(settings, 0, partial(marked_vllm, marks, checkpoint, settings))
    groups = stage.function(
        given,
        Rows(prompts(40)),
        policies("policy", checkpoint),
        committed=Rows(committed_table()),
        writer=FolderWriter(files),
    )
    written = [*next(groups)]
    (process,) = marks.iterdir()
    os.kill(int(process.name), signal.SIGKILL)
    written += [file for group in groups for file in group]
    rows = pa.concat_tables([pq.read_table(files / file.path) for file in written])
    assert sampled(rows) == sorted((f"p{n}", index) for n in range(40) for index in range(2))
    assert len(list(marks.iterdir())) == given.measures["engine_starts"] == 2
