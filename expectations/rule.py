"""The kinds of rules that tables are checked by.

A rule is a value: what must hold, in words, and how severe a failure is. `expectations/translate.py`
turns it into an expectation of Great Expectations, which is what is evaluated; `broken` is its
negation in Spark SQL, which finds the rows of a large table that break it.
"""

from __future__ import annotations

from dataclasses import dataclass

from expectations.check_result import Example
from expectations.question_key import question_key_sql
from schemas.checks import CRITICAL, WARNING

Values = tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """Number of rows that the caller found, and some of them."""

    count: int
    examples: tuple[Example, ...] = ()


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
        return f"where {self.column} is {'not ' if self.excluded else ''}{_any_of(self.values)}"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What must hold of a table's rows.

    Attributes:
        severity: CRITICAL stops the run, WARNING is reported.
        remedy: what the user can do about a failure, if anything.
        name: the rule in words, where `words` does not say its purpose.
        basis: what a limit was derived from.
    """

    severity: str = CRITICAL
    remedy: str = ""
    name: str = ""
    basis: str = ""

    @property
    def text(self) -> str:
        """The rule in words; unique within its table."""
        return self.name or self.words

    @property
    def words(self) -> str:
        """The rule in words, from its fields."""
        raise NotImplementedError

    @property
    def fault(self) -> str:
        """What the rows that break the rule do ("have reward < 0"); empty if no row does so by itself."""
        return ""

    @property
    def max_broken_share(self) -> float:
        """Share of rows that may break the rule, 0 to 1."""
        return 0.0

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the rule reads."""
        return ()

    @property
    def broken(self) -> str:
        """Spark SQL that is true for a row that breaks the rule; empty if no row does so by itself."""
        return ""


@dataclass(frozen=True)
class NotNull(Rule):
    """The column has a value in every row; NaN counts as null."""

    column: str

    @property
    def words(self) -> str:
        return f"{self.column} is not null"

    @property
    def fault(self) -> str:
        return f"have no {self.column}"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def broken(self) -> str:
        return f"{self.column} IS NULL"


@dataclass(frozen=True)
class Between(Rule):
    """Values other than null lie between two bounds, both included."""

    column: str
    minimum: float | None = None
    maximum: float | None = None
    where: Where | None = None

    @property
    def words(self) -> str:
        if self.minimum is not None and self.minimum == self.maximum:
            return self._with_condition(f"{self.column} = {self.minimum:.12g}")
        return self._with_condition(f"{self.column} {' and '.join(self._bounds('>=', '<='))}")

    @property
    def fault(self) -> str:
        return self._with_condition(f"have {self.column} {' or '.join(self._bounds('<', '>'))}")

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,) if self.where is None else (self.where.column, self.column)

    @property
    def broken(self) -> str:
        outside = " OR ".join(f"{self.column} {bound}" for bound in self._bounds("<", ">"))
        return outside if self.where is None else f"({outside}) AND {self.where.sql}"

    def _bounds(self, low: str, high: str) -> list[str]:
        bounds = ((low, self.minimum), (high, self.maximum))
        return [f"{sign} {bound:.12g}" for sign, bound in bounds if bound is not None]

    def _with_condition(self, words: str) -> str:
        return words if self.where is None else f"{words} {self.where.words}"


@dataclass(frozen=True)
class OneOf(Rule):
    """Values other than null are from a list, in at least `min_share` of the rows."""

    column: str
    values: Values
    min_share: float = 1.0

    @property
    def words(self) -> str:
        return f"{self.column} is one of {', '.join(self.values)}"

    @property
    def fault(self) -> str:
        return f"have {self.column} other than {_any_of(self.values)}"

    @property
    def max_broken_share(self) -> float:
        return 1 - self.min_share

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
        return f"{self.column} is {_any_of(self.values)} in at most {self.max_share:.1%} of rows"

    @property
    def fault(self) -> str:
        return f"have {self.column} = {_any_of(self.values)}"

    @property
    def max_broken_share(self) -> float:
        return self.max_share

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
    def fault(self) -> str:
        return f"share ({', '.join(self.key)}) with another row"

    @property
    def columns(self) -> tuple[str, ...]:
        return self.key

    @property
    def broken(self) -> str:
        return f"count(1) OVER (PARTITION BY {', '.join(self.key)}) > 1"


@dataclass(frozen=True)
class AtLeast(Rule):
    """`column` >= `other` in every row where neither is null."""

    column: str
    other: str

    @property
    def words(self) -> str:
        return f"{self.column} >= {self.other}"

    @property
    def fault(self) -> str:
        return f"have {self.column} < {self.other}"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column, self.other)

    @property
    def broken(self) -> str:
        return f"{self.column} < {self.other}"


@dataclass(frozen=True)
class AtMostPer(Rule):
    """At most `limit` rows, or values of `counted`, per value of `group`.

    The group's size becomes a column of each row, so that the same expectation runs on pandas and on
    Spark. `normalized`: the values of `group` are questions, compared by their `question_key`.
    """

    group: str
    limit: int
    counted: str = ""
    normalized: bool = False

    @property
    def words(self) -> str:
        return f"at most {self._counted_units} per {self._group_words}"

    @property
    def fault(self) -> str:
        return f"have a {self._group_words} with more than {self._counted_units}"

    @property
    def _counted_units(self) -> str:
        plural = "" if self.limit == 1 else "s"
        unit = f"value{plural} of {self.counted}" if self.counted else f"row{plural}"
        return f"{self.limit} {unit}"

    @property
    def _group_words(self) -> str:
        return f"normalized {self.group}" if self.normalized else self.group

    @property
    def size_column(self) -> str:
        """Name of the column that holds the group's size."""
        return f"{self.counted or 'rows'}_per_{self.group}"

    @property
    def size(self) -> str:
        """The group's size in Spark SQL."""
        group = question_key_sql(self.group) if self.normalized else self.group
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


def mean_near_last(column: str, last: float, max_change: float) -> Mean:
    """A warning if the mean of a column changed by more than a factor since the last iteration."""
    return Mean(
        column,
        last / max_change,
        last * max_change,
        severity=WARNING,
        name=f"mean of {column} is near the last iteration's",
        basis=f"{last:.4g} in the last iteration; may change by a factor of {max_change:g}",
    )


@dataclass(frozen=True)
class NothingFound(Rule):
    """A search by the caller, such as across two tables, found no row."""

    found: Found
    what: str

    @property
    def words(self) -> str:
        return f"no {self.what}"


def _literals(values: Values) -> str:
    return ", ".join("'" + value.replace("'", "\\'") + "'" for value in values)


def _any_of(values: Values) -> str:
    *others, last = values
    return f"{', '.join(others)} or {last}" if others else last
