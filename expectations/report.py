"""What the gate found on a table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from schemas.checks import CRITICAL

MAX_EXAMPLES = 5
_MAX_TEXT = 120


@dataclass(frozen=True)
class CheckResult:
    """One rule, evaluated."""

    rule: str
    severity: str
    passed: bool
    observed: str | None
    num_unexpected: int | None
    """Rows that break the rule; None where a rule is not about single rows."""
    examples: tuple[dict[str, Any], ...]
    """Some of those rows: their key and the columns that the rule reads."""
    engine: str
    remedy: str = ""

    def line(self) -> str:
        """The result in one line, for a message."""
        parts = [f"{self.rule!r} does not hold"]
        if self.observed is not None:
            parts.append(self.observed)
        if self.examples:
            parts.append(f"such as {'; '.join(map(_short, self.examples[:3]))}")
        return ", ".join(parts) + (f"; {self.remedy}" if self.remedy else "")


@dataclass(frozen=True)
class Report:
    """All rules of a table, evaluated.

    `validation` is Great Expectations' own result, JSON-ready, from which Data Docs are made.
    """

    table: str
    iteration: int
    results: tuple[CheckResult, ...]
    validation: dict[str, Any]

    @property
    def critical_failures(self) -> tuple[CheckResult, ...]:
        """What stops the run."""
        return tuple(r for r in self.results if not r.passed and r.severity == CRITICAL)

    @property
    def warnings(self) -> tuple[CheckResult, ...]:
        """What is shown and does not stop the run."""
        return tuple(r for r in self.results if not r.passed and r.severity != CRITICAL)

    def summary(self) -> str:
        """One message: the table, and each broken rule with its count, examples and remedy."""
        failures = self.critical_failures or self.warnings
        if not failures:
            return f"table {self.table}: all {len(self.results)} expectations hold"
        what = "is refused" if self.critical_failures else "is passed on with warnings"
        head = f"table {self.table} (iteration {self.iteration}) {what}"
        if len(failures) == 1:
            return f"{head}: {failures[0].line()}"
        return "\n".join([f"{head}:", *(f"- {failure.line()}" for failure in failures)])


def _short(row: dict[str, Any]) -> str:
    text = json.dumps(row, default=str, ensure_ascii=False)
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."
