"""Train again what is needed of the policies whose checkpoints are lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.checkpoints.load import PolicyLoader
from pipelines.errors import PolicyLost
from pipelines.runs.stages_by_name import sealed_snapshot
from pipelines.stage import ArrowStage
from pipelines.stages.policy import policy_of
from schemas import POLICIES

if TYPE_CHECKING:
    from pipelines.lake.lake import Lake
    from pipelines.runs.steps import Step
    from pipelines.runtime.progress import Progress


def train_lost_policies(
    lake: Lake, pending: Sequence[Step], loader: PolicyLoader, progress: Progress
) -> None:
    """Make a new attempt of each sealed M-step whose policy pending steps load and cannot.

    What no pending step loads is not looked at: a finished run may do without its checkpoints.

    Args:
        lake: the run's.
        pending: the steps that are to be made.
        loader: finds the run's policies.
        progress: where each is reported.

    Raises:
        PolicyLost: the base model is lost, which cannot be trained.
        RestEMError: as for the M-step.
    """
    for step in _lost_steps(lake, pending, loader, progress):
        policy = policy_of(sealed_snapshot(lake, step))
        loader.store.discard(policy.policy_id)
        inputs = [sealed_snapshot(lake, source) for source in step.inputs]
        assert isinstance(step.stage, ArrowStage), "an M-step's result is one row"
        made = policy_of(lake.remake(step.stage, step.iteration, *inputs))
        while not loader.store.holds(made.policy_id):
            # An attempt that was killed before its seal is sealed first, and may be lost as well.
            made = policy_of(lake.remake(step.stage, step.iteration, *inputs))
        if made.policy_id != policy.policy_id:
            progress.say(f"iteration {step.iteration}: policy {made.policy_id} has other weights")


def _lost_steps(
    lake: Lake, pending: Sequence[Step], loader: PolicyLoader, progress: Progress
) -> list[Step]:
    """The sealed M-steps that must be trained again, in the order of the loop."""
    lost: dict[int, Step] = {}
    loading = [step for step in pending if step.stage.loads_policy]
    looked_at: set[int] = set()
    while loading:
        for step in loading.pop().inputs:
            if step.stage.table != POLICIES or step.position in looked_at:
                continue
            looked_at.add(step.position)
            if not lake.is_sealed(*step.key):
                continue
            try:
                loader.recover(policy_of(sealed_snapshot(lake, step)), progress)
            except PolicyLost as error:
                if not step.stage.loads_policy:
                    raise  # the base model
                fault = str(error).partition(";")[0]
                progress.say(f"iteration {step.iteration}: {fault}; it is trained again")
                lost[step.position] = step
                loading.append(step)  # it loads the policy that it starts from
    return [lost[position] for position in sorted(lost)]
