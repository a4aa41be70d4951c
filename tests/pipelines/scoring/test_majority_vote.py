from __future__ import annotations

from collections import Counter
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import RewardConfig, RunConfig
from pipelines.errors import ConfigError
from pipelines.scoring.majority_vote import votes_of, voting
from pipelines.stages.score import score
from schemas import PROMPTS, REWARDS, SAMPLES
from tests.doubles import FolderWriter, Rows, context
from tests.factories import arrow

MATH = voting(RewardConfig(function="math_answer"))


def boxed(*answers: str | None, finish_reason: str = "stop") -> list[dict[str, Any]]:
    texts = ["I give up" if answer is None else rf"So \boxed{{{answer}}}." for answer in answers]
    return [{"solution": text, "finish_reason": finish_reason} for text in texts]


def rewards(*answers: str | None) -> list[float]:
    return [verdict.reward for verdict in votes_of(boxed(*answers), MATH)]


def test_the_answer_that_most_samples_give_is_rewarded_with_their_share() -> None:
    assert rewards("3", "4", "4", "5") == [0.0, 0.5, 0.5, 0.0]


def test_equal_answers_are_one_however_they_are_written() -> None:
    assert rewards(r"\frac12", "0.5", "3", "1/2", "3") == [0.6, 0.6, 0.0, 0.6, 0.0]


def test_a_sample_without_an_answer_does_not_vote_and_lowers_the_share() -> None:
    assert rewards("7", None, None, None) == [0.25, 0.0, 0.0, 0.0]
    assert rewards(None, None) == [0.0, 0.0]


def test_a_tie_is_broken_the_same_way_in_every_order() -> None:
    winners = set()
    for order in permutations(["9", "11", "9", "11"]):
        found = votes_of(boxed(*order), MATH)
        winners.add(frozenset(v.extracted for v in found if v.reward))
    assert winners == {frozenset({"11"})}


def test_a_cut_sample_does_not_vote() -> None:
    samples = boxed("1", "1", finish_reason="length") + boxed("2")
    assert [v.verdict for v in votes_of(samples, MATH)] == ["truncated", "truncated", "correct"]


def test_boxes_that_differ_are_no_vote() -> None:
    samples = [{"solution": r"\boxed{1} or \boxed{2}", "finish_reason": "stop"}, *boxed("1")]
    assert [v.reward for v in votes_of(samples, MATH)] == [0.0, 0.5]


@pytest.mark.parametrize("function", ["unit_tests", "python:os:getcwd"])
def test_a_reward_without_comparable_answers_is_refused(function: str) -> None:
    with pytest.raises(ConfigError, match=r"curate\.majority_vote must be false"):
        voting(RewardConfig(function=function))


def scored(folder: Path, references: list[str]) -> list[dict[str, Any]]:
    """Verdicts on twelve samples of three problems, shown with these references."""
    config = RunConfig.model_validate(
        {
            "name": "r",
            "problems": {"sources": [{"kind": "jsonl", "location": "x.jsonl"}]},
            "curate": {"majority_vote": True},
        }
    )
    prompts = arrow(
        PROMPTS,
        *[
            {"prompt_id": f"of {p}", "problem_id": p, "reference": reference}
            for p, reference in zip("abc", references, strict=True)
        ],
    )
    samples = arrow(
        SAMPLES,
        *[
            {"problem_id": p, "prompt_id": f"of {p}", "finish_reason": "stop", "index": n}
            | {"solution": rf"\boxed{{{min(n, 1) + ord(p)}}}"}
            for p in "abc"
            for n in range(4)
        ],
    )
    writer = FolderWriter(folder)
    nothing = Rows(REWARDS.arrow_schema().empty_table())
    made = score(config, 0).function(
        context(), Rows(samples), Rows(prompts), committed=nothing, writer=writer
    )
    rows = writer.read([file for group in made for file in group])
    return [{name: row[name] for name in ("sample_id", "reward", "verdict")} for row in rows]


def test_no_reference_is_read(tmp_path: Path) -> None:
    """Whatever stands in the place of the references, the verdicts are the same."""
    by_references = [
        scored(tmp_path, references)
        for references in (["98", "99", "100"], ["100", "98", "99"], ["", "", ""])
    ]
    assert by_references[0] == by_references[1] == by_references[2]
    assert Counter(row["verdict"] for row in by_references[0]) == {"correct": 9, "wrong": 3}
