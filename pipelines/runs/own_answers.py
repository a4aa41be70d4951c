"""Whether problems that were taken from another run pass a changed reward, as `ingest` requires."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelines.config import RewardConfig, RunConfig
from pipelines.config.suites import by_hand, rewards_by_suite
from pipelines.errors import InputError, list_faults
from pipelines.lake.snapshot import TableSnapshot
from pipelines.rewards.references import own_answers
from pipelines.runtime.hardware import usable_cores
from schemas import PROBLEMS
from schemas.problems import REFUSED

if TYPE_CHECKING:
    from pipelines.lake.location import Location
    from pipelines.lake.seal import Seal

_COLUMNS = ["problem_id", "split", "reference", "solution"]


def require_own_answers(
    location: Location, old: RunConfig, new: RunConfig, seals: Sequence[Seal]
) -> None:
    """Require that the problems of a run would be the same under another configuration's rewards.

    Args:
        location: the lake.
        old: the run's configuration.
        new: the other one.
        seals: of what is taken from the run.

    Raises:
        InputError: problems were left out for the run's reward, or fail the other one; the message
            names them.
    """
    sealed = next((seal for seal in seals if seal.table_name == PROBLEMS.name), None)
    splits = {"", *rewards_by_suite(new)} - set(by_hand(new))
    changed = {split for split in splits if _judge(old, split) != _judge(new, split)}
    if sealed is None or not changed:
        return
    snapshot = TableSnapshot(PROBLEMS, location, old.name, 0, sealed.version)
    problems = snapshot.arrow(_COLUMNS).to_pylist()
    num_refused = sum(problem["split"] == REFUSED for problem in problems)
    if num_refused:
        raise InputError(
            f"reward: decided that {num_refused:,} problems of run {old.name!r} were left out, and "
            "another reward may decide otherwise; use --from ingest@0"
        )
    faults = []
    for split in sorted({problem["split"] for problem in problems} - set(by_hand(new))):
        if (split if split in splits else "") not in changed:
            continue  # code that only the lake names is not run
        asked = [problem for problem in problems if problem["split"] == split]
        texts = [(p["reference"], [p["solution"]] if p["solution"] else []) for p in asked]
        answers = own_answers(_reward(new, split), texts, usable_cores())
        faults += [
            f"problem {problem['problem_id']}: {answer.refused}"
            for problem, answer in zip(asked, answers, strict=True)
            if answer.refused is not None
        ]
    if faults:
        raise InputError(
            f"reward: {len(faults):,} problems of run {old.name!r} have an own answer that fails it, "
            "so no solution of them could pass; correct the reward, or use --from ingest@0:\n"
            + list_faults([f"  {fault}" for fault in faults], len(faults))
        )


def _reward(config: RunConfig, split: str) -> RewardConfig:
    """The reward of a suite's problems; the run's for any other split."""
    return rewards_by_suite(config).get(split, config.reward)


def _judge(config: RunConfig, split: str) -> dict[str, Any]:
    """What decides whether an own answer passes: the reward without its tolerances."""
    reward = _reward(config, split)
    return reward.model_dump(exclude=set(reward.tolerances))
