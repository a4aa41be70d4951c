import pytest

from benchmarks.code_mutations import SWAPPED_BRANCH, mutate
from benchmarks.code_problems import Solved, apps, human_eval, in_a_fence, mbpp
from pipelines.config import RewardConfig
from pipelines.rewards.workers.pool import ScoringPool
from pipelines.runtime.hardware import usable_cores
from tests.real_data import REAL_DATA, needs_real_data

pytestmark = [pytest.mark.slow, needs_real_data]


def verdicts(problems: list[Solved]) -> dict[str, str]:
    config = RewardConfig(function="unit_tests", timeout_seconds=30)
    pairs = [(in_a_fence(problem.program), problem.reference) for problem in problems]
    with ScoringPool(config, usable_cores()) as pool:
        scored = pool.score(pairs)
    return {p.name: s.verdict.verdict for p, s in zip(problems, scored, strict=True)}


def test_the_canonical_solutions_of_human_eval_pass() -> None:
    found = verdicts(human_eval(REAL_DATA))
    assert len(found) == 164
    assert set(found.values()) == {"correct"}


def test_every_tenth_reference_of_mbpp_and_every_human_solution_of_apps_passes() -> None:
    found = verdicts([*mbpp(REAL_DATA)[::10], *apps(REAL_DATA)])
    assert len(found) == 98 + 101
    assert {name: verdict for name, verdict in found.items() if verdict != "correct"} == {}


def test_human_eval_programs_with_a_swapped_branch_fail() -> None:
    mutants = [
        problem._replace(program=changed)
        for problem in human_eval(REAL_DATA)[::4]
        if (changed := mutate(problem.program, SWAPPED_BRANCH)) is not None
    ]
    found = list(verdicts(mutants).values())
    assert found.count("correct") <= 0.05 * len(found)
