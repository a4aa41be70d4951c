"""The gate of a run, and the figures from other tables that the expectations of a table need.

`expectations/` says what must hold; this module computes the figures that lie outside the checked
table: the number of rows its inputs call for, rows of two tables without a match.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from expectations.contamination import contaminated_suites
from expectations.context import Checker, Context
from expectations.question_key import question_key
from expectations.rule import Found
from pipelines.config import RunConfig
from pipelines.config.suites import by_hand, verifiers_by_split
from pipelines.lake.books import current
from pipelines.lake.snapshot import TableSnapshot
from pipelines.lake.sql_text import sql_list, sql_literal
from pipelines.rewards.resolve import checker_failures
from pipelines.scoring.shares import Share, shares_of
from schemas import CONTAMINATION, PROBLEMS, PROMPTS, REWARDS, SAMPLES, SELECTIONS, TRAINING_SET
from schemas.checks import CRITICAL
from schemas.problems import REFUSED, TRAIN
from schemas.prompts import FOR_TRAINING
from schemas.rewards import REWARD
from schemas.selections import NOT_ACCEPTED
from schemas.table import Table

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from expectations.check_result import CheckedTable

    Rows: TypeAlias = pa.Table | DataFrame

_NUM_EXAMPLES = 5
_TRAIN = f"purpose = {sql_literal(TRAIN)} AND decoding IN {sql_list(FOR_TRAINING)}"


class ExpectationGate:
    """Checks tables with Great Expectations, and keeps the reports for the run's Data Docs."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config

    def warm_up(self) -> None:
        """Import Great Expectations, which takes seconds; for a thread beside other starts."""
        from expectations import gate

        gate.warm_up()

    def check(
        self, table: Table, iteration: int, rows: Rows, inputs: Sequence[TableSnapshot]
    ) -> CheckedTable:
        """See pipelines.lake.lake.Gate."""
        from expectations import data_docs, gate

        context = self._context(table, iteration, rows, inputs)
        report = gate.check(table, rows, context, iteration)
        data_docs.save_validation(report, self._config.folder)
        return report

    def write_data_docs(self) -> None:
        """Make the run's Data Docs, pages of every check, in its folder."""
        from expectations import data_docs

        data_docs.write_data_docs(self._config.folder)

    def _context(
        self, table: Table, iteration: int, rows: Rows, inputs: Sequence[TableSnapshot]
    ) -> Context:
        make = _CONTEXTS.get(table.name)
        if make is None:
            return Context()
        return make(self._config, iteration, rows, {item.table.name: item for item in inputs})


Inputs = dict[str, TableSnapshot]


def _problems(config: RunConfig, iteration: int, rows: Rows, inputs: Inputs) -> Context:
    names = ["dataset", "source_row", "split", "refused", "question", "reference"]
    refused = [row for row in _to_pylist(rows, names) if row["refused"] is not None]
    return Context(
        refused_references=_found([row for row in refused if row["split"] != REFUSED]),
        problems_left_out=_found([row for row in refused if row["split"] == REFUSED]),
    )


def _contamination(config: RunConfig, iteration: int, rows: Rows, inputs: Inputs) -> Context:
    limits = config.problems.contamination
    if limits is None:
        return Context()
    names = ["suite", "problem_id", "train_problem_id", "exact", "shared_words"]
    hits = _to_pylist(rows, names)
    long = {
        (hit["suite"], hit["problem_id"]) for hit in hits if hit["shared_words"] >= limits.words
    }
    problems = inputs["problems"].arrow(["split"]).to_pylist()
    sizes = Counter(row["split"] for row in problems if row["split"] != REFUSED)
    shared = Counter(suite for suite, _ in long)
    shares = {suite: (shared[suite], size) for suite, size in sizes.items()}
    return Context(
        problems_in_training=_found([hit for hit in hits if hit["exact"]]),
        refuses_problems_in_training=limits.exact == CRITICAL,
        contaminated_suites=contaminated_suites(shares, limits.words, limits.max_share),
    )


def _prompts(config: RunConfig, iteration: int, rows: Rows, inputs: Inputs) -> Context:
    # Every problem may have been solved, so that none is asked again with a hint.
    return Context(may_be_empty=SAMPLES.name in inputs)


def _samples(config: RunConfig, iteration: int, rows: Rows, inputs: Inputs) -> Context:
    asked = inputs["prompts"].arrow(["num_samples"]).to_pylist()
    return Context(
        expected_rows=sum(row["num_samples"] for row in asked),
        last_mean_tokens=_last_mean_tokens(SAMPLES, inputs["prompts"], iteration),
        max_killed_share=config.engine.max_killed_share,
    )


def _rewards(config: RunConfig, iteration: int, rows: Rows, inputs: Inputs) -> Context:
    import pyarrow as pa
    import pyarrow.compute as pc

    drawn = inputs["samples"].arrow(["sample_id", "purpose"])
    drawn = _without(drawn, "purpose", by_hand(config))
    scored = _to_arrow(rows, ["sample_id", "verifier", "role", "verdict", "detail"])
    own = scored.filter(pc.equal(scored["role"], pa.scalar(REWARD)))
    further = verifiers_by_split(config)
    purposes = Counter(row["purpose"] for row in drawn.to_pylist())
    return Context(
        expected_rows=drawn.num_rows
        + sum(purposes[name] * len(verifiers) for name, verifiers in further.items()),
        samples_without_verdict=_missing(drawn, own),
        verdicts_without_sample=_missing(scored, drawn),
        checkers=tuple(_checker(share, scored, inputs["samples"]) for share in shares_of(config)),
    )


def _checker(share: Share, scored: pa.Table, samples: TableSnapshot) -> Checker:
    """How often a reward failed on the samples that it scored."""
    import pyarrow as pa
    import pyarrow.compute as pc

    drawn = samples.arrow(["sample_id"], share.condition)["sample_id"].combine_chunks()
    by_it = pc.equal(scored["verifier"], pa.scalar(share.verifier))
    own = scored.filter(pc.and_(by_it, pc.is_in(scored["sample_id"], value_set=drawn)))
    failures = pa.array(checker_failures(share.reward), pa.string())
    failed = own.filter(pc.is_in(own["verdict"], value_set=failures))
    details = Counter(row["detail"] for row in failed.to_pylist() if row["detail"])
    suites = f" ({', '.join(share.suites)})" if share.suites else ""
    section = "reward of the suite" if share.suites else "reward"
    return Checker(
        name=f"{share.reward.function}{suites}",
        failed=Found(failed.num_rows, tuple(failed.slice(0, _NUM_EXAMPLES).to_pylist())),
        total=own.num_rows,
        max_share=share.reward.max_checker_failures,
        tolerances=" or ".join(f"{section}.{name}" for name in share.reward.tolerances),
        usual_failure=details.most_common(1)[0][0] if details else None,
    )


def _selections(config: RunConfig, iteration: int, rows: Rows, inputs: Inputs) -> Context:
    samples = inputs["samples"]
    share = None
    if iteration > 1:
        last = current(samples.location, SELECTIONS, samples.run_id, iteration - 1)
        accepted = last.count(f"reason NOT IN {sql_list(NOT_ACCEPTED)}")
        share = accepted / max(last.count(), 1)
    return Context(expected_rows=samples.count(_TRAIN), last_accepted_share=share)


def _training_set(config: RunConfig, iteration: int, rows: Rows, inputs: Inputs) -> Context:
    known = inputs["problems"].arrow(["problem_id", "split", "question"]).to_pylist()
    known = [row for row in known if row["split"] != REFUSED]
    question_of = {row["problem_id"]: question_key(row["question"]) for row in known}
    held_out = {row["problem_id"] for row in known if row["split"] != TRAIN}
    held_out_questions = {question_of[problem] for problem in held_out}
    trained = _to_pylist(rows, ["sample_id", "problem_id", "prompt"])
    by_id = [row for row in trained if row["problem_id"] in held_out]
    by_text = [
        row
        for row in trained
        if row["problem_id"] not in held_out
        and question_of.get(row["problem_id"]) in held_out_questions
    ]
    return Context(
        cutoff=config.curate.max_kept(config.sampling.num_samples_per_problem),
        evaluation_problems_in_training=_found(by_id),
        evaluation_questions_in_training=_found(by_text),
        last_mean_tokens=_last_mean_tokens(TRAINING_SET, inputs["prompts"], iteration),
    )


_CONTEXTS: dict[str, Callable[[RunConfig, int, Rows, Inputs], Context]] = {
    PROBLEMS.name: _problems,
    CONTAMINATION.name: _contamination,
    PROMPTS.name: _prompts,
    SAMPLES.name: _samples,
    REWARDS.name: _rewards,
    SELECTIONS.name: _selections,
    TRAINING_SET.name: _training_set,
}


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
    import pyarrow.compute as pc

    return rows.filter(pc.invert(pc.is_in(rows.column(column), value_set=_texts(values))))


def _texts(values: Sequence[str]) -> pa.StringArray:
    import pyarrow as pa

    return pa.array(values, pa.string())


def _to_arrow(rows: Rows, names: list[str]) -> pa.Table:
    import pyarrow as pa

    return rows.select(names) if isinstance(rows, pa.Table) else rows.select(*names).toArrow()


def _to_pylist(rows: Rows, names: list[str]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = _to_arrow(rows, names).to_pylist()
    return made
