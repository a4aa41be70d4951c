"""The samples that can be browsed: a seeded choice of problems, with all that is known of each."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from deltalake import write_deltalake

from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.results.sample_pages import MAX_PER_PROMPT, SampleSelection, select_for_pages
from schemas import REWARDS
from tests import factories
from tests.lake_fixture import FEW_SHOT, Rows, run_rows, write_lake


def draw_more(rows: Rows) -> None:
    """Twelve samples of each training problem and iteration, not four."""
    drawn = [sample for sample in rows["samples"] if sample["purpose"] == "train"]
    rows["samples"] += [
        {**sample, "sample_id": f"{sample['sample_id']}-{n}", "index": sample["index"] + 4 * n}
        for sample in drawn
        for n in (1, 2)
    ]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> LakeReader:
    return LakeReader(Location(str(write_lake(tmp_path_factory.mktemp("lake"), draw_more))))


def problems(chosen: SampleSelection) -> set[str]:
    return {sample["problem_id"] for sample in chosen.samples}


def test_all_samples_are_there_if_there_is_room_but_for_many_of_one_prompt(
    reader: LakeReader,
) -> None:
    chosen = select_for_pages(reader, "first", 1000, seed=0)
    assert (chosen.num_samples, chosen.num_problems) == (156, 8)
    per_prompt = Counter((s["iteration"], s["problem_id"]) for s in chosen.samples)
    assert Counter(per_prompt.values()) == {MAX_PER_PROMPT: 12, 1: 12}


def test_a_choice_has_all_iterations_of_a_problem_and_problems_of_each_kind(
    reader: LakeReader,
) -> None:
    chosen = select_for_pages(reader, "first", 30, seed=0)
    assert len(chosen.samples) == 30  # a training problem's 3 x 8, a test problem's 3, another's
    assert Counter(s["purpose"] for s in chosen.samples) == {"train": 24, "test": 6}
    assert {s["iteration"] for s in chosen.samples} == {0, 1, 2}
    assert set(chosen.problems) == problems(chosen)
    assert {s["prompt_id"] for s in chosen.samples} == set(chosen.prompts)


def test_the_seed_decides_the_choice(reader: LakeReader) -> None:
    def ids(seed: int) -> list[str]:
        chosen = select_for_pages(reader, "first", 30, seed)
        return [sample["sample_id"] for sample in chosen.samples]

    assert ids(0) == ids(0)
    assert len({tuple(ids(seed)) for seed in range(6)}) > 2


def test_a_sample_has_its_verdict_its_selection_and_its_prompt(tmp_path: Path) -> None:
    reader = LakeReader(Location(str(write_lake(tmp_path))))
    chosen = select_for_pages(reader, "first", 1000, seed=0)
    samples = {sample["sample_id"]: sample for sample in chosen.samples}
    kept, dropped = samples["first-1-sample-1-0"], samples["first-1-sample-1-1"]
    assert (kept["selection"]["kept"], kept["weight"]) == (True, 1.0)
    assert (dropped["selection"]["reason"], dropped["weight"]) == ("duplicate_solution", None)
    assert samples["first-2-sample-1-0"]["selection"] is None
    assert [verdict["verdict"] for verdict in kept["verdicts"]] == ["correct"]
    assert kept["selected_on"] == []
    prompt = chosen.prompts[kept["prompt_id"]]
    assert chosen.shared_prompts[prompt.shared] == FEW_SHOT
    assert prompt.rest == "Question: What is 1 + 1?\nAnswer:"
    assert [policy["iteration"] for policy in chosen.policies] == [0, 1, 2]
    assert {stage["stage"] for stage in chosen.stages} >= {"ingest", "generate", "improve"}


def test_a_rescored_sample_has_the_verdict_that_its_selection_read(tmp_path: Path) -> None:
    def score_again(rows: Rows) -> None:
        """The seals of a run that was rescored after its first selection."""
        stages = {(stage["stage"], stage["iteration"]): stage for stage in rows["stages"]}
        read = {"table": "rewards", "iteration": 0, "version": 1}
        stages["select", 1]["inputs"] = json.dumps([read])
        rows["stages"].append({**stages["score", 0], "attempt": 2, "version": 2})

    lake = write_lake(tmp_path, score_again)
    rewards = [r for r in run_rows("first")["rewards"] if r["iteration"] == 0]
    write_deltalake(
        lake / "rewards",
        factories.arrow(REWARDS, *({**r, "verifier_version": "2"} for r in rewards)),
        mode="overwrite",
        predicate="run_id = 'first' AND iteration = 0",
    )
    chosen = select_for_pages(LakeReader(Location(str(lake))), "first", 1000, seed=0)
    samples = {sample["sample_id"]: sample for sample in chosen.samples}
    old, newer = samples["first-0-sample-1-0"], samples["first-1-sample-1-0"]
    assert [verdict["verifier_version"] for verdict in old["verdicts"]] == ["2"]
    assert [verdict["verifier_version"] for verdict in old["selected_on"]] == ["1"]
    assert newer["selected_on"] == []


def test_a_run_without_samples_has_none(tmp_path: Path) -> None:
    def nothing_of_the_first(rows: Rows) -> None:
        if rows["runs"][0]["run_id"] == "first":
            for sample in rows["samples"]:
                sample["run_id"] = "second"

    reader = LakeReader(Location(str(write_lake(tmp_path, nothing_of_the_first))))
    chosen = select_for_pages(reader, "first", 30, seed=0)
    assert (chosen.samples, chosen.num_samples) == ([], 0)
    assert chosen.problems == {}
