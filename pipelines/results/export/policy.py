"""Which policy of a run is taken out, and its checkpoint on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.checkpoints.load import PolicyLoader
from pipelines.checkpoints.policy import PolicyRef
from pipelines.config import RunConfig
from pipelines.errors import LakeError
from pipelines.lake.sql_text import sql_literal
from schemas.problems import VALIDATION

if TYPE_CHECKING:
    from pipelines.lake.query_results import Row
    from pipelines.lake.reader import LakeReader


@dataclass(frozen=True)
class ChosenPolicy:
    """A row of `policies`, and why it was chosen."""

    row: Row
    why: str

    @property
    def iteration(self) -> int:
        """Its iteration; 0 is the base model."""
        return int(self.row["iteration"])


def choose_policy(
    reader: LakeReader, run: str, iteration: int | None, *, best: bool
) -> ChosenPolicy:
    """The policy of an iteration, the best one on D_val, or the last.

    The best is the one with the highest greedy accuracy on D_val, the earlier one of two that are
    equal: the test problems' accuracy of a policy that they chose would be too high.

    Raises:
        LakeError: there is no such policy, or none was evaluated on D_val.
    """
    policies = {row["iteration"]: row for row in reader.rows("SELECT * FROM policies", run)}
    if not policies:
        raise LakeError(f"run {run!r} has no policy yet; restem status {run} shows what is next")
    if best:
        rows = reader.rows(
            "SELECT iteration, value, n FROM evaluations WHERE metric = 'greedy_accuracy' AND "
            f"suite = {sql_literal(VALIDATION)} ORDER BY value DESC, iteration LIMIT 1",
            run,
        )
        if not rows:
            raise LakeError(
                f"--best: no policy of run {run!r} was evaluated on D_val (problems.num_validation); "
                "name one with --iteration"
            )
        value, n = rows[0]["value"], rows[0]["n"]
        why = f"the best on D_val: {100 * value:.1f} % of {n} problems, greedy"
        return ChosenPolicy(policies[rows[0]["iteration"]], why)
    wanted = max(policies) if iteration is None else iteration
    if wanted not in policies:
        raise LakeError(
            f"--iteration must be one of a policy of run {run!r}, {min(policies)} to {max(policies)}, "
            f"got {wanted}"
        )
    return ChosenPolicy(policies[wanted], "the last" if iteration is None else "as asked")


def checkpoint_of(policy: ChosenPolicy, config: RunConfig) -> Path:
    """The folder of this machine with the policy's checkpoint, fetched if it is not here.

    Raises:
        PolicyLost: there is none with its weights any more.
    """
    named = PolicyRef(policy.row["policy_id"], policy.row["checkpoint_uri"])
    return PolicyLoader.of(config).folder_of(named)
