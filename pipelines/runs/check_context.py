"""The gate of a run: what each table's suite must be told, found in the run's other tables.

`expectations/` says what must hold; this module finds the figures that lie outside the table that
is checked: how many rows its inputs call for, which rows of two tables do not meet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from expectations.contamination import contaminated_suites
from expectations.context import Context
from expectations.rule import Found
from pipelines.config import RunConfig
from pipelines.config.suites import by_hand, rewards_by_suite
from pipelines.lake.books import current
from pipelines.lake.snapshot import TableSnapshot
from pipelines.rewards.references import verify_references
from pipelines.rewards.resolve import checker_failures
from schemas import CONTAMINATION, PROBLEMS, REWARDS, SAMPLES, SELECTIONS, TRAINING_SET
from schemas.checks import CRITICAL
from schemas.prompts import question_of
from schemas.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

    from expectations.report import Report

_NUM_EXAMPLES = 5
_TRAIN = "purpose = 'train' AND decoding = 'sample'"


class ExpectationGate:
    """Checks tables with Great Expectations, and keeps the reports for the run's Data Docs."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config

    def warm_up(self) -> None:
        """Import Great Expectations, which takes seconds; for a thread beside other starts."""
        from expectations import gate

        gate.warm_up()

    def check(
        self, table: Table, iteration: int, rows: Any, inputs: Sequence[TableSnapshot]
    ) -> Report:
        """See pipelines.lake.lake.Gate."""
        from expectations import data_docs, gate

        context = self._context(table, iteration, rows, inputs)
        report = gate.check(table, rows, context, iteration)
        data_docs.keep(report, self._config.folder)
        return report

    def write_data_docs(self) -> None:
        """Make the run's Data Docs, pages of every check, in its folder."""
        from expectations import data_docs

        data_docs.write_data_docs(self._config.folder)

    def _context(
        self, table: Table, iteration: int, rows: Any, inputs: Sequence[TableSnapshot]
    ) -> Context:
        make = _CONTEXTS.get(table.name)
        if make is None:
            return Context()
        return make(self._config, iteration, rows, {item.table.name: item for item in inputs})


Inputs = dict[str, TableSnapshot]


def _problems(config: RunConfig, iteration: int, rows: Any, inputs: Inputs) -> Context:
    problems = _to_pylist(rows, ["source_row", "split", "question", "reference", "solution"])
    own, graded = rewards_by_suite(config), by_hand(config)
    judged: dict[str, list[dict[str, Any]]] = {}
    for row in problems:
        if row["split"] not in graded:
            judged.setdefault(row["split"], []).append(row)
    refused = [
        dict(row)
        for split, asked in judged.items()
        for row in verify_references(own.get(split, config.reward), asked)
    ]
    return Context(refused_references=_found(refused))


def _contamination(config: RunConfig, iteration: int, rows: Any, inputs: Inputs) -> Context:
    limits = config.problems.contamination
    if limits is None:
        return Context()
    names = ["suite", "problem_id", "train_problem_id", "exact", "shared_words"]
    hits = _to_pylist(rows, names)
    long = {
        (hit["suite"], hit["problem_id"]) for hit in hits if hit["shared_words"] >= limits.words
    }
    sizes = Counter(inputs["problems"].arrow(["split"]).column("split").to_pylist())
    shared = Counter(suite for suite, _ in long)
    shares = {suite: (shared[suite], size) for suite, size in sizes.items()}
    return Context(
        problems_in_training=_found([hit for hit in hits if hit["exact"]]),
        refuses_problems_in_training=limits.exact == CRITICAL,
        contaminated_suites=contaminated_suites(shares, limits.words, limits.max_share),
    )


def _samples(config: RunConfig, iteration: int, rows: Any, inputs: Inputs) -> Context:
    asked = inputs["prompts"].arrow(["num_samples"]).column("num_samples")
    return Context(
        expected_rows=sum(asked.to_pylist()),
        last_mean_tokens=_last_mean_tokens(SAMPLES, inputs["prompts"], iteration),
    )


def _rewards(config: RunConfig, iteration: int, rows: Any, inputs: Inputs) -> Context:
    drawn = inputs["samples"].arrow(["sample_id", "purpose"])
    drawn = _without(drawn, "purpose", by_hand(config))
    judged = _to_arrow(rows, ["sample_id"])
    return Context(
        expected_rows=drawn.num_rows,
        samples_without_verdict=_missing(drawn, judged),
        verdicts_without_sample=_missing(judged, drawn),
        checker_failures=checker_failures(config.reward),
        max_checker_failures=config.reward.max_checker_failures,
    )


def _selections(config: RunConfig, iteration: int, rows: Any, inputs: Inputs) -> Context:
    samples = inputs["samples"]
    share = None
    if iteration > 1:
        last = current(samples.location, SELECTIONS, samples.run_id, iteration - 1)
        accepted = last.count("reason <> 'reward_not_above_threshold'")
        share = accepted / max(last.count(), 1)
    return Context(expected_rows=samples.count(_TRAIN), last_accepted_share=share)


def _training_set(config: RunConfig, iteration: int, rows: Any, inputs: Inputs) -> Context:
    asked = inputs["prompts"].arrow(
        ["problem_id", "text", "num_shared_chars"], "purpose <> 'train'"
    )
    held_out = asked.to_pylist()
    ids = {row["problem_id"] for row in held_out}
    questions = {_question(row["text"], row) for row in held_out}
    trained = _to_pylist(rows, ["sample_id", "problem_id", "prompt", "num_shared_chars"])
    by_id = [row for row in trained if row["problem_id"] in ids]
    by_text = [
        row
        for row in trained
        if row["problem_id"] not in ids and _question(row["prompt"], row) in questions
    ]
    return Context(
        cutoff=config.curate.cutoff,
        evaluation_problems_in_training=_found(by_id),
        evaluation_questions_in_training=_found(by_text),
        last_mean_tokens=_last_mean_tokens(TRAINING_SET, inputs["prompts"], iteration),
    )


_CONTEXTS: dict[str, Callable[[RunConfig, int, Any, Inputs], Context]] = {
    PROBLEMS.name: _problems,
    CONTAMINATION.name: _contamination,
    SAMPLES.name: _samples,
    REWARDS.name: _rewards,
    SELECTIONS.name: _selections,
    TRAINING_SET.name: _training_set,
}


def _question(prompt: str, row: dict[str, Any]) -> str:
    """What the prompt asks behind the shared exemplars, its case and white space folded."""
    return " ".join(question_of(prompt, row["num_shared_chars"]).lower().split())


def _last_mean_tokens(table: Table, beside: TableSnapshot, iteration: int) -> float | None:
    """Mean `num_tokens` of the table an iteration before; None if there is none."""
    if iteration < 1:
        return None
    import pyarrow.compute as pc

    last = current(beside.location, table, beside.run_id, iteration - 1)
    mean = pc.mean(last.arrow(["num_tokens"]).column("num_tokens")).as_py()
    return None if mean is None else float(mean)


def _missing(rows: pa.Table, among: pa.Table) -> Found:
    """The rows whose sample_id is not among the others'."""
    import pyarrow.compute as pc

    absent = pc.invert(pc.is_in(rows.column("sample_id"), value_set=among.column("sample_id")))
    return _found(rows.filter(absent).to_pylist())


def _found(rows: list[dict[str, Any]]) -> Found:
    return Found(len(rows), tuple(rows[:_NUM_EXAMPLES]))


def _without(rows: pa.Table, column: str, values: list[str]) -> pa.Table:
    """The rows whose column has none of the values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    absent = pa.array(values, pa.string())
    return rows.filter(pc.invert(pc.is_in(rows.column(column), value_set=absent)))


def _to_arrow(rows: Any, names: list[str]) -> pa.Table:
    import pyarrow as pa

    return rows.select(names) if isinstance(rows, pa.Table) else rows.select(*names).toArrow()


def _to_pylist(rows: Any, names: list[str]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = _to_arrow(rows, names).to_pylist()
    return made
