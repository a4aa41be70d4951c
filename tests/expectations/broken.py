"""Literal tables that break one rule each."""

from __future__ import annotations

from dataclasses import dataclass, field

from expectations.contamination import contaminated_suites
from expectations.context import Checker, Context
from expectations.rule import Found
from schemas import (
    CONTAMINATION,
    EVALUATIONS,
    GRADES,
    POLICIES,
    PROBLEMS,
    PROMPTS,
    REWARDS,
    SAMPLES,
    SELECTIONS,
    TRAINING_SET,
    Table,
)

NAN = float("nan")


@dataclass(frozen=True)
class Broken:
    """Rows and the rule that they break; `num_unexpected` is None where it is not about single rows."""

    table: Table
    rule: str
    overrides: tuple[dict[str, object], ...]
    num_unexpected: int | None = 1
    context: Context = field(default_factory=Context)
    examples: tuple[dict[str, object], ...] = ()
    severity: str = "critical"
    share: bool = False
    """Whether the rule allows a share of rows to break it, so that further good rows would hide these."""


def _times(count: int, override: dict[str, object]) -> tuple[dict[str, object], ...]:
    return tuple(override for _ in range(count))


SCHEMA = (
    Broken(
        SAMPLES,
        "policy_id is not null",
        ({}, {"policy_id": None}),
        examples=({"policy_id": None, "sample_id": "sample-2"},),
    ),
    Broken(
        REWARDS,
        "reward is not null",
        ({}, {}, {"reward": NAN}),
        examples=({"reward": None, "sample_id": "sample-3", "verifier": "math_answer"},),
    ),
    Broken(
        TRAINING_SET,
        "num_tokens >= 1",
        ({"num_tokens": 0}, {}),
        examples=({"num_tokens": 0, "sample_id": "sample-1"},),
    ),
    Broken(
        TRAINING_SET,
        "weight >= 0",
        ({}, {"weight": -0.5}),
        examples=({"weight": -0.5, "sample_id": "sample-2"},),
    ),
    Broken(SAMPLES, "log_probability <= 0", ({"log_probability": 0.5}, {"log_probability": None})),
    Broken(PROMPTS, "top_p >= 0 and <= 1", ({"top_p": 1.5}, {"top_p": 1.0})),
    Broken(
        SAMPLES,
        "finish_reason is one of stop, length, prompt_too_long, error, engine_killed",
        ({}, {}, {"finish_reason": "tired"}),
        examples=({"finish_reason": "tired", "sample_id": "sample-3"},),
    ),
    Broken(
        SAMPLES,
        "key (run_id, iteration, sample_id) is unique",
        ({}, {}, {"sample_id": "sample-1"}),
        2,
        examples=({"run_id": "run", "iteration": 1, "sample_id": "sample-1"},) * 2,
    ),
)

DATA = (
    Broken(PROBLEMS, "at least 1 row", (), None),
    Broken(PROBLEMS, "question is not null", ({}, {"question": None})),
    Broken(
        PROBLEMS,
        "no question (normalized) is in two splits",
        ({}, {}, {"question": "WHAT is\n 1 +  1? ", "split": "test"}),
        2,
        examples=(
            {"question": "What is 1 + 1?", "split": "train", "problem_id": "problem-1"},
            {"question": "WHAT is\n 1 +  1? ", "split": "test", "problem_id": "problem-3"},
        ),
    ),
    Broken(
        PROBLEMS,
        "no reference that its own verifier refuses",
        ({},),
        1,
        Context(refused_references=Found(1, ({"problem_id": "problem-1"},))),
        ({"problem_id": "problem-1"},),
    ),
    Broken(PROMPTS, "at least 1 row", (), None),
    Broken(
        PROBLEMS,
        "no problem left out because its own verifier refuses its answer",
        ({},),
        1,
        Context(problems_left_out=Found(1, ({"problem_id": "problem-1"},))),
        severity="warning",
    ),
    Broken(PROMPTS, "2 rows", ({},), None, Context(expected_rows=2)),
    Broken(
        PROMPTS,
        "num_samples = 1 where decoding is greedy",
        ({"decoding": "greedy", "temperature": 0.0, "num_samples": 4}, {"num_samples": 4}),
    ),
    Broken(PROMPTS, "temperature = 0 where decoding is greedy", ({"decoding": "greedy"},)),
    Broken(
        PROMPTS,
        "(problem_id, purpose, decoding) is unique",
        ({}, {"problem_id": "problem-1"}),
        2,
    ),
    Broken(SAMPLES, "rows = prompts x num_samples", ({}, {}), None, Context(expected_rows=3)),
    Broken(
        SAMPLES,
        "(prompt_id, index) is unique",
        ({}, {"prompt_id": "prompt-1"}, {"prompt_id": "prompt-1", "index": 1}),
        2,
    ),
    Broken(
        SAMPLES,
        "max_tokens >= num_tokens",
        ({"num_tokens": 33}, {"num_tokens": 32}),
        examples=({"max_tokens": 32, "num_tokens": 33, "sample_id": "sample-1"},),
    ),
    Broken(
        SAMPLES,
        "finish_reason is engine_killed in at most 10.0% of rows",
        ({"finish_reason": "engine_killed"}, {"finish_reason": "engine_killed"}, *_times(10, {})),
        2,
        Context(max_killed_share=0.1),
        share=True,
    ),
    Broken(
        SAMPLES,
        "finish_reason is length in at most 20.0% of rows",
        ({"finish_reason": "length"}, {"finish_reason": "length"}, *_times(7, {})),
        2,
        severity="warning",
        share=True,
    ),
    Broken(
        SAMPLES,
        "mean of num_tokens is near the last iteration's",
        ({"num_tokens": 2}, {"num_tokens": 4}),
        None,
        Context(last_mean_tokens=10),
        severity="warning",
    ),
    Broken(REWARDS, "2 rows", ({},), None, Context(expected_rows=2)),
    Broken(
        REWARDS,
        "unit_tests (humaneval) failed on at most 10.0% of samples",
        ({},),
        2,
        Context(
            checkers=(
                Checker("math_answer", Found(9), 1000, 0.1, "reward.timeout_seconds"),
                Checker("unit_tests (humaneval)", Found(2), 19, 0.1, "reward.timeout_seconds"),
            )
        ),
    ),
    Broken(
        REWARDS,
        "no sample without a verdict",
        (),
        2,
        Context(samples_without_verdict=Found(2, ({"sample_id": "sample-1"},))),
        ({"sample_id": "sample-1"},),
    ),
    Broken(
        REWARDS,
        "no verdict without a sample",
        ({},),
        1,
        Context(verdicts_without_sample=Found(1)),
    ),
    Broken(SELECTIONS, "3 rows", ({},), None, Context(expected_rows=3)),
    Broken(
        SELECTIONS,
        "accepted share has not collapsed since the last iteration",
        (
            {},
            {"reason": "engine_killed", "kept": False},
            *_times(8, {"reason": "reward_not_above_threshold", "kept": False}),
        ),
        9,
        Context(last_accepted_share=0.5),
        severity="warning",
        share=True,
    ),
    Broken(
        SELECTIONS,
        "accepted share has not jumped since the last iteration",
        ({}, {}, {"reason": "reward_not_above_threshold", "kept": False}),
        2,
        Context(last_accepted_share=0.1),
        severity="warning",
        share=True,
    ),
    Broken(TRAINING_SET, "at least one solution was kept", (), None),
    Broken(
        TRAINING_SET,
        "at most 1 row per problem_id",
        (*_times(3, {"problem_id": "problem-9"}), {}),
        3,
        Context(cutoff=1),
    ),
    Broken(
        TRAINING_SET,
        "no problem of an evaluation set in training",
        ({},),
        1,
        Context(evaluation_problems_in_training=Found(1, ({"problem_id": "problem-1"},))),
        ({"problem_id": "problem-1"},),
    ),
    Broken(
        TRAINING_SET,
        "no question (normalized) of an evaluation set in training",
        ({},),
        4,
        Context(evaluation_questions_in_training=Found(4)),
    ),
    Broken(
        TRAINING_SET,
        "mean of num_tokens is near the last iteration's",
        ({"num_tokens": 40},),
        None,
        Context(last_mean_tokens=10),
        severity="warning",
    ),
    Broken(POLICIES, "one policy per iteration", ({}, {}), None),
    Broken(POLICIES, "num_epochs >= epoch", ({"epoch": 4},)),
    Broken(EVALUATIONS, "at least one metric", (), None),
    Broken(EVALUATIONS, "value >= ci_low", ({"value": 0.1}, {})),
    Broken(EVALUATIONS, "ci_high >= value", ({"value": 0.6}, {})),
    Broken(
        EVALUATIONS,
        "value >= 0 and <= 1 where metric is not train_test_gap, mean_reward, greedy_reward or "
        "graded_points",
        (
            {"value": 1.5, "ci_high": 2.0},
            {"metric": "train_test_gap", "value": -0.5, "ci_low": -1.0},
        ),
        examples=({"metric": "greedy_accuracy", "value": 1.5, "suite": "test"},),
    ),
    Broken(
        CONTAMINATION,
        "no evaluation problem with the text of a training problem",
        ({"exact": True},),
        1,
        Context(problems_in_training=Found(1, ({"problem_id": "problem-1"},))),
        ({"problem_id": "problem-1"},),
    ),
    Broken(
        CONTAMINATION,
        "no suite of which too many problems share a run of words with a training problem",
        ({},),
        1,
        Context(contaminated_suites=contaminated_suites({"test": (3, 100)}, 13, 0.02)),
        ({"suite": "test", "problems": 100, "words": 13, "shared": 3},),
        severity="warning",
    ),
    Broken(GRADES, "at least one mark", (), None),
    Broken(GRADES, "max_points >= points", ({"points": 4.5}, {"points": 4.0})),
)

CASES = (*SCHEMA, *DATA)
