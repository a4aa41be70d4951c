"""The kinds of rules that a table's suite is made of.

A rule is a value: what must hold, in words, and how much it matters. `expectations/translate.py`
turns it into a Great Expectations one, which is what is evaluated; `broken` is the same rule's
negation in Spark SQL, with which a large table's offending rows are found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from expectations.normalized import normalized_sql
from schemas.checks import CRITICAL

Values = tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """How many rows of something the caller found, and some of them."""

    count: int
    examples: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Where:
    """Limits a rule to the rows whose `column` is one of `values` (or none of them)."""

    column: str
    values: Values
    excluded: bool = False

    @property
    def sql(self) -> str:
        """The condition in Spark SQL."""
        return f"{self.column} {'NOT ' if self.excluded else ''}IN ({_literals(self.values)})"

    @property
    def words(self) -> str:
        """The condition in words."""
        return f"where {self.column} is {'not ' if self.excluded else ''}{' or '.join(self.values)}"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What must hold of a table's rows.

    `remedy` is what the user can do about it, if there is anything.
    """

    severity: str = CRITICAL
    remedy: str = ""
    name: str = ""

    @property
    def text(self) -> str:
        """The rule in words; unique within its table's suite."""
        return self.name or self.words

    @property
    def words(self) -> str:
        """What the rule says where no name was given."""
        raise NotImplementedError

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the rule reads."""
        return ()

    @property
    def broken(self) -> str:
        """Spark SQL that is true for a row that breaks the rule; empty if no row does by itself."""
        return ""


@dataclass(frozen=True)
class NotNull(Rule):
    """The column has a value in every row; NaN is none."""

    column: str

    @property
    def words(self) -> str:
        return f"{self.column} is not null"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def broken(self) -> str:
        return f"{self.column} IS NULL"


@dataclass(frozen=True)
class Between(Rule):
    """Values that are there lie between two bounds, both included."""

    column: str
    minimum: float | None = None
    maximum: float | None = None
    where: Where | None = None

    @property
    def words(self) -> str:
        low = [] if self.minimum is None else [f">= {self.minimum:g}"]
        high = [] if self.maximum is None else [f"<= {self.maximum:g}"]
        condition = [] if self.where is None else [self.where.words]
        return " ".join([self.column, " and ".join(low + high), *condition])

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,) if self.where is None else (self.where.column, self.column)

    @property
    def broken(self) -> str:
        low = [] if self.minimum is None else [f"{self.column} < {self.minimum}"]
        high = [] if self.maximum is None else [f"{self.column} > {self.maximum}"]
        outside = " OR ".join(low + high)
        return outside if self.where is None else f"({outside}) AND {self.where.sql}"


@dataclass(frozen=True)
class OneOf(Rule):
    """Values that are there come from a list, at least in `min_share` of the rows."""

    column: str
    values: Values
    min_share: float = 1.0

    @property
    def words(self) -> str:
        return f"{self.column} is one of {', '.join(self.values)}"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def broken(self) -> str:
        return f"{self.column} NOT IN ({_literals(self.values)})"


@dataclass(frozen=True)
class NoneOf(Rule):
    """At most `max_share` of the rows have one of the values."""

    column: str
    values: Values
    max_share: float = 0.0

    @property
    def words(self) -> str:
        return (
            f"{self.column} is {' or '.join(self.values)} in at most {self.max_share:.1%} of rows"
        )

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def broken(self) -> str:
        return f"{self.column} IN ({_literals(self.values)})"


@dataclass(frozen=True)
class Unique(Rule):
    """No two rows agree in all of these columns."""

    key: tuple[str, ...]

    @property
    def words(self) -> str:
        return f"({', '.join(self.key)}) is unique"

    @property
    def columns(self) -> tuple[str, ...]:
        return self.key

    @property
    def broken(self) -> str:
        return f"count(1) OVER (PARTITION BY {', '.join(self.key)}) > 1"


@dataclass(frozen=True)
class AtLeast(Rule):
    """`column` >= `other` in every row that has both."""

    column: str
    other: str

    @property
    def words(self) -> str:
        return f"{self.column} >= {self.other}"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column, self.other)

    @property
    def broken(self) -> str:
        return f"{self.column} < {self.other}"


@dataclass(frozen=True)
class AtMostPer(Rule):
    """Rows that agree in `group` are at most `limit`, or hold at most `limit` values of `counted`.

    The group's size becomes a column beside each row, so that the same expectation runs on pandas
    and on Spark. `normalized` compares texts with case and white space folded.
    """

    group: str
    limit: int
    counted: str = ""
    normalized: bool = False

    @property
    def words(self) -> str:
        what = f"values of {self.counted}" if self.counted else "rows"
        text = "normalized " if self.normalized else ""
        return f"at most {self.limit} {what} a {text}{self.group}"

    @property
    def size_column(self) -> str:
        """Name of the column that holds the group's size."""
        return f"{self.counted or 'rows'}_per_{self.group}"

    @property
    def size(self) -> str:
        """The group's size in Spark SQL."""
        group = normalized_sql(self.group) if self.normalized else self.group
        window = f"OVER (PARTITION BY {group})"
        return (
            f"size(collect_set({self.counted}) {window})" if self.counted else f"count(1) {window}"
        )

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.group, *([self.counted] if self.counted else []), self.size_column)

    @property
    def broken(self) -> str:
        return f"{self.size_column} > {self.limit}"


@dataclass(frozen=True)
class RowCount(Rule):
    """The number of rows lies between two bounds, both included."""

    minimum: int
    maximum: int | None = None

    @property
    def words(self) -> str:
        rows = "row" if (self.maximum or self.minimum) == 1 else "rows"
        if self.minimum == self.maximum:
            return f"{self.minimum} {rows}"
        return (
            f"{self.minimum} to {self.maximum} {rows}"
            if self.maximum
            else f"at least {self.minimum} {rows}"
        )


@dataclass(frozen=True)
class Mean(Rule):
    """The column's mean lies between two bounds, both included."""

    column: str
    minimum: float
    maximum: float

    @property
    def words(self) -> str:
        return f"mean of {self.column} from {self.minimum:.4g} to {self.maximum:.4g}"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)


@dataclass(frozen=True)
class NothingFound(Rule):
    """The caller looked for rows that must not be, such as across two tables, and found none."""

    found: Found
    what: str

    @property
    def words(self) -> str:
        return f"no {self.what}"


def _literals(values: Values) -> str:
    return ", ".join("'" + value.replace("'", "\\'") + "'" for value in values)
