"""Trying a reward on a few references before a run: a reward that fails there fails on every sample."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pipelines.config import RewardConfig, RunConfig
from pipelines.config.suites import by_hand, rewards_by_suite
from pipelines.errors import InputError
from pipelines.rewards.references import gold_solutions
from pipelines.rewards.resolve import BUILT_IN, checker_failures, resolve_reward
from pipelines.rewards.workers.pool import ScoringPool
from pipelines.runtime.hardware import usable_cores

if TYPE_CHECKING:
    import pyarrow as pa

NUM_TRIED = 3
"""References that each reward is tried on."""


def try_rewards(config: RunConfig, rows: pa.Table) -> int:
    """Score a few problems' own solutions; returns their number.

    A reward of the user's is given the human solution, or else the reference itself.

    Args:
        config: the run's.
        rows: the problems, see `read_sources`.

    Raises:
        ConfigError: a reward cannot be used as it is configured.
        InputError: a reward failed on every reference that it was tried on.
    """
    own, graded = rewards_by_suite(config), by_hand(config)
    names = ["dataset", "split", "reference", "solution", "source_row"]
    tried: dict[str, tuple[RewardConfig, list[dict[str, Any]]]] = {}
    for row in _first_of_each_split(rows.select(names).to_pylist()):
        if row["split"] not in graded:
            reward = own.get(row["split"], config.reward)
            tried.setdefault(reward.model_dump_json(), (reward, []))[1].append(row)
    return sum(_try(reward, some[:NUM_TRIED]) for reward, some in tried.values())


def _first_of_each_split(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str | None, list[dict[str, Any]]] = {}
    for row in rows:
        some = found.setdefault(row["split"], [])
        if len(some) < NUM_TRIED:
            some.append(row)
    return [row for some in found.values() for row in some]


def _try(reward: RewardConfig, rows: list[dict[str, Any]]) -> int:
    resolved = resolve_reward(reward)
    is_own = reward.function not in BUILT_IN
    pairs, places = [], []
    for row in rows:
        human = [] if row["solution"] is None else [row["solution"]]
        gold = gold_solutions(resolved, row["reference"], human)
        if is_own:
            gold.append(row["reference"])
        if gold:
            pairs.append((gold[0], row["reference"]))
            places.append(f"row {row['source_row']} of {row['dataset']}")
    if not pairs:
        return 0
    with ScoringPool(reward, min(usable_cores(), len(pairs))) as pool:
        verdicts = [given.verdict for given in pool.score(pairs)]
    failed = [verdict for verdict in verdicts if verdict.verdict in checker_failures(reward)]
    if len(failed) == len(verdicts):
        raise InputError(
            f"reward.function {reward.function!r} fails on each of the {len(pairs)} references that "
            f"it was tried on, such as {places[0]}: {failed[0].detail or failed[0].verdict}; mend "
            "the reward, or reward.options"
        )
    return len(pairs)
