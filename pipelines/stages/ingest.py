"""Ingest: the problems of all sources, each with its id and its split.

Sources are read in Python; duplicates and splits, which concern all rows together, are found in
Spark with native functions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from expectations.question_key import question_key, question_key_sql
from pipelines.config import ProblemsConfig, RunConfig, SourceConfig
from pipelines.config.sizes import problem_sizes
from pipelines.config.suites import by_hand, covered_problems, rewards_by_suite, suite_sources
from pipelines.datasets.problem import RawProblem
from pipelines.datasets.read import read
from pipelines.errors import MAX_FAULTS, InputError, list_faults
from pipelines.rewards.references import own_answers
from pipelines.runtime.hardware import usable_cores
from pipelines.stage import SparkStage, StageContext
from pipelines.workload import Amount, Workload
from schemas import PROBLEMS
from schemas.problems import REFUSED, TEST, TRAIN, VALIDATION

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame


Sources = Sequence[tuple[str | None, SourceConfig]]
"""Sources, each with the suite whose problems it has; None: the run's own."""
_COLUMNS = [name for name in PROBLEMS.column_names if name not in PROBLEMS.partition_by]


class SourceRows:
    """The problems of a run's sources, read once: for the checks before the run, and for `ingest`."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._rows: pa.Table | None = None

    def read(self) -> pa.Table:
        """The rows, see `read_sources`; kept until they are taken."""
        if self._rows is None:
            self._rows = read_sources(self._config)
        return self._rows

    def take(self) -> pa.Table:
        """The rows, which are not kept any longer."""
        rows, self._rows = self.read(), None
        return rows


def ingest(config: RunConfig, sources: SourceRows | None = None) -> SparkStage:
    """The stage that makes the problems from the configuration's sources.

    Args:
        config: the run's.
        sources: their rows, if they may have been read already.

    Raises (in the stage):
        InputError: a source cannot be read, has rows that are not problems or duplicate questions,
            or there are too few problems.
    """

    def make(context: StageContext) -> DataFrame:
        rows = with_own_answers((sources or SourceRows(config)).take(), config)
        rows, dropped = _without_refused(rows, config.problems)
        if config.problems.refused == "drop":
            context.measures["refused_left_out"] = float(dropped.num_rows)
        check_problems(config.problems, rows)
        raw = context.engines.spark().createDataFrame(rows)
        if config.problems.duplicates == "first":
            raw = _first_of_duplicates(raw, config)
            context.measures["duplicates_left_out"] = float(rows.num_rows - raw.count())
        problems = split_problems(raw, config.problems, config.seed)
        if not dropped.num_rows:
            return problems
        left_out = _not_asked(context.engines.spark().createDataFrame(dropped), raw)
        return problems.unionByName(left_out)

    rows = Amount(dict.fromkeys(problem_sizes(config), 1))
    return SparkStage(
        name="ingest",
        table=PROBLEMS,
        function=make,
        workload=Workload(rows),
        covers=covered_problems(config),
    )


def problem_id(identity: str, question: str) -> str:
    """Hash of a problem: the same wherever and whenever it is read.

    Args:
        identity: of its source, `SourceConfig.identity`.
        question: its text.
    """
    return hashlib.sha256(f"{identity}\n{question}".encode()).hexdigest()[:32]


def sources_of(config: RunConfig) -> Sources:
    """The run's sources, and then those of its suites."""
    return [*((None, source) for source in config.problems.sources), *suite_sources(config)]


def read_sources(config: RunConfig, sources: Sources | None = None) -> pa.Table:
    """The problems of all sources in memory, including those of the suites.

    `split` is null where a source has none, `refused` until the rewards are asked; `place` numbers all rows in the order of the sources.

    Args:
        config: the run's.
        sources: only these; all if None.

    Raises:
        InputError: a source cannot be read, or has rows that are not problems.
    """
    import pyarrow as pa

    texts = ("identity", "dataset", "split", "question", "reference", "solution", "metadata")
    types: dict[str, pa.DataType] = dict.fromkeys([*texts, "refused"], pa.string())
    lists = {"other_solutions": pa.list_(pa.string())}
    schema = pa.schema({**types, **lists, "source_row": pa.int64()})
    tables = [
        pa.Table.from_pylist(_rows(source, config.seed, suite), schema=schema)
        for suite, source in (sources_of(config) if sources is None else sources)
    ]
    rows = pa.concat_tables(tables) if tables else schema.empty_table()
    return rows.append_column("place", pa.array(range(rows.num_rows), pa.int64()))


def with_own_answers(rows: pa.Table, config: RunConfig) -> pa.Table:
    """The rows with `refused`: why a problem's own answer fails its verifier, null if it does not.

    `solution` becomes the human solution that passed, if one of several did; the others are dropped.
    """
    import pyarrow as pa

    own, graded = rewards_by_suite(config), by_hand(config)
    texts = rows.select(["split", "reference", "solution", "other_solutions"]).to_pylist()
    solutions = [
        [text for text in (row["solution"], *row["other_solutions"]) if text is not None]
        for row in texts
    ]
    refused: list[str | None] = [None] * len(texts)
    for split in {row["split"] for row in texts} - set(graded):
        numbers = [number for number, row in enumerate(texts) if row["split"] == split]
        asked = [(texts[number]["reference"], solutions[number]) for number in numbers]
        found = own_answers(own.get(split, config.reward), asked, usable_cores())
        for number, answer in zip(numbers, found, strict=True):
            refused[number] = answer.refused
            if answer.passed in solutions[number]:
                texts[number]["solution"] = answer.passed
    place = rows.schema.get_field_index("solution")
    kept = pa.array([row["solution"] for row in texts], pa.string())
    rows = rows.set_column(place, "solution", kept).drop_columns(["other_solutions"])
    place = rows.schema.get_field_index("refused")
    return rows.set_column(place, "refused", pa.array(refused, pa.string()))


def _without_refused(rows: pa.Table, problems: ProblemsConfig) -> tuple[pa.Table, pa.Table]:
    """The rows that are asked, and those that are left out."""
    import pyarrow.compute as pc

    if problems.refused == "stop":
        return rows, rows.slice(0, 0)
    asked = pc.is_null(rows["refused"])
    return rows.filter(asked), rows.filter(pc.invert(asked))


def _not_asked(dropped: DataFrame, asked: DataFrame) -> DataFrame:
    """Problems left out, each question once, without those that another row asks."""
    from pyspark.sql import functions as F

    key = _same_question().alias("key")
    once = dropped.withColumn("key", key).join(asked.select(key), on="key", how="left_anti")
    once = once.dropDuplicates(["key"]).withColumn("split", F.lit(REFUSED))
    return once.withColumn("problem_id", _problem_id()).select(*_COLUMNS)


def _rows(source: SourceConfig, seed: int, suite: str | None) -> list[dict[str, object]]:
    raws = chosen_by_hash(list(read(source, seed)), source, seed)
    return [
        {
            "identity": source.identity,
            "dataset": source.name,
            "split": suite or raw.split,
            "question": raw.question,
            "reference": raw.reference,
            "solution": raw.solution,
            "other_solutions": list(raw.other_solutions),
            "metadata": json.dumps(raw.metadata, ensure_ascii=False, sort_keys=True, default=str),
            "source_row": raw.source_row,
        }
        for raw in raws
    ]


def chosen_by_hash(raws: list[RawProblem], source: SourceConfig, seed: int) -> list[RawProblem]:
    """At most `max_problems` problems, chosen by hash and kept in their order."""
    if source.max_problems is None:
        return raws

    def place(raw: RawProblem) -> str:
        return hashlib.sha256(
            f"{seed}|{problem_id(source.identity, raw.question)}".encode()
        ).hexdigest()

    chosen = sorted(raws, key=place)[: source.max_problems]
    return sorted(chosen, key=lambda raw: raw.source_row)


def check_problems(problems: ProblemsConfig, rows: pa.Table) -> None:
    """Require that problems are left to train on, and that none is there twice.

    Raises:
        InputError: the held-out ones are too many, or a question is repeated.
    """
    if problems.duplicates == "refuse":
        refuse_duplicates(rows)
    free = rows["split"].null_count
    wanted = problems.num_validation + problems.num_test
    has_train = TRAIN in rows["split"].unique().to_pylist()
    if free < wanted or (free == wanted and not has_train):
        raise InputError(
            "problems.num_validation + problems.num_test must leave problems to train on: they are "
            f"{problems.num_validation} + {problems.num_test}, and the sources have {free} problems "
            "without a split of their own; lower them, or add problems"
        )


def check_human_solutions(config: RunConfig, rows: pa.Table) -> None:
    """Require that there are human solutions, if they are trained on.

    Raises:
        InputError: no problem that may be trained on has one.
    """
    if config.curate.human_solutions == "none":
        return
    pairs = zip(rows["split"].to_pylist(), rows["solution"].to_pylist(), strict=True)
    if not any(split in (TRAIN, None) and solution for split, solution in pairs):
        raise InputError(
            f"curate.human_solutions: {config.curate.human_solutions}: no training problem has a human "
            "solution; name their field in problems.sources.solution_field, or take a method that "
            "needs none"
        )


def _same_question() -> Column:
    """The question as duplicates are found by it: white space and case do not make another problem."""
    from pyspark.sql import functions as F

    return F.expr(question_key_sql("question"))


def _first_of_duplicates(raw: DataFrame, config: RunConfig) -> DataFrame:
    """One row per question; of duplicates, a held-out one is kept and the training one dropped."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    names = [name for name, _ in suite_sources(config)]
    order = [TEST, *names, VALIDATION]
    # Other splits are transfer suites of the source itself; a null split may become training.
    other = F.when(F.col("split").isNull() | (F.col("split") == TRAIN), len(order) + 1)
    rank = F.coalesce(
        *[F.when(F.col("split") == split, n) for n, split in enumerate(order)],
        other,
        F.lit(len(order)),
    )
    copies = Window.partitionBy(_same_question()).orderBy(rank, "place")
    return raw.withColumn("copy", F.row_number().over(copies)).where("copy = 1").drop("copy")


def refuse_duplicates(rows: pa.Table) -> None:
    """Require that no question is there twice, by its key.

    Raises:
        InputError: some are; the message names their rows.
    """
    places: dict[str, list[tuple[str, int]]] = {}
    for row in rows.select(["question", "dataset", "source_row"]).to_pylist():
        place = (row["dataset"], row["source_row"])
        places.setdefault(question_key(row["question"]), []).append(place)
    repeated = sorted(sorted(found) for found in places.values() if len(found) > 1)
    if repeated:
        raise InputError(list_faults(list(map(_duplicate, repeated)), len(repeated)))


def _duplicate(places: list[tuple[str, int]]) -> str:
    first, *others = places
    rows = ", ".join(
        str(row) if dataset == first[0] else f"{row} of {dataset}"
        for dataset, row in others[:MAX_FAULTS]
    )
    return (
        f"{first[0]}: row {first[1]}: question must be there once (white space and case aside), "
        f"it is again in row {rows}; keep one of them"
    )


def split_problems(raw: DataFrame, problems: ProblemsConfig, seed: int) -> DataFrame:
    """Ids and splits of raw problems.

    Problems without a split are ordered by the seeded hash of their ids: the first `num_test` are
    test, the next `num_validation` validation, the others train. The result does not depend on the
    order or the partitioning of the rows.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    identified = raw.withColumn("problem_id", _problem_id()).withColumn(
        "order", F.sha2(F.concat_ws("|", F.lit(str(seed)), "problem_id"), 256)
    )
    among_free = Window.partitionBy(F.col("split").isNull()).orderBy("order")
    placed = identified.withColumn("split", _placed(F.row_number().over(among_free), problems))
    if problems.max_train is not None:
        within = Window.partitionBy("split").orderBy("order")
        placed = placed.withColumn("rank", F.row_number().over(within)).where(
            (F.col("split") != TRAIN) | (F.col("rank") <= problems.max_train)
        )
    return placed.select(*_COLUMNS)


def _problem_id() -> Column:
    from pyspark.sql import functions as F

    return F.substring(F.sha2(F.concat_ws("\n", "identity", "question"), 256), 1, 32)


def _placed(rank: Column, problems: ProblemsConfig) -> Column:
    from pyspark.sql import functions as F

    held_out = problems.num_test + problems.num_validation
    return F.coalesce(
        F.col("split"),
        F.when(rank <= problems.num_test, TEST).when(rank <= held_out, VALIDATION).otherwise(TRAIN),
    )
