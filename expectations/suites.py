"""The suite of a table: what follows from its schema, then what its own module says."""

from __future__ import annotations

from expectations import (
    checks,
    contamination,
    evaluations,
    grades,
    policies,
    problems,
    prompts,
    rewards,
    runs,
    samples,
    selections,
    stages,
    training_set,
)
from expectations.context import Context
from expectations.from_schema import from_schema
from expectations.rule import Rule
from schemas.table import Table

_SUITES = {
    "runs": runs.expectations,
    "problems": problems.expectations,
    "contamination": contamination.expectations,
    "prompts": prompts.expectations,
    "samples": samples.expectations,
    "rewards": rewards.expectations,
    "selections": selections.expectations,
    "training_set": training_set.expectations,
    "policies": policies.expectations,
    "evaluations": evaluations.expectations,
    "grades": grades.expectations,
    "stages": stages.expectations,
    "checks": checks.expectations,
}


def suite(table: Table, context: Context) -> list[Rule]:
    """All rules of a table, each text once.

    Raises:
        KeyError: the table has no module of expectations.
    """
    rules = [*from_schema(table), *_SUITES[table.name](context)]
    texts = [rule.text for rule in rules]
    assert len(set(texts)) == len(texts), f"{table.name} states a rule twice: {sorted(texts)}"
    return rules
