"""Results as Markdown: for a tracker's description and for cards."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

from pipelines.results.report import RunReport, describe_gain


def in_markdown(made: RunReport) -> str:
    """The results: the gain, and the policies and suites by iteration."""
    parts = [] if made.gain is None else [describe_gain(made.gain)]
    parts += [markdown_table(rows, numbers=True) for rows in (made.policies, made.suites) if rows]
    if made.policies:
        parts.append("Iteration 0 is the base model. Accuracies in % with 95 % intervals.")
    return "\n\n".join(parts)


def markdown_table(rows: Sequence[Mapping[str, str | None]], *, numbers: bool = False) -> str:
    """Rows as a table.

    Args:
        rows: column -> text, all with the same columns.
        numbers: align the columns but the first to the right.
    """
    lines = [list(rows[0]), *([value or "-" for value in row.values()] for row in rows)]
    texts = [f"| {' | '.join(map(_escaped, line))} |" for line in lines]
    rule = " | ".join(["---", *["---:" if numbers else "---"] * (len(rows[0]) - 1)])
    return "\n".join([texts[0], f"| {rule} |", *texts[1:]])


def code_block(text: str) -> str:
    """A text as it is, in a block whose fence it does not contain."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}\n{text}\n{fence}"


def _escaped(text: str) -> str:
    """A text in a cell of a table, where markup would be markup."""
    one_line = " ".join(escape(text, quote=False).split())
    # A bracket begins a link only before a parenthesis: intervals stay readable as they are.
    return re.sub(r"([|*`\\]|(?<=\])\()", r"\\\1", one_line)
