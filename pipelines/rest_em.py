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

Other methods are settings of the same loop (configs/methods/): which iterations have an E-step, which
policies are evaluated, whether unsolved problems are asked again with a hint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pipelines.stage import Stage
from pipelines.stages.binding import Stages

Made = TypeVar("Made")


class Tables(Protocol[Made]):
    """Makes the loop's tables (`pipelines.lake.lake.Lake`), or records what would be made."""

    def materialize(self, stage: Stage, iteration: int, *inputs: Made) -> Made:
        """The stage's table of an iteration, made if it is not there."""


@dataclass(frozen=True)
class Asked(Generic[Made]):
    """What a policy was asked and what it answered."""

    prompts: Made
    samples: Made
    rewards: Made


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
    evaluated = _generate(tables, stages, 0, problems, base)
    drawn = _rationalize(tables, stages, 0, problems, base, evaluated)

    for i in range(1, num_iterations + 1):
        # Improve (M-step): D_i, and the policy fine-tuned on it.
        selections = tables.materialize(stages.select(i), i, drawn.samples, drawn.rewards)
        training_set = tables.materialize(
            stages.curate(), i, selections, drawn.samples, drawn.prompts, problems
        )
        start = policy if stages.starts_from_previous else base
        policy = tables.materialize(stages.improve(), i, training_set, evaluated.prompts, start)

        # Generate (E-step), if the next iteration trains on samples of this policy; evaluation.
        if stages.draws(i) or stages.evaluates(i):
            asked = _generate(tables, stages, i, problems, policy)
            evaluated = asked if stages.evaluates(i) else evaluated
            if stages.draws(i):
                drawn = _rationalize(tables, stages, i, problems, policy, asked)
    return policy


def _generate(
    tables: Tables[Made], stages: Stages, i: int, problems: Made, policy: Made
) -> Asked[Made]:
    """Generate: y ~ p_theta(y | x), scored by r(x, y); the policy's metrics, if it is evaluated."""
    prompts = tables.materialize(stages.render(i), i, problems)
    samples = tables.materialize(stages.generate(i), i, prompts, policy)
    rewards = tables.materialize(stages.score(i), i, samples, prompts)
    if stages.evaluates(i):
        tables.materialize(stages.evaluate(i), i, samples, rewards, prompts, problems, policy)
    return Asked(prompts, samples, rewards)


def _rationalize(
    tables: Tables[Made],
    stages: Stages,
    i: int,
    problems: Made,
    policy: Made,
    asked: Asked[Made],
) -> Asked[Made]:
    """Ask the problems that no sample solved again, with the answer as a hint (STaR)."""
    if not stages.rationalizes(i):
        return asked
    prompts = tables.materialize(stages.render_hints(i), i, problems, asked.samples, asked.rewards)
    samples = tables.materialize(stages.generate_hinted(i), i, prompts, policy)
    rewards = tables.materialize(stages.score_hinted(i), i, samples, prompts)
    return Asked(prompts, samples, rewards)
