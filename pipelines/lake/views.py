"""The names a query may use: the tables, and views that join them.

A rescored run (`restem rescore`) keeps what was made from its earlier verdicts. To show a training
row with the verdict that selected it, `rewards_read_by_<stage>` holds the verdicts that the stage
read, and `all_rewards` the newest ones.

Views are written over `all_<table>`, which holds the run's rows of every iteration, so that a
view restricted to one iteration still finds what its rows came from in earlier ones: the training
set of iteration i was drawn by policy i - 1, in iteration i - 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas import TABLES


@dataclass(frozen=True)
class View:
    """A named query over the tables."""

    name: str
    grain: str
    reads: tuple[str, ...]
    """The tables it joins."""
    sql: str
    meanings: Mapping[str, str] = field(default_factory=dict)
    """Of the columns that no table has under that name."""
    rewards_read_by: str | None = None
    """The stage whose `rewards_read_by_<stage>` it joins."""


SAMPLE_VERDICTS = View(
    "sample_verdicts",
    "one row per sample with its verdict, question and reference",
    ("samples", "rewards", "problems"),
    """
    SELECT s.run_id, s.iteration, s.sample_id, s.problem_id, s.purpose, s.decoding, s.index,
           r.verdict, r.reward, r.extracted, r.detail, p.reference, p.question, s.solution,
           s.finish_reason, s.stop_string, s.num_tokens, s.log_probability, s.temperature,
           s.top_k, s.top_p,
           s.max_tokens, s.seed, s.policy_id, s.prompt_id, r.verifier, r.verifier_version,
           r.milliseconds, p.dataset, p.split, s.created_at
    FROM all_samples s
    LEFT JOIN all_rewards r
      ON r.run_id = s.run_id AND r.iteration = s.iteration AND r.sample_id = s.sample_id
      AND r.role = 'reward'
    LEFT JOIN all_problems p ON p.run_id = s.run_id AND p.problem_id = s.problem_id
    """,
)

TRAINING_ROWS = View(
    "training_rows",
    "one row per training row with its prompt, sample, verdict, selection rule and policy",
    ("training_set", "samples", "rewards", "selections", "problems", "policies"),
    """
    SELECT t.run_id, t.iteration, t.sample_id, t.problem_id, p.question, p.reference,
           t.solution, t.weight, t.reward, t.origin, t.drawn_in, r.verdict, r.extracted, r.verifier,
           r.verifier_version, c.reason AS selection_rule, c.rank AS selection_rank, t.policy_id,
           f.checkpoint_uri, f.started_from, n.policy_id AS trained_policy_id, s.seed, s.index,
           s.decoding, s.temperature, s.top_k, s.top_p, s.max_tokens, s.num_tokens,
           s.log_probability, s.finish_reason, s.stop_string, s.prompt_id, p.dataset,
           s.created_at AS sampled_at, t.prompt
    FROM all_training_set t
    LEFT JOIN all_samples s
      ON s.run_id = t.run_id AND s.iteration = t.drawn_in AND s.sample_id = t.sample_id
    LEFT JOIN rewards_read_by_select r
      ON r.run_id = s.run_id AND r.iteration = s.iteration AND r.sample_id = s.sample_id
      AND r.role = 'reward'
    LEFT JOIN all_selections c
      ON c.run_id = t.run_id AND c.iteration = t.iteration AND c.sample_id = t.sample_id
    LEFT JOIN all_problems p ON p.run_id = t.run_id AND p.problem_id = t.problem_id
    LEFT JOIN all_policies f ON f.run_id = t.run_id AND f.iteration = t.drawn_in
    LEFT JOIN all_policies n ON n.run_id = t.run_id AND n.iteration = t.iteration
    """,
    {
        "selection_rule": "kept, or the first rule against the sample",
        "selection_rank": "the sample's place in its problem's seeded order",
        "trained_policy_id": "the policy that was fine-tuned on the row",
        "sampled_at": "when the sample was drawn (UTC)",
    },
    rewards_read_by="select",
)

SELECTED_REWARDS = View(
    "selected_rewards",
    "one row per verdict as the training set's selection read it, before any rescoring",
    ("rewards",),
    "SELECT * FROM rewards_read_by_select WHERE role = 'reward'",
    rewards_read_by="select",
)

EVALUATED_REWARDS = View(
    "evaluated_rewards",
    "one row per verdict as the evaluation read it, before any rescoring",
    ("rewards",),
    "SELECT * FROM rewards_read_by_evaluate WHERE role = 'reward'",
    rewards_read_by="evaluate",
)

PROBLEM_RATES = View(
    "problem_rates",
    "one row per (run, iteration, problem): how often its samples are correct",
    ("samples", "rewards", "problems"),
    """
    SELECT s.run_id, s.iteration, s.problem_id, s.purpose, s.decoding, p.question, p.reference,
           count(*) AS num_samples,
           sum(CASE WHEN r.verdict = 'correct' THEN 1 ELSE 0 END) AS num_correct,
           avg(CASE WHEN r.verdict = 'correct' THEN 1.0 ELSE 0.0 END) AS success_rate
    FROM all_samples s
    LEFT JOIN all_rewards r
      ON r.run_id = s.run_id AND r.iteration = s.iteration AND r.sample_id = s.sample_id
      AND r.role = 'reward'
    LEFT JOIN all_problems p ON p.run_id = s.run_id AND p.problem_id = s.problem_id
    GROUP BY s.run_id, s.iteration, s.problem_id, s.purpose, s.decoding, p.question, p.reference
    """,
    {
        "num_samples": "number of samples drawn",
        "num_correct": "number of samples whose verdict is correct",
        "success_rate": "share of samples whose verdict is correct",
    },
)

LATEST_EVALUATIONS = View(
    "latest_evaluations",
    "one row per (run, suite, metric) of the run's last evaluated policy",
    ("evaluations",),
    """
    SELECT e.* FROM all_evaluations e
    JOIN (SELECT run_id, max(iteration) AS last FROM all_evaluations GROUP BY run_id) l
      ON l.run_id = e.run_id AND l.last = e.iteration
    """,
)

VIEWS = (
    SAMPLE_VERDICTS,
    TRAINING_ROWS,
    PROBLEM_RATES,
    LATEST_EVALUATIONS,
    SELECTED_REWARDS,
    EVALUATED_REWARDS,
)

READABLE: dict[str, str] = {t.name: t.grain for t in TABLES} | {v.name: v.grain for v in VIEWS}
"""Every name a query may use, with what one row of it is."""
