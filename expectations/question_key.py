r"""When two questions are the same: case and white space do not tell them apart.

White space is what `str.isspace` says it is: Unicode's White_Space, and the separators U+001C to
U+001F. Java's `\s` is ASCII alone; with `(?U)` it is White_Space, so the four are named.
"""

from __future__ import annotations


def question_key(question: str) -> str:
    """The text that all spellings of a question have in common."""
    return " ".join(question.lower().split())


def question_key_sql(column: str) -> str:
    """`question_key` of a column, in Spark SQL."""
    return rf"trim(regexp_replace(lower({column}), '(?U)[\\s\\x1C-\\x1F]+', ' '))"
