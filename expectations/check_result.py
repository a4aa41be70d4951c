"""Results of checking a table: each rule with what was found, and the messages made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from schemas.checks import CRITICAL

MAX_EXAMPLES = 5
_MAX_EXAMPLES_IN_MESSAGE = 3
_MAX_EXAMPLE_CHARS = 120

Example = Mapping[str, object]
"""A row that breaks a rule: its key, and the columns that the rule reads."""

_SHARE_OF_ROWS = re.compile(r"[\d,]+ of [\d,]+ rows ")


class ExpectationConfig(TypedDict):
    """What is read of an expectation in Great Expectations' JSON."""

    meta: dict[str, str]
    severity: str


class ExpectationResult(TypedDict):
    """What is read of an expectation's result in Great Expectations' JSON."""

    success: bool
    expectation_config: ExpectationConfig
    result: ExpectationFigures
    exception_info: dict[str, object]


class ExpectationFigures(TypedDict, total=False):
    """The figures of a result; which of them are there depends on the expectation and the engine."""

    observed_value: float | None
    element_count: int
    unexpected_count: int | None
    partial_unexpected_index_list: list[int] | None


class Validation(TypedDict):
    """What is read of Great Expectations' result of a suite, which is JSON."""

    results: list[ExpectationResult]
    meta: dict[str, str]


@dataclass(frozen=True)
class CheckResult:
    """One rule, evaluated on a table."""

    rule: str
    severity: str
    passed: bool
    observed: str
    num_unexpected: int | None
    """Rows that break the rule; None where a rule is not about single rows."""
    examples: tuple[Example, ...]
    """Some of those rows."""
    engine: str
    remedy: str = ""

    def failure(self) -> str:
        """What was found, with examples and remedy, in one line."""
        line = describe(self.rule, self.observed)
        if self.examples:
            examples = self.examples[:_MAX_EXAMPLES_IN_MESSAGE]
            line += f", such as {'; '.join(map(_short_json, examples))}"
        return f"{line}; {self.remedy}" if self.remedy else line


@dataclass(frozen=True)
class CheckedTable:
    """All rules of a table, evaluated.

    `validation` is Great Expectations' own result, from which Data Docs are made.
    """

    table: str
    iteration: int
    results: tuple[CheckResult, ...]
    validation: Validation

    @property
    def critical_failures(self) -> tuple[CheckResult, ...]:
        """The broken rules that stop the run."""
        return tuple(r for r in self.results if not r.passed and r.severity == CRITICAL)

    @property
    def warnings(self) -> tuple[CheckResult, ...]:
        """The broken rules that are reported and do not stop the run."""
        return tuple(r for r in self.results if not r.passed and r.severity != CRITICAL)

    def summary(self) -> str:
        """One message: the table, and each broken rule with its count, examples and remedy."""
        failures = self.critical_failures or self.warnings
        if not failures:
            return f"table {self.table}: all {len(self.results)} expectations hold"
        verdict = "is refused" if self.critical_failures else "is passed on with warnings"
        head = f"table {self.table} (iteration {self.iteration}) {verdict}"
        if len(failures) == 1:
            return f"{head}: {failures[0].failure()}"
        return "\n".join([f"{head}:", *(f"- {failure.failure()}" for failure in failures)])


def describe(rule: str, observed: str | None) -> str:
    """What a broken rule's check found, in words: for a `CheckResult` or a row of `checks`.

    A share of rows names the column and what is wrong with it; other findings need the rule beside
    them, unless they repeat it.
    """
    if observed is None:
        return f"{rule!r} does not hold"
    if rule in observed or _SHARE_OF_ROWS.match(observed):
        return observed
    return f"{rule!r} does not hold: {observed}"


def percent(share: float) -> str:
    """A share of 1 as percent, with three digits."""
    return "less than 0.1 %" if 0 < share < 0.001 else f"{100 * share:.3g} %"


def _short_json(example: Example) -> str:
    text = json.dumps(example, default=str, ensure_ascii=False)
    return text if len(text) <= _MAX_EXAMPLE_CHARS else text[: _MAX_EXAMPLE_CHARS - 3] + "..."
