"""When two questions are the same, in Python and in Spark."""

from __future__ import annotations


def normalized(text: str) -> str:
    """A text with its case and white space folded: what two equal questions have in common."""
    return " ".join(text.lower().split())


def normalized_sql(column: str) -> str:
    """`normalized` of a column, in Spark SQL."""
    return rf"trim(regexp_replace(lower({column}), '(?U)\\s+', ' '))"
