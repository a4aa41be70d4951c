import gzip
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipelines.config import RewardConfig
from pipelines.errors import ConfigError
from pipelines.rewards.answers.extraction import boxed
from pipelines.rewards.math_answer import MathAnswer, math_answer
from pipelines.rewards.verdict import Verdict
from pipelines.rewards.workers.pool import ScoringPool
from tests.real_data import REAL_DATA, needs_real_data

GSM8K = REAL_DATA / "gsm8k" / "test.jsonl"
MATH_500 = REAL_DATA / "math" / "math500_prm800k_test.jsonl"
MATH = [REAL_DATA / "math" / f"{part}.jsonl.gz" for part in ("train", "test")]

SYMBOLIC = [
    (r"\sqrt{8}", r"2\sqrt{2}", "correct"),
    (r"(x+1)(x-1)", "x^2-1", "correct"),
    (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}", "correct"),
    (r"2^{3}", "8", "correct"),
    ("b + a + c", "a + b + c", "correct"),
    (r"3\pi", "3", "wrong"),
    ("5x", "5", "wrong"),
    ("x=1", "1,-1", "wrong"),
    ("3:1", "3", "correct"),
    ("1.414214", r"\sqrt{2}", "wrong"),
    (r"\frac{1}{", r"\sqrt{2}", "parse_error"),
]


def problems(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    return [json.loads(line) for line in text.decode().splitlines()]


@pytest.mark.parametrize(("answer", "reference", "verdict"), SYMBOLIC)
def test_answers_are_compared_as_mathematics(answer: str, reference: str, verdict: str) -> None:
    assert MathAnswer().score_symbolically(answer, reference).verdict == verdict


def test_math_verify_is_asked_last_and_does_not_equate_small_numbers_that_differ() -> None:
    reward = MathAnswer()
    assert reward.score_by_text(r"\boxed{2^{2004} \cdot 2}", "2^{2005}") == r"2^{2004} \cdot 2"
    assert reward.score_symbolically(r"2^{2004} \cdot 2", "2^{2005}").verdict == "correct"
    assert reward.score_symbolically(r"\frac{2}{2004!}", r"\frac{1}{2004!}").verdict == "wrong"


@pytest.mark.parametrize(
    ("solution", "reference", "verdict"),
    [
        (r"\boxed{1} or \boxed{2}", "2", Verdict(0.0, "ambiguous", "1 and 2")),
        (r"\boxed{1} or \boxed{2}", "3", Verdict(0.0, "ambiguous", "1 and 2")),
        (r"\boxed{0.5}, that is \boxed{\frac12}", "1/2", Verdict(1.0, "correct", r"\frac12")),
        (r"\boxed{0.5}, that is \boxed{\frac12}", "2", Verdict(0.0, "wrong", r"\frac12")),
        (r"\boxed{2 - b} or \boxed{-b+2}", "2-b", Verdict(1.0, "correct", "-b+2")),
        (r"so $\boxed{\frac{1}{2", "1/2", Verdict(0.0, "truncated")),
        ("so it is 1/2", "1/2", Verdict(0.0, "no_answer")),
        ("", "1/2", Verdict(0.0, "no_answer")),
    ],
)
def test_several_boxes_no_box_and_a_cut_box_have_their_own_verdicts(
    solution: str, reference: str, verdict: Verdict
) -> None:
    assert MathAnswer()(solution, reference) == verdict


def test_several_undecided_boxes_are_compared_symbolically_together() -> None:
    reward = MathAnswer()
    left = reward.score_by_text(r"\boxed{2^{2004} \cdot 2}, or \boxed{2^{2006} / 2}", "2^{2005}")
    assert left == r"\boxed{2^{2004} \cdot 2}\boxed{2^{2006} / 2}"
    assert reward.score_symbolically(left, "2^{2005}") == Verdict(1.0, "correct", "2^{2006} / 2")


def test_the_last_of_several_boxes_is_scored_if_configured() -> None:
    assert math_answer(several_boxes="last")(r"\boxed{1} or \boxed{2}", "2").verdict == "correct"
    with pytest.raises(ConfigError, match=r"several_boxes must be refuse or last, got 'first'"):
        math_answer(several_boxes="first")


@pytest.mark.parametrize(
    ("boxes", "reference", "verdict"),
    [
        (["3", "-4"], "3, -4", "correct"),
        (["-4", "3"], "3, -4", "correct"),
        (["3", "-4"], "$x_1 = 3$, $x_2 = -4$", "correct"),
        (["x_1 = 3", "x_2 = -4"], "$x_1 = 3$, $x_2 = -4$", "correct"),
        (["3", "-4"], r"3 \text{ and } -4", "correct"),
        (["3", "-4"], r"\{-4, 3\}", "correct"),
        (["3", "-3"], r"\pm 3", "correct"),
        (["1, 2", "3"], "1, 2, 3", "correct"),
        (["(1,2)", "(3,4)"], "(1,2), (3,4)", "correct"),
        (["3", "-4", "3, -4"], "3, -4", "correct"),
        (["3", "4"], "3, -4", "wrong"),
        (["3", "7", "-4"], "3, -4", "ambiguous"),
        (["3, -4", "3"], "3, -4", "ambiguous"),
        (["7", "3, -4"], "3, -4", "ambiguous"),
        (["3", "-4"], "(3, -4)", "ambiguous"),
        (["1", "234"], "1,234", "ambiguous"),
        (["3", "-4"], "3", "ambiguous"),
    ],
)
def test_boxes_together_state_a_reference_of_several_parts(
    boxes: list[str], reference: str, verdict: str
) -> None:
    solution = " and then ".join(rf"\boxed{{{box}}}" for box in boxes)
    assert MathAnswer()(solution, reference).verdict == verdict


@pytest.mark.parametrize(
    ("answer", "reference", "verdict"),
    [
        ("1, 1, 2", "1, 2", "correct"),
        (r"\{1, 1, 2\}", r"\{1, 2\}", "correct"),
        (r"\frac12, 0.5, 2", r"\frac12, 2", "correct"),
        ("2, 2", "2", "correct"),
        ("x = 2, x = 2", "2", "correct"),
        ("2, 2, 3", "2, 2, 3", "correct"),
        ("2, 3", "2, 2, 3", "wrong"),
        ("2, 3, 3", "2, 2, 3", "wrong"),
        ("2, 2, 3, 3", "2, 2, 3", "wrong"),
        ("2, 2", "2, 3", "wrong"),
        ("2, 3", "2", "wrong"),
        ("(1, 2, 2)", "(1, 2)", "wrong"),
        ("1, 1", "11", "wrong"),
    ],
)
def test_a_member_of_a_list_may_be_repeated(answer: str, reference: str, verdict: str) -> None:
    assert MathAnswer()(rf"\boxed{{{answer}}}", reference).verdict == verdict


def test_a_verdict_carries_the_reward_and_the_answer_found() -> None:
    reward = MathAnswer()
    assert reward(r"\boxed{18}", "18") == Verdict(1.0, "correct", "18")
    assert reward("The answer is 17.", "18") == Verdict(0.0, "wrong", "17")
    assert reward("It is 18", "18") == Verdict(0.0, "no_answer")


def test_an_empty_reference_is_a_failure_of_the_checker_not_of_the_solution() -> None:
    assert MathAnswer()(r"\boxed{18}", " ").verdict == "error"


def test_a_reference_may_be_a_whole_solution() -> None:
    reward = MathAnswer()
    assert reward(r"\boxed{18}", "9 * 2 = <<9*2=18>>18\n#### 18").verdict == "correct"
    assert reward(r"\boxed{18}", r"So $9 \cdot 2 = \boxed{18}$ in all.").verdict == "correct"


@pytest.mark.parametrize("extract", [[], "boxed", ["boxes"]])
def test_unknown_forms_are_refused_with_the_known_ones_named(extract: Sequence[str]) -> None:
    with pytest.raises(ConfigError, match=r"reward\.options\.extract .* boxed, hash, answer_is"):
        math_answer(extract)


def test_every_gsm8k_solution_passes_against_its_own_answer() -> None:
    reward = MathAnswer()
    for problem in problems(GSM8K):
        assert reward(problem["answer"], problem["answer"].split("####")[1]).verdict == "correct"


def test_every_math_500_solution_passes_against_its_own_answer() -> None:
    reward = MathAnswer()
    for problem in problems(MATH_500):
        assert reward(problem["solution"], problem["answer"]).verdict == "correct"


@needs_real_data
@pytest.mark.slow
def test_verdicts_on_the_12500_math_solutions_against_their_own_answers() -> None:
    rows = [row for path in MATH for row in problems(path)]
    pairs = [(row["solution"], boxed(row["solution"]) or "") for row in rows]
    for options, expected in (
        ({}, {"correct": 12_464, "ambiguous": 33, "error": 2, "parse_error": 1}),
        ({"several_boxes": "last"}, {"correct": 12_498, "error": 2}),
    ):
        with ScoringPool(RewardConfig(options=options), 2) as pool:
            scored = pool.score(pairs)
        assert Counter(given.verdict.verdict for given in scored) == expected


def test_gsm8k_answers_to_other_problems_pass_only_where_the_numbers_are_equal() -> None:
    rows = problems(GSM8K)
    references = [row["answer"].split("####")[1].strip() for row in rows]
    shuffled = random.Random(0).sample(references, len(references))
    reward, verdicts = MathAnswer(), Counter[str]()
    for row, own, other in zip(rows, references, shuffled, strict=True):
        verdict = reward(row["answer"], other)
        verdicts[verdict.verdict] += 1
        equal = int(own.replace(",", "")) == int(other.replace(",", ""))
        assert verdict.reward == float(equal), (own, other)
    assert set(verdicts) == {"correct", "wrong"}
