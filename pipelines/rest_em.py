"""ReST-EM, Algorithm 1 of "Beyond Human Data" (Singh et al., 2023).

    for i = 1 .. I:
        # Generate (E-step)
        D_i = { (x, y) : y ~ p_theta(y | x), r(x, y) > threshold }, at most `cutoff` an x
        # Improve (M-step)
        while reward improves on D_val:
            theta <- argmax over theta, from the base model, of  E_{D_i} [ f(r) log p_theta(y | x) ]

Iteration t's rows in `prompts`, `samples`, `rewards` and `evaluations` belong to policy t, and 0 is
the base model: what policy i - 1 answered is both its evaluation and iteration i's E-step, drawn in
one pass of the engine. `selections`, `training_set` and `policies` of iteration i are D_i and what
became of it.
"""

from __future__ import annotations

from typing import Protocol

from pipelines.lake.snapshot import TableSnapshot
from pipelines.stage import Stage
from pipelines.stages.binding import Stages
from schemas import (
    CONTAMINATION,
    EVALUATIONS,
    POLICIES,
    PROBLEMS,
    PROMPTS,
    REWARDS,
    SAMPLES,
    SELECTIONS,
    TRAINING_SET,
)
from schemas.table import Table


class Tables(Protocol):
    """Where the loop's tables come from: `pipelines.lake.lake.Lake`."""

    def materialize(
        self, table: Table, iteration: int, stage: Stage, *inputs: TableSnapshot
    ) -> TableSnapshot:
        """The stage's table of an iteration, made if it is not there."""


def rest_em(lake: Tables, stages: Stages, num_iterations: int) -> TableSnapshot:
    """Run the EM loop; what is sealed is not run again.

    Args:
        lake: the run's tables.
        stages: the run's stages, made from its configuration.
        num_iterations: I.

    Returns:
        The final policy's row.
    """
    problems = lake.materialize(PROBLEMS, 0, stages.ingest())
    if stages.config.problems.contamination is not None:
        lake.materialize(CONTAMINATION, 0, stages.contamination(), problems)
    policy = lake.materialize(POLICIES, 0, stages.base_policy())

    for i in range(num_iterations + 1):
        # Generate (E-step): y ~ p_theta(y | x), scored by r(x, y).
        prompts = lake.materialize(PROMPTS, i, stages.render(i), problems)
        samples = lake.materialize(SAMPLES, i, stages.generate(policy), prompts)
        rewards = lake.materialize(REWARDS, i, stages.score(), samples, prompts)
        lake.materialize(
            EVALUATIONS, i, stages.evaluate(policy), samples, rewards, prompts, problems
        )
        if i == num_iterations:
            break

        # Improve (M-step): D_i, and the policy fine-tuned on it.
        selections = lake.materialize(SELECTIONS, i + 1, stages.select(), samples, rewards)
        training_set = lake.materialize(
            TRAINING_SET, i + 1, stages.curate(), selections, samples, prompts
        )
        policy = lake.materialize(
            POLICIES, i + 1, stages.improve(i + 1, policy), training_set, prompts
        )
    return policy
