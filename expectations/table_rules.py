"""All rules of a table: those that its schema implies, then those of its own module."""

from __future__ import annotations

from collections.abc import Callable

from expectations import (
    checks,
    contamination,
    evaluations,
    grades,
    leases,
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
from expectations.rule import Between, NotNull, OneOf, Rule, Unique
from schemas.table import Table

_OWN_RULES: dict[str, Callable[[Context], list[Rule]]] = {
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
    "leases": leases.expectations,
}


def table_rules(table: Table, context: Context) -> list[Rule]:
    """All rules of a table, each text once.

    Raises:
        KeyError: the table has no module of expectations.
    """
    rules = [*schema_rules(table), *_OWN_RULES[table.name](context)]
    texts = [rule.text for rule in rules]
    assert len(set(texts)) == len(texts), f"{table.name} states a rule twice: {sorted(texts)}"
    return rules


def schema_rules(table: Table) -> list[Rule]:
    """The rules that a table's declaration implies: nulls, bounds, values and the key.

    That the columns have their declared types is not among them: `gate.check` looks at that first,
    since no other rule can be evaluated without it.
    """
    rules: list[Rule] = []
    for column in table.columns:
        if not column.nullable:
            rules.append(NotNull(column.name))
        if column.minimum is not None or column.maximum is not None:
            rules.append(Between(column.name, column.minimum, column.maximum))
        if column.allowed:
            rules.append(OneOf(column.name, column.allowed))
    rules.append(Unique(table.key, name=f"key ({', '.join(table.key)}) is unique"))
    return rules
