from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.machine.sessions import ray_session
from pipelines.config import ProblemsConfig, RayConfig, RewardConfig, RunConfig, SourceConfig
from pipelines.errors import ConfigError, StageFailed
from pipelines.rewards import math_answer
from pipelines.rewards.verdict import Verdict
from pipelines.runtime.progress import SilentProgress
from pipelines.scoring import score_chunks
from pipelines.scoring.score_chunks import Verifier, was_cut
from pipelines.stage import WrittenFile
from pipelines.stages.score import score
from schemas import REWARDS
from tests.doubles import FolderWriter, Rows, context, unused

SAMPLES = "python:tests.pipelines.rewards.sample_rewards"


@dataclass
class Heard(SilentProgress):
    """Keeps what was said."""

    lines: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        self.lines.append(line)


def config(**reward: Any) -> RunConfig:
    source = SourceConfig(kind="jsonl", location="problems.jsonl")
    return RunConfig(
        name="test",
        problems=ProblemsConfig(sources=(source,)),
        reward=RewardConfig(**reward),
    )


def samples(*rows: tuple[str, str] | tuple[str, str, str]) -> Rows:
    """Rows of (prompt, solution[, finish reason])."""
    full = [(*row, "stop")[:3] for row in rows]
    return Rows(
        pa.table(
            {
                "sample_id": [f"s{number}" for number in range(len(full))],
                "problem_id": [f"problem of {prompt}" for prompt, _, _ in full],
                "prompt_id": [prompt for prompt, _, _ in full],
                "finish_reason": [reason for _, _, reason in full],
                "solution": [solution for _, solution, _ in full],
            }
        )
    )


def prompts(**references: str) -> Rows:
    return Rows(
        pa.table(
            {
                "prompt_id": list(references),
                "reference": list(references.values()),
                "question": [f"Question {prompt}" for prompt in references],
            }
        )
    )


def committed(sample_ids: list[str], verifier: str = "math_answer") -> Rows:
    return Rows(
        pa.table(
            {
                "sample_id": pa.array(sample_ids, pa.string()),
                "verifier": pa.array([verifier] * len(sample_ids), pa.string()),
            }
        )
    )


def run(
    stage_config: RunConfig,
    drawn: Rows,
    asked: Rows,
    done: Rows,
    folder: Path,
    start_ray: Callable[[], None] = unused,
) -> tuple[list[dict[str, Any]], dict[str, float], list[str]]:
    writer, heard = FolderWriter(folder), Heard()
    given = context(folder, start_ray=start_ray, progress=heard)
    groups: Iterator[list[WrittenFile]] = score(stage_config, 1).function(
        given, drawn, asked, committed=done, writer=writer
    )
    files = [file for group in groups for file in group]
    return writer.read(files), given.measures, heard.lines


def test_every_sample_gets_the_verdict_of_its_own_reference(tmp_path: Path) -> None:
    drawn = samples(("a", r"\boxed{1}"), ("b", r"\boxed{1}"), ("b", "The answer is 2."), ("a", "?"))
    rows, measures, _ = run(config(), drawn, prompts(b="2", a="1"), committed([]), tmp_path)
    assert [(row["sample_id"], row["verdict"], row["extracted"]) for row in rows] == [
        ("s0", "correct", "1"),
        ("s1", "wrong", "1"),
        ("s2", "correct", "2"),
        ("s3", "no_answer", None),
    ]
    assert [row["reward"] for row in rows] == [1.0, 0.0, 1.0, 0.0]
    assert rows[0]["problem_id"] == "problem of a"
    assert rows[0]["verifier"] == "math_answer"
    assert rows[0]["verifier_version"].startswith(f"{math_answer.VERSION}+math-verify-")
    assert measures["samples"] == 4
    assert measures["verdict_correct"] == 2
    assert measures["checker_failures"] == 0


def test_an_answer_that_repeats_its_question_is_wrong(tmp_path: Path) -> None:
    asked = Rows(
        pa.table(
            {
                "prompt_id": ["expand", "other"],
                "reference": ["x^2+2x+1", "x^2+2x+1"],
                "question": ["Expand $(x+1)^2$.", "Square $x+1$."],
            }
        )
    )
    echo, answer = r"It is $\boxed{(x+1)^2}$.", r"It is $\boxed{x^2+2x+1}$."
    drawn = samples(("expand", echo), ("expand", answer), ("other", echo))
    rows, _, _ = run(config(), drawn, asked, committed([]), tmp_path)
    assert [(row["verdict"], row["reward"]) for row in rows] == [
        ("wrong", 0.0),
        ("correct", 1.0),
        ("correct", 1.0),
    ]


def test_rows_have_the_columns_of_the_table_but_those_of_the_run(tmp_path: Path) -> None:
    run(config(), samples(("a", "1")), prompts(a="1"), committed([]), tmp_path)
    written = pq.read_schema(next(tmp_path.glob("*.parquet")))
    fields = [f for f in REWARDS.arrow_schema() if f.name not in ("run_id", "iteration")]
    assert written.equals(pa.schema(fields))


def test_samples_with_a_committed_verdict_of_the_verifier_are_left_out(tmp_path: Path) -> None:
    drawn = samples(("a", "1"), ("a", "2"), ("a", "3"))
    done = committed(["s0", "s2"])
    rows, measures, _ = run(config(), drawn, prompts(a="1"), done, tmp_path)
    assert [row["sample_id"] for row in rows] == ["s1"]
    assert measures["samples"] == 1

    other = committed(["s0", "s2"], verifier="another")
    rows, _, _ = run(config(), drawn, prompts(a="1"), other, tmp_path)
    assert len(rows) == 3


def test_nothing_is_written_where_everything_is_scored(tmp_path: Path) -> None:
    done = committed(["s0"])
    rows, measures, _ = run(config(), samples(("a", "1")), prompts(a="1"), done, tmp_path)
    assert rows == []
    assert measures["samples"] == 0
    assert list(tmp_path.iterdir()) == []


def test_a_sample_without_a_solution_is_not_shown_to_the_reward(tmp_path: Path) -> None:
    reward = config(function=f"{SAMPLES}:obeys")
    reasons = ("prompt_too_long", "error", "engine_killed")
    drawn = samples(*(("a", "raise if asked", reason) for reason in reasons))
    rows, _, heard = run(reward, drawn, prompts(a="1"), committed([]), tmp_path)
    assert [row["verdict"] for row in rows] == ["no_answer", "error", "no_answer"]
    assert heard == ["score: the checker failed: the engine drew no solution"]


def test_a_solution_cut_before_its_answer_is_truncated(tmp_path: Path) -> None:
    drawn = samples(
        ("a", "12 + 7", "length"),
        ("a", "#### 1", "length"),
        ("a", r"so \boxed{1} and further", "length"),
        ("a", "12 + 7", "stop"),
    )
    rows, _, _ = run(config(), drawn, prompts(a="1"), committed([]), tmp_path)
    assert [row["verdict"] for row in rows] == ["truncated", "truncated", "correct", "no_answer"]
    assert [row["reward"] for row in rows] == [0.0, 0.0, 1.0, 0.0]


def test_an_answer_at_the_cut_may_have_lost_its_end() -> None:
    assert was_cut("#### 12", Verdict(1.0, "correct", "12"))
    assert not was_cut(r"\boxed{12}", Verdict(1.0, "correct", "12"))
    assert not was_cut("anything", Verdict(0.5, "correct"))


def test_a_users_reward_is_real_valued_and_its_failures_are_told(tmp_path: Path) -> None:
    reward = config(function=f"{SAMPLES}:share_of_words", options={"scale": 10})
    drawn = samples(("a", "red green"), ("a", "blue"), ("b", "x"))
    asked = prompts(a="red blue", b="")
    rows, measures, heard = run(reward, drawn, asked, committed([]), tmp_path)
    assert [row["reward"] for row in rows] == [5.0, 5.0, 0.0]
    assert [row["verdict"] for row in rows] == ["correct", "correct", "error"]
    assert heard == [
        "score: the checker failed: raised ZeroDivisionError: division by zero (sample_rewards.py, line 18)"
    ]
    assert measures["checker_failures"] == 1


def test_a_missing_reward_is_refused_before_anything_is_scored(tmp_path: Path) -> None:
    drawn, asked = samples(("a", "1")), prompts(a="1")
    with pytest.raises(ConfigError, match=r"reward\.function must be math_answer"):
        run(config(function="maths"), drawn, asked, committed([]), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_chunks_are_handed_over_as_they_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_chunks, "CHUNK_SAMPLES", 3)
    drawn = samples(*[("a", f"\\boxed{{{n}}}") for n in range(8)])
    groups = score(config(), 1).function(
        context(tmp_path),
        drawn,
        prompts(a="1"),
        committed=committed([]),
        writer=FolderWriter(tmp_path),
    )
    assert [file.num_rows for file in next(groups)] == [3]
    assert len(list(tmp_path.iterdir())) == 1
    assert [file.num_rows for group in groups for file in group] == [3, 2]


def test_measures_are_complete_at_every_commit_and_add_to_those_of_earlier_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_chunks, "CHUNK_SAMPLES", 2)
    drawn = samples(*[("a", f"\\boxed{{{n}}}") for n in range(4)])
    given = context(tmp_path)
    given.measures.update(samples=100.0, verdict_correct=7.0, seconds=50.0)
    groups = score(config(), 1).function(
        given, drawn, prompts(a="1"), committed=committed([]), writer=FolderWriter(tmp_path)
    )
    seen = [(given.measures["samples"], given.measures["verdict_correct"]) for _ in groups]
    assert seen == [(102.0, 8.0), (104.0, 8.0)]
    assert given.measures["seconds"] > 50


def no_ray_again() -> None:
    """Ray was started by the first run."""


@pytest.mark.slow
def test_ray_data_gives_the_verdicts_that_the_driver_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = samples(*[("a", f"\\boxed{{{n % 7}}}") for n in range(500)], ("a", r"\boxed{\sqrt{9}}"))
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    asked, done = prompts(a="3"), committed([])
    expected, _, _ = run(config(), drawn, asked, done, here)
    monkeypatch.setattr(score_chunks, "LOCAL_SAMPLES", 100)
    monkeypatch.setattr(score_chunks, "CHUNK_SAMPLES", 64)
    ends = config(function="python:tests.pipelines.rewards.workers.ends_its_worker:reward")
    with ExitStack() as stack:
        session = ray_session(RayConfig(num_cpus=2, object_store_mb=100))
        start = partial(stack.enter_context, session)
        rows, measures, _ = run(config(), drawn, asked, done, there, start)
        with pytest.raises(StageFailed, match="ended while it was starting"):
            run(ends, drawn, asked, done, tmp_path, no_ray_again)

    def judged(row: dict[str, Any]) -> str:
        return json.dumps({**row, "milliseconds": None})

    assert sorted(map(judged, rows)) == sorted(map(judged, expected))
    assert measures["samples"] == 501
    assert measures["distinct_pairs"] == 8 * 7 + 1
    assert measures["examined"] <= 1
    assert len(list(there.iterdir())) == 8


def test_equal_solutions_of_different_chunks_are_judged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_chunks, "CHUNK_SAMPLES", 4)
    drawn = samples(*[("a", text) for text in ("pid", "pid again") for _ in range(5)])
    reward = config(function=f"{SAMPLES}:obeys")
    rows, measures, _ = run(reward, drawn, prompts(a="1"), committed([]), tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    assert len({row["milliseconds"] for row in rows}) == measures["examined"] == 2
    assert measures["samples"] == 10


def test_the_answer_of_differently_worded_solutions_is_examined_once(tmp_path: Path) -> None:
    drawn = samples(*[("a", f"Way {n}: " + rf"\boxed{{\sqrt{{{9 + n % 2}}}}}") for n in range(20)])
    rows, measures, _ = run(config(), drawn, prompts(a="3"), committed([]), tmp_path)
    assert measures["distinct_pairs"] == 20
    assert measures["examined"] <= 2
    assert [row["verdict"] for row in rows].count("correct") == 10


def test_a_failure_of_the_checker_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_chunks, "CHUNK_SAMPLES", 1)
    drawn = samples(("a", "raise no luck"), ("a", "raise no luck"), ("a", "raise again"))
    reward = config(function=f"{SAMPLES}:obeys")
    _, _, heard = run(reward, drawn, prompts(a="1"), committed([]), tmp_path)
    assert heard == [
        "score: the checker failed: raised RuntimeError: no luck (sample_rewards.py, line 50)",
        "score: the checker failed: raised RuntimeError: again (sample_rewards.py, line 50)",
    ]


def test_no_more_failures_are_told_than_people_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_chunks, "CHUNK_SAMPLES", 1)
    drawn = samples(*[("a", f"raise {number}") for number in range(12)])
    reward = config(function=f"{SAMPLES}:obeys")
    rows, _, heard = run(reward, drawn, prompts(a="1"), committed([]), tmp_path)
    assert len(heard) == 10
    assert [row["verdict"] for row in rows] == ["error"] * 12


def test_a_problems_samples_lie_together(tmp_path: Path) -> None:
    drawn = samples(*[(prompt, "1") for prompt in "bababa"])
    run(config(), drawn, prompts(a="1", b="2"), committed([]), tmp_path)
    (file,) = tmp_path.iterdir()
    problems = pq.read_table(file)["problem_id"].to_pylist()
    assert problems == ["problem of a"] * 3 + ["problem of b"] * 3


def test_the_verifier_is_named_with_its_version() -> None:
    verifier = Verifier.of(RewardConfig())
    assert verifier.name == "math_answer"
    assert verifier.version


def test_a_slow_reward_is_committed_by_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_chunks, "SECONDS_PER_CHUNK", 0.4)
    drawn = samples(*[("a", f"sleep 0.{100 + n}") for n in range(40)])
    groups = score(config(function=f"{SAMPLES}:obeys"), 1).function(
        context(tmp_path),
        drawn,
        prompts(a="1"),
        committed=committed([]),
        writer=FolderWriter(tmp_path),
    )
    sizes = [file.num_rows for group in groups for file in group]
    assert sum(sizes) == 40
    assert len(sizes) >= 3
    assert max(sizes) <= score_chunks.FIRST_CHUNK_SAMPLES


def test_a_fast_reward_is_committed_in_few_chunks(tmp_path: Path) -> None:
    drawn = samples(*[("a", f"word {n}") for n in range(2_000)])
    reward = config(function=f"{SAMPLES}:share_of_words")
    rows, _, _ = run(reward, drawn, prompts(a="1"), committed([]), tmp_path)
    assert len(rows) == 2_000
    assert len(list(tmp_path.iterdir())) <= 5
