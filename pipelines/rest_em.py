"""ReST-EM, Algorithm 1 of "Beyond Human Data" (Singh et al., 2023).

    for i = 1 .. I:
        # Generate (E-step)
        D_i = { (x, y) : y ~ p_theta(y | x), r(x, y) > threshold }, at most `cutoff` per x
        # Improve (M-step)
        while reward improves on D_val:
            theta <- argmax over theta, from the base model, of  E_{D_i} [ f(r) log p_theta(y | x) ]

Iteration t's rows in `prompts`, `samples`, `rewards` and `evaluations` belong to policy t; policy 0
is the base model. The solutions of policy i - 1 serve both its evaluation and iteration i's E-step,
and are drawn in one pass of the engine. `selections` and `training_set` of iteration i hold D_i,
`policies` the policy fine-tuned on it.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from pipelines.stage import Stage
from pipelines.stages.binding import Stages

Made = TypeVar("Made")


class Tables(Protocol[Made]):
    """Makes the loop's tables (`pipelines.lake.lake.Lake`), or records what would be made."""

    def materialize(self, stage: Stage, iteration: int, *inputs: Made) -> Made:
        """The stage's table of an iteration, made if it is not there."""


def rest_em(tables: Tables[Made], stages: Stages, num_iterations: int) -> Made:
    """Run the EM loop; what is sealed is not run again.

    Args:
        tables: the run's tables.
        stages: the run's stages, made from its configuration.
        num_iterations: I.

    Returns:
        The final policy's row.
    """
    problems = tables.materialize(stages.ingest(), 0)
    if stages.looks_for_contamination:
        tables.materialize(stages.contamination(), 0, problems)
    base = policy = tables.materialize(stages.base_policy(), 0)

    for i in range(num_iterations + 1):
        # Generate (E-step): y ~ p_theta(y | x), scored by r(x, y).
        prompts = tables.materialize(stages.render(i), i, problems)
        samples = tables.materialize(stages.generate(i), i, prompts, policy)
        rewards = tables.materialize(stages.score(i), i, samples, prompts)
        tables.materialize(stages.evaluate(i), i, samples, rewards, prompts, problems, policy)
        if i == num_iterations:
            break

        # Improve (M-step): D_i, and the policy fine-tuned on it.
        selections = tables.materialize(stages.select(), i + 1, samples, rewards)
        training_set = tables.materialize(stages.curate(), i + 1, selections, samples, prompts)
        start = policy if stages.starts_from_previous else base
        policy = tables.materialize(stages.improve(), i + 1, training_set, prompts, start)
    return policy
