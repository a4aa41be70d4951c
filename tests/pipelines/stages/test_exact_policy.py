"""Methods against exact results, on a policy whose outcomes can be enumerated.

The policy has a logit for each prefix and token: 4 tokens, length 3, 64 solutions. Its exact M-step
is the weighted relative frequency of the training rows, whatever it starts from; so what a method
trains towards can be compared with its formula.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pipelines.config import RunConfig
from pipelines.stages.curate import curate
from pipelines.stages.select_samples import select_samples
from schemas import PROBLEMS, PROMPTS, REWARDS, SAMPLES
from tests import factories
from tests.doubles import context

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pipelines.metrics.bootstrap import Floats

pytestmark = pytest.mark.slow

TOKENS = "abcd"
OUTCOMES = ["".join(word) for word in itertools.product(TOKENS, repeat=3)]
SIGMAS = 4.5
"""Deviation that a right result exceeds once in 10^5 comparisons."""


class TabularPolicy:
    """p(y) as a product of the tokens' probabilities, each a softmax over its prefix's logits."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        prefixes = ["", *TOKENS, *(a + b for a in TOKENS for b in TOKENS)]
        self.logits = {prefix: random.normal(0, 1, len(TOKENS)) for prefix in prefixes}

    def token_probabilities(self, prefix: str) -> Floats:
        exponents: Floats = np.exp(self.logits[prefix])
        return exponents / exponents.sum()

    def probabilities(self) -> Floats:
        """p(y) of each outcome."""
        return np.array(
            [
                math.prod(
                    self.token_probabilities(word[:place])[TOKENS.index(token)]
                    for place, token in enumerate(word)
                )
                for word in OUTCOMES
            ]
        )

    def log_gradient(self, word: str) -> dict[str, Floats]:
        """d log p(y) / d logits, by prefix."""
        found = {}
        for place, token in enumerate(word):
            indicator = np.eye(len(TOKENS))[TOKENS.index(token)]
            found[word[:place]] = indicator - self.token_probabilities(word[:place])
        return found


def reward_of(word: str) -> float:
    """A real-valued reward, 0 for half of the outcomes."""
    return (word.count("a") + 2 * word.count("b")) / 6 if word[0] in "ab" else 0.0


def is_correct(word: str) -> float:
    return float(word in ("aab", "bca", "cab", "ddd", "bbb", "acd"))


def training_rows(
    spark: SparkSession,
    drawn: Mapping[str, list[str]],
    reward: Callable[[str], float] | Mapping[str, Callable[[str], float]],
    **settings: Any,
) -> list[tuple[str, str, float]]:
    """(problem, solution, weight) of D_i, made by the product's own stages from drawn solutions.

    The reward is one for all problems, or each problem's own.
    """
    by_problem = reward if isinstance(reward, Mapping) else dict.fromkeys(drawn, reward)
    pairs = [(problem, word) for problem, words in drawn.items() for word in words]
    samples = [
        {"problem_id": problem, "solution": word, "prompt_id": f"of {problem}", "num_tokens": 3}
        for problem, word in pairs
    ]
    rewards = [
        {"problem_id": problem, "reward": by_problem[problem](word)} for problem, word in pairs
    ]
    config = RunConfig.model_validate(
        {
            "name": "r",
            "problems": {"sources": [{"kind": "jsonl", "location": "x.jsonl"}]},
            "curate": settings,
        }
    )
    asked = [{"problem_id": problem, "prompt_id": f"of {problem}"} for problem in drawn]
    frames = [
        spark.createDataFrame(factories.arrow(table, *rows))
        for table, rows in ((SAMPLES, samples), (REWARDS, rewards), (PROMPTS, asked))
    ]
    problems = spark.createDataFrame(factories.arrow(PROBLEMS, *[{"problem_id": p} for p in drawn]))
    selections = select_samples(frames[0], frames[1], config.curate, 0, 1024)
    made = curate(config).function(context(), selections, frames[0], frames[2], problems).toArrow()
    columns = made.select(["problem_id", "solution", "weight"]).to_pydict()
    return list(zip(*columns.values(), strict=True))


def draw(policy: TabularPolicy, count: int, seed: int = 0) -> list[str]:
    chosen = np.random.default_rng(seed).choice(len(OUTCOMES), count, p=policy.probabilities())
    return [OUTCOMES[n] for n in chosen]


def m_step(rows: list[tuple[str, str, float]]) -> Floats:
    """The exact M-step's p(y)."""
    weights = np.zeros(len(OUTCOMES))
    for _, word, weight in rows:
        weights[OUTCOMES.index(word)] += weight
    shares: Floats = weights / weights.sum()
    return shares


def are_close(rows: list[tuple[str, str, float]], expected: Floats) -> bool:
    """Whether the rows' M-step is the expected p(y), but for the chance of the draws.

    The bound is the standard error of a share of independent rows, and ten rows for rare outcomes.
    """
    weights = np.array([weight for _, _, weight in rows])
    row = weights.max() / weights.sum()
    error = SIGMAS * np.sqrt(expected * row) + 10 * row
    return bool((np.abs(m_step(rows) - expected) <= np.where(expected > 0, error, 0)).all())


KEEP_ALL = {"distinct": "none", "cutoff": None}


def test_rest_em_without_a_cutoff_is_exact_em(spark: SparkSession) -> None:
    """p_1(y) = p_0(y) c(y) / pi, and the second iteration changes nothing."""
    policy = TabularPolicy(0)
    rows = training_rows(spark, {"x": draw(policy, 8_000)}, is_correct, **KEEP_ALL)
    target = policy.probabilities() * [is_correct(word) for word in OUTCOMES]
    assert are_close(rows, target / target.sum())
    assert not are_close(rows, policy.probabilities())


def test_reward_weighted_regression_trains_towards_its_formula(spark: SparkSession) -> None:
    """p_1(y) is proportional to p_0(y) exp(r(y) / beta), Peters & Schaal 2007."""
    policy, beta = TabularPolicy(1), 0.4
    settings = {"threshold": None, "weight": "exponential", "beta": beta, **KEEP_ALL}
    rows = training_rows(spark, {"x": draw(policy, 8_000)}, reward_of, **settings)
    target = policy.probabilities() * np.exp([reward_of(word) / beta for word in OUTCOMES])
    assert are_close(rows, target / target.sum())
    hotter = policy.probabilities() * np.exp([reward_of(word) / 0.6 for word in OUTCOMES])
    assert not are_close(rows, hotter / hotter.sum())


def test_adding_a_constant_to_the_reward_changes_no_share_of_the_weight(
    spark: SparkSession,
) -> None:
    drawn = {"x": draw(TabularPolicy(1), 500)}
    settings = {"threshold": None, "weight": "exponential", "beta": 0.4, **KEEP_ALL}

    def shifted(by: float) -> Floats:
        return m_step(training_rows(spark, drawn, lambda w: reward_of(w) + by, **settings))

    assert shifted(1000.0) == pytest.approx(shifted(0.0), rel=1e-9)


def test_raft_keeps_the_best_of_k_with_the_law_of_order_statistics(spark: SparkSession) -> None:
    """P(kept = y) = (F(r_y)^K - F(below r_y)^K) p(y) / P(r = r_y), Dong et al. 2023."""
    policy, num_samples, num_problems = TabularPolicy(2), 4, 4_000
    words = draw(policy, num_samples * num_problems)
    drawn = {f"x{n}": words[n * num_samples : (n + 1) * num_samples] for n in range(num_problems)}
    settings = {"order": "reward", "cutoff": 1, "distinct": "none", "weight": "one"}
    rows = training_rows(spark, drawn, reward_of, threshold=None, **settings)
    assert len(rows) == num_problems
    p, r = policy.probabilities(), np.array([reward_of(word) for word in OUTCOMES])
    at_most = np.array([p[r <= value].sum() for value in r])
    below = np.array([p[r < value].sum() for value in r])
    of_value = np.array([p[r == value].sum() for value in r])
    best_of = {k: (at_most**k - below**k) * p / of_value for k in (num_samples, 2 * num_samples)}
    assert are_close(rows, best_of[num_samples])
    assert not are_close(rows, best_of[2 * num_samples])


def test_one_step_of_iml_is_a_policy_gradient_step(spark: SparkSession) -> None:
    """E of the sum over the N draws of r(y) grad log p(y), divided by N, is grad E[r]."""
    policy, count = TabularPolicy(3), 20_000
    rows = training_rows(spark, {"x": draw(policy, count)}, reward_of, **KEEP_ALL)
    p = policy.probabilities()
    gradients = [policy.log_gradient(word) for word in OUTCOMES]
    by_word = np.zeros(len(OUTCOMES))
    for _, word, weight in rows:
        by_word[OUTCOMES.index(word)] += weight
    for prefix in policy.logits:
        per_word = np.array([g.get(prefix, np.zeros(len(TOKENS))) for g in gradients])
        rewarded = per_word * np.array([reward_of(word) for word in OUTCOMES])[:, None]
        exact = p @ rewarded
        error = np.sqrt((p @ rewarded**2 - exact**2) / count)
        found = by_word @ per_word / count
        assert (np.abs(found - exact) <= SIGMAS * error + 1e-12).all(), prefix


@pytest.mark.parametrize("per_problem", [False, True])
def test_em_never_lowers_its_objective(spark: SparkSession, per_problem: bool) -> None:
    """The mean of pi(x), or with one weight a problem the mean of log pi(x), does not fall.

    Two problems that differ in what is correct share the policy, so the M-step is a compromise. The
    E-step is exact but for rounding: every solution is drawn as often as is expected.
    """
    correct = {"x": is_correct, "y": lambda word: float(word[0] == "a")}

    def objective(p: Floats) -> float:
        pi = [float(p @ [check(word) for word in OUTCOMES]) for check in correct.values()]
        return sum(map(math.log, pi)) if per_problem else sum(pi)

    policies = [TabularPolicy(4).probabilities()]
    for _ in range(2):
        counts = np.round(policies[-1] * 3_000).astype(int)
        words = [word for word, n in zip(OUTCOMES, counts, strict=True) for _ in range(n)]
        drawn = dict.fromkeys(correct, words)
        rows = training_rows(spark, drawn, correct, per_problem=per_problem, **KEEP_ALL)
        policies.append(m_step(rows))
    objectives = [objective(p) for p in policies]
    gains = np.diff(objectives)
    assert gains[0] > 0.1
    assert (gains > -0.002).all(), objectives
