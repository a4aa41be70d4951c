"""Rules as expectations of Great Expectations.

This module imports the library, which takes seconds: import it late.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch

import great_expectations.expectations as gxe
from great_expectations.execution_engine import ExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.row_conditions import Column as GxColumn

from expectations.rule import (
    AtLeast,
    AtMostPer,
    Between,
    Mean,
    NoneOf,
    NothingFound,
    NotNull,
    OneOf,
    RowCount,
    Rule,
    Unique,
)
from schemas.checks import WARNING

_SLACK = 1e-9
"""Shares such as 1 - 0.02 are not exact: without it, 2 failures in 100 could exceed "at most 2 %"."""


class ExpectNothingFound(BatchExpectation):
    """Expect that a search by the caller, such as across two tables, found no row."""

    count: int
    examples: list[dict[str, object]]

    metric_dependencies = ()
    success_keys = ("count",)

    def _validate(
        self,
        metrics: Mapping[str, object],
        runtime_configuration: Mapping[str, object] | None = None,
        execution_engine: ExecutionEngine | None = None,
    ) -> dict[str, object]:
        return {"success": self.count == 0, "result": {"observed_value": self.count}}


def translate(rule: Rule) -> BatchExpectation:
    """The expectation that evaluates a rule; its `meta` holds the rule's text."""
    words = [rule.text, *(["(warning)"] if rule.severity == WARNING else [])]
    if rule.remedy:
        words.append(f"(if not: {rule.remedy})")
    described: dict[str, object] = {
        "severity": rule.severity,
        "meta": {"rule": rule.text},
        "description": " ".join(words),
    }
    return _expectation(rule, described)


@singledispatch
def _expectation(rule: Rule, described: dict[str, object]) -> BatchExpectation:
    raise NotImplementedError(f"no expectation evaluates a {type(rule).__name__}")


@_expectation.register
def _not_null(rule: NotNull, described: dict[str, object]) -> BatchExpectation:
    return gxe.ExpectColumnValuesToNotBeNull(column=rule.column, **described)


@_expectation.register
def _between(rule: Between, described: dict[str, object]) -> BatchExpectation:
    if rule.where is not None:
        column = GxColumn(rule.where.column)
        limit = column.is_not_in if rule.where.excluded else column.is_in
        described = {**described, "row_condition": limit(list(rule.where.values))}
    return gxe.ExpectColumnValuesToBeBetween(
        column=rule.column, min_value=rule.minimum, max_value=rule.maximum, **described
    )


@_expectation.register
def _one_of(rule: OneOf, described: dict[str, object]) -> BatchExpectation:
    return gxe.ExpectColumnValuesToBeInSet(
        column=rule.column, value_set=list(rule.values), mostly=_mostly(rule), **described
    )


@_expectation.register
def _none_of(rule: NoneOf, described: dict[str, object]) -> BatchExpectation:
    return gxe.ExpectColumnValuesToNotBeInSet(
        column=rule.column, value_set=list(rule.values), mostly=_mostly(rule), **described
    )


def _mostly(rule: Rule) -> float:
    """The share of rows that must hold."""
    if not rule.max_broken_share:
        return 1.0
    return max(0.0, 1 - rule.max_broken_share - _SLACK)


@_expectation.register
def _unique(rule: Unique, described: dict[str, object]) -> BatchExpectation:
    if len(rule.key) == 1:
        return gxe.ExpectColumnValuesToBeUnique(column=rule.key[0], **described)
    return gxe.ExpectCompoundColumnsToBeUnique(column_list=list(rule.key), **described)


@_expectation.register
def _at_least(rule: AtLeast, described: dict[str, object]) -> BatchExpectation:
    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=rule.column,
        column_B=rule.other,
        or_equal=True,
        ignore_row_if="either_value_is_missing",
        **described,
    )


@_expectation.register
def _at_most_per(rule: AtMostPer, described: dict[str, object]) -> BatchExpectation:
    return gxe.ExpectColumnValuesToBeBetween(
        column=rule.size_column, max_value=rule.limit, **described
    )


@_expectation.register
def _row_count(rule: RowCount, described: dict[str, object]) -> BatchExpectation:
    return gxe.ExpectTableRowCountToBeBetween(
        min_value=rule.minimum, max_value=rule.maximum, **described
    )


@_expectation.register
def _mean(rule: Mean, described: dict[str, object]) -> BatchExpectation:
    return gxe.ExpectColumnMeanToBeBetween(
        column=rule.column, min_value=rule.minimum, max_value=rule.maximum, **described
    )


@_expectation.register
def _nothing_found(rule: NothingFound, described: dict[str, object]) -> BatchExpectation:
    examples = list(rule.found.examples)
    return ExpectNothingFound(count=rule.found.count, examples=examples, **described)
