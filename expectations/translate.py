"""Rules as Great Expectations ones. Importing this module imports Great Expectations: late."""

from __future__ import annotations

from typing import Any

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.row_conditions import Column as GxColumn

from expectations import rule as rules
from schemas.checks import WARNING

# A share such as 1 - 0.02 is not exact; without slack 2 failures in 100 could exceed "at most 2 %".
_SLACK = 1e-9


class ExpectNothingFound(BatchExpectation):
    """Expect that a search that the caller made, such as across two tables, found no row."""

    count: int
    examples: list[dict[str, Any]]

    metric_dependencies = ()
    success_keys = ("count",)

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: Any = None,
    ) -> dict[str, Any]:
        return {"success": self.count == 0, "result": {"observed_value": self.count}}


def translate(rule: rules.Rule) -> Any:
    """The expectation that evaluates a rule; its `meta` holds the rule's text."""
    words = [rule.text, *(["(warning)"] if rule.severity == WARNING else [])]
    if rule.remedy:
        words.append(f"(if not: {rule.remedy})")
    shared = {
        "severity": rule.severity,
        "meta": {"rule": rule.text},
        "description": " ".join(words),
    }
    return _TRANSLATIONS[type(rule)](rule, shared)


def _not_null(rule: rules.NotNull, shared: dict[str, Any]) -> Any:
    return gxe.ExpectColumnValuesToNotBeNull(column=rule.column, **shared)


def _between(rule: rules.Between, shared: dict[str, Any]) -> Any:
    if rule.where is not None:
        column = GxColumn(rule.where.column)
        limit = column.is_not_in if rule.where.excluded else column.is_in
        shared = {**shared, "row_condition": limit(list(rule.where.values))}
    return gxe.ExpectColumnValuesToBeBetween(
        column=rule.column, min_value=rule.minimum, max_value=rule.maximum, **shared
    )


def _one_of(rule: rules.OneOf, shared: dict[str, Any]) -> Any:
    mostly = max(0.0, rule.min_share - _SLACK) if rule.min_share < 1 else 1.0
    return gxe.ExpectColumnValuesToBeInSet(
        column=rule.column, value_set=list(rule.values), mostly=mostly, **shared
    )


def _none_of(rule: rules.NoneOf, shared: dict[str, Any]) -> Any:
    mostly = max(0.0, 1 - rule.max_share - _SLACK) if rule.max_share > 0 else 1.0
    return gxe.ExpectColumnValuesToNotBeInSet(
        column=rule.column, value_set=list(rule.values), mostly=mostly, **shared
    )


def _unique(rule: rules.Unique, shared: dict[str, Any]) -> Any:
    if len(rule.key) == 1:
        return gxe.ExpectColumnValuesToBeUnique(column=rule.key[0], **shared)
    return gxe.ExpectCompoundColumnsToBeUnique(column_list=list(rule.key), **shared)


def _at_least(rule: rules.AtLeast, shared: dict[str, Any]) -> Any:
    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=rule.column,
        column_B=rule.other,
        or_equal=True,
        ignore_row_if="either_value_is_missing",
        **shared,
    )


def _at_most_per(rule: rules.AtMostPer, shared: dict[str, Any]) -> Any:
    return gxe.ExpectColumnValuesToBeBetween(
        column=rule.size_column, max_value=rule.limit, **shared
    )


def _row_count(rule: rules.RowCount, shared: dict[str, Any]) -> Any:
    return gxe.ExpectTableRowCountToBeBetween(
        min_value=rule.minimum, max_value=rule.maximum, **shared
    )


def _mean(rule: rules.Mean, shared: dict[str, Any]) -> Any:
    return gxe.ExpectColumnMeanToBeBetween(
        column=rule.column, min_value=rule.minimum, max_value=rule.maximum, **shared
    )


def _nothing_found(rule: rules.NothingFound, shared: dict[str, Any]) -> Any:
    return ExpectNothingFound(count=rule.found.count, examples=list(rule.found.examples), **shared)


_TRANSLATIONS: dict[type[rules.Rule], Any] = {
    rules.NotNull: _not_null,
    rules.Between: _between,
    rules.OneOf: _one_of,
    rules.NoneOf: _none_of,
    rules.Unique: _unique,
    rules.AtLeast: _at_least,
    rules.AtMostPer: _at_most_per,
    rules.RowCount: _row_count,
    rules.Mean: _mean,
    rules.NothingFound: _nothing_found,
}
