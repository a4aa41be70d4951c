"""Samples are scored by the reward of their suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.config import RunConfig
from pipelines.config.suites import by_hand, rewards_by_suite
from pipelines.lake.location import Location
from pipelines.lake.snapshot import TableSnapshot
from pipelines.scoring.shares import FilteredSnapshot, shares_of
from pipelines.stage import WrittenFile
from pipelines.stages.score import score
from schemas import SAMPLES
from tests.doubles import FolderWriter, Rows, context
from tests.lake_fixture import write_lake
from tests.pipelines.config.test_suites import BBH, DIRECT, EXAM, PLAIN, config
from tests.pipelines.stages.test_score import committed, prompts


def test_each_sample_is_scored_by_one_reward_or_graded_by_hand() -> None:
    run = config(BBH, DIRECT, PLAIN, EXAM)
    found = {share.condition: share.reward for share in shares_of(run)}
    assert found == {
        "purpose NOT IN ('bbh', 'direct', 'exam')": run.reward,
        "purpose IN ('bbh')": rewards_by_suite(run)["bbh"],
        "purpose IN ('direct')": rewards_by_suite(run)["direct"],
    }
    assert by_hand(run) == ["exam"]
    assert [share.task for share in shares_of(run)] == ["score", "score bbh", "score direct"]
    assert shares_of(config())[0].condition == "true"


def test_further_verifiers_score_their_samples_too() -> None:
    further = [{"function": "math_verify"}, {"function": "hendrycks_math"}]
    run = config({**BBH, "verifiers": further[:1]}, evaluation={"verifiers": further})
    found = [
        (share.condition, share.reward.function, share.role, share.task) for share in shares_of(run)
    ]
    assert found[2:] == [
        (
            "purpose IN ('test', 'bbh')",
            "math_verify",
            "evaluation",
            "score test, bbh by math_verify",
        ),
        ("purpose IN ('test')", "hendrycks_math", "evaluation", "score test by hendrycks_math"),
    ]
    assert {role for _, _, role, _ in found[:2]} == {"reward"}


def answers(*rows: tuple[str, str, str]) -> Rows:
    """Samples of (purpose, prompt, solution)."""
    return Rows(
        pa.table(
            {
                "sample_id": [f"s{n}" for n in range(len(rows))],
                "problem_id": [prompt for _, prompt, _ in rows],
                "prompt_id": [prompt for _, prompt, _ in rows],
                "purpose": [purpose for purpose, _, _ in rows],
                "finish_reason": ["stop"] * len(rows),
                "solution": [solution for _, _, solution in rows],
            }
        )
    )


def scored(run: RunConfig, drawn: Rows, asked: Rows, folder: Path) -> tuple[Any, dict[str, float]]:
    given, writer = context(folder), FolderWriter(folder)
    groups: Iterator[list[WrittenFile]] = score(run, 0).function(
        given, drawn, asked, committed=committed([]), writer=writer
    )
    rows = writer.read([file for group in groups for file in group])
    return {row["sample_id"]: row for row in rows}, given.measures


def test_every_suite_is_scored_by_its_own_reward_and_the_exam_by_none(tmp_path: Path) -> None:
    drawn = answers(
        ("train", "n", r"\boxed{1}"),
        ("bbh", "w", "So the answer is yes."),
        ("direct", "w", "yes"),
        ("bbh", "w", "yes"),
        ("exam", "e", "The answer is 1."),
        ("plain", "n", "So the answer is yes."),
    )
    rows, measures = scored(
        config(BBH, DIRECT, PLAIN, EXAM), drawn, prompts(n="1", w="yes", e=""), tmp_path
    )
    assert {key: (row["verifier"], row["verdict"]) for key, row in rows.items()} == {
        "s0": ("math_answer", "correct"),
        "s1": ("exact_match", "correct"),
        "s2": ("exact_match", "correct"),
        "s3": ("exact_match", "no_answer"),
        "s5": ("math_answer", "wrong"),
    }
    assert rows["s1"]["verifier_version"] != rows["s2"]["verifier_version"]
    assert (measures["samples"], measures["verdict_correct"]) == (5, 3)


def test_each_further_verifier_gives_its_own_verdict(tmp_path: Path) -> None:
    drawn = answers(("train", "n", r"\boxed{4}"), ("test", "n", r"\boxed{3+1}"))
    further = [{"function": "math_verify"}, {"function": "hendrycks_math"}]
    run, writer = config(evaluation={"verifiers": further}), FolderWriter(tmp_path)
    groups = score(run, 0).function(
        context(tmp_path), drawn, prompts(n="4"), committed=committed([]), writer=writer
    )
    rows = writer.read([file for group in groups for file in group])
    found = {(row["sample_id"], row["verifier"]): (row["role"], row["verdict"]) for row in rows}
    assert found == {
        ("s0", "math_answer"): ("reward", "correct"),
        ("s1", "math_answer"): ("reward", "wrong"),  # not worked out
        ("s1", "math_verify"): ("evaluation", "correct"),
        ("s1", "hendrycks_math"): ("evaluation", "wrong"),
    }
    assert len(rows) == 4


def test_a_filtered_snapshot_has_the_rows_of_its_purposes(tmp_path: Path) -> None:
    lake = write_lake(tmp_path)
    whole = TableSnapshot(SAMPLES, Location(str(lake), {}), "first", 1, 1)
    tested = FilteredSnapshot(whole, "purpose IN ('test')")
    others = FilteredSnapshot(whole, "purpose NOT IN ('test', 'exam')")
    assert set(tested.arrow(["purpose"])["purpose"].to_pylist()) == {"test"}
    assert (
        tested.count() + others.count() == FilteredSnapshot(whole, "true").count() == whole.count()
    )
    assert tested.count("decoding = 'greedy' OR true") == tested.count() > 0
    assert (tested.iteration, tested.version) == (1, 1)
