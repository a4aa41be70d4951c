import gzip
import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ConfigError
from pipelines.rewards.extraction import boxed
from pipelines.rewards.math_answer import MathAnswer, math_answer
from pipelines.rewards.verdict import Verdict

DATA = Path(os.environ.get("RESTEM_DATA", Path(__file__).parents[4] / "shared" / "data"))
GSM8K = DATA / "gsm8k" / "test.jsonl"
MATH_500 = DATA / "math" / "math500_prm800k_test.jsonl"
MATH = DATA / "math" / "test.jsonl.gz"

# A first sympy import takes seconds; these are the pairs for which it is worth it.
EXAMINED = [
    (r"\sqrt{8}", r"2\sqrt{2}", "correct"),
    (r"(x+1)(x-1)", "x^2-1", "correct"),
    (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}", "correct"),
    (r"2^{3}", "8", "correct"),
    ("b + a + c", "a + b + c", "correct"),
    (r"3\pi", "3", "wrong"),
    ("5x", "5", "wrong"),
    ("x=1", "1,-1", "wrong"),
    ("1.414214", r"\sqrt{2}", "wrong"),
    (r"\frac{1}{", r"\sqrt{2}", "parse_error"),
]


def problems(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        pytest.skip(f"{path.name} is not at hand")
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    return [json.loads(line) for line in text.decode().splitlines()]


@pytest.mark.parametrize(("answer", "reference", "verdict"), EXAMINED)
def test_mathematics_is_examined(answer: str, reference: str, verdict: str) -> None:
    reward = MathAnswer()
    assert reward.glance(rf"\boxed{{{answer}}} ", reference) == answer or "{" in answer
    assert reward.examine(answer, reference).verdict == verdict


def test_a_verdict_carries_the_reward_and_the_answer_found() -> None:
    reward = MathAnswer()
    assert reward(r"\boxed{18}", "18") == Verdict(1.0, "correct", "18")
    assert reward("The answer is 17.", "18") == Verdict(0.0, "wrong", "17")
    assert reward("It is 18", "18") == Verdict(0.0, "no_answer")


def test_an_empty_reference_is_the_checkers_failure_not_the_solutions() -> None:
    assert MathAnswer()(r"\boxed{18}", " ").verdict == "error"


def test_a_reference_may_be_a_whole_solution() -> None:
    reward = MathAnswer()
    assert reward(r"\boxed{18}", "9 * 2 = <<9*2=18>>18\n#### 18").verdict == "correct"
    assert reward(r"\boxed{18}", r"So $9 \cdot 2 = \boxed{18}$ in all.").verdict == "correct"


@pytest.mark.parametrize("extract", [[], "boxed", ["boxes"]])
def test_unknown_forms_are_refused_with_those_that_are_known(extract: Any) -> None:
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


def test_every_math_solution_passes_against_its_own_box() -> None:
    reward = MathAnswer()
    for problem in problems(MATH):
        reference = boxed(problem["solution"]) or ""
        assert reward(problem["solution"], reference).verdict == "correct", problem["unique_id"]


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
