from __future__ import annotations

import pytest

from pipelines.config import RewardConfig
from pipelines.errors import ConfigError
from pipelines.rewards.exact_match import exact_match
from pipelines.rewards.resolve import resolve_reward, verifier_version
from pipelines.rewards.verdict import Verdict
from pipelines.rewards.workers.pool import ScoringPool

RIGHT, WRONG, NONE = "correct", "wrong", "no_answer"


@pytest.mark.parametrize(
    ("solution", "reference", "verdict", "extracted"),
    [
        ("So the answer is (A).", "(A)", RIGHT, "(A)"),
        ("The answer is: valid", "valid", RIGHT, "valid"),
        ("It seems the answer is no. So the answer is yes.", "yes", RIGHT, "yes"),
        ("It seems the answer is no.\nSo the answer is yes.", "yes", RIGHT, "yes"),
        ("So the answer is apple  pear .", "apple pear", RIGHT, "apple  pear"),
        ("So the answer is ] ] }.", "] ] }", RIGHT, "] ] }"),
        ("So the answer is (A) because it is first.", "(A)", WRONG, "(A) because it is first"),
        ("So the answer is false.", "False", WRONG, "false"),
        ("So the answer is A.", "(A)", WRONG, "A"),
        ("So the answer is 10.", "1", WRONG, "10"),
        ("(A)", "(A)", NONE, None),
        ("The answer is.", "(A)", NONE, None),
        ("", "(A)", NONE, None),
    ],
)
def test_an_announced_answer_must_match_every_character(
    solution: str, reference: str, verdict: str, extracted: str | None
) -> None:
    given = exact_match()(solution, reference)
    assert given == Verdict(float(verdict == RIGHT), verdict, extracted)


@pytest.mark.parametrize(
    ("solution", "verdict"),
    [(" True\n\nQ: and", RIGHT), ("\n\n True \n", RIGHT), ("It is True", WRONG), (" \n ", NONE)],
)
def test_a_direct_answer_is_the_first_line(solution: str, verdict: str) -> None:
    assert exact_match(extract=["first_line"])(solution, "True").verdict == verdict


def test_case_is_ignored_only_if_configured() -> None:
    assert exact_match(ignore_case=True)("So the answer is YES.", "yes").verdict == RIGHT
    assert exact_match()("So the answer is YES.", "yes").verdict == WRONG


def test_an_empty_reference_is_an_error_and_never_a_match() -> None:
    assert exact_match(extract=["first_line"])("anything", " ").verdict == "error"


@pytest.mark.parametrize("extract", ["answer_is", [], ["boxed"]])
def test_unknown_forms_are_refused(extract: object) -> None:
    with pytest.raises(ConfigError, match=r"reward\.options\.extract must be a list"):
        resolve_reward(RewardConfig(function="exact_match", options={"extract": extract}))


def test_the_pool_scores_it_without_a_worker_and_under_its_own_version() -> None:
    config = RewardConfig(function="exact_match")
    with ScoringPool(config, 1) as pool:
        scored = pool.score([("So the answer is 4.", "4"), ("So the answer is 5.", "4")])
        assert pool._workers == []
    assert [s.verdict.verdict for s in scored] == [RIGHT, WRONG]
    assert "math-verify" not in verifier_version(config)
    other = RewardConfig(function="exact_match", options={"ignore_case": True})
    assert verifier_version(other) != verifier_version(config)
