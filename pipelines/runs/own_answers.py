"""Whether problems that were taken from another run pass a changed reward, as `ingest` requires."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
    if sealed is None or _rewards(old) == _rewards(new):
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
    own = rewards_by_suite(new)
    for split in sorted({problem["split"] for problem in problems} - set(by_hand(new))):
        asked = [problem for problem in problems if problem["split"] == split]
        texts = [(p["reference"], [p["solution"]] if p["solution"] else []) for p in asked]
        answers = own_answers(own.get(split, new.reward), texts, usable_cores())
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


def _rewards(config: RunConfig) -> dict[str, RewardConfig]:
    """What decides whether a problem's own answer passes, by suite; the run's under its own name."""
    return {"": config.reward, **rewards_by_suite(config)}
