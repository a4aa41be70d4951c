"""How many samples a run would take from other runs of its lake, before anything is started."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from pipelines.config import RunConfig
from pipelines.config.draws import NamedDecoding, draws
from pipelines.config.suites import suites_of
from pipelines.lake.query_results import Row
from pipelines.lake.sql_text import sql_list, sql_literal
from pipelines.sampling.chunks import PROMPT_COLUMNS, expected_ids
from pipelines.stages.few_shot import Frame, frame_of
from pipelines.stages.render import prompt_seed
from schemas import PROMPTS, SAMPLES
from schemas.samples import LENGTH, PROMPT_TOO_LONG, STOP

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.lake.reader import LakeReader


def samples_to_take(
    config: RunConfig, questions: set[str], policy_id: str, reader: LakeReader
) -> dict[str, int]:
    """Run -> number of the base model's samples that would be taken from it.

    Counted are samples that answer the same prompt of one of the problems with the same decoding and
    seed. Those of a suite with exemplars of its own for each task are not counted, nor is looked at the
    engine's number format.

    Args:
        config: the run's.
        questions: those of its problems.
        policy_id: the base model's.
        reader: the run's lake.
    """
    if reader.version(PROMPTS.name) is None or reader.version(SAMPLES.name) is None:
        return {}
    own = {suite.name: frame_of(config, suite.prompt) for suite in suites_of(config)}
    frames = defaultdict(lambda: frame_of(config), own)
    asked = {
        row["prompt_id"]: row
        for row in _prompts_of_others(config, reader)
        if row["question"] in questions and _is_asked(config, row, frames[row["purpose"]])
    }
    if not asked:
        return {}
    prompts = _prompt_table(list(asked.values()), config.model.max_model_len)
    wanted = {name for _, names in expected_ids(prompts, policy_id) for name in names}
    there = reader.rows(
        "SELECT run_id, sample_id FROM samples WHERE iteration = 0 AND "
        f"policy_id = {sql_literal(policy_id)} AND run_id <> {sql_literal(config.name)} AND "
        f"finish_reason IN {sql_list((STOP, LENGTH, PROMPT_TOO_LONG))} ORDER BY run_id"
    )
    first = {row["sample_id"]: row["run_id"] for row in reversed(there)}
    return dict(Counter(run for name, run in first.items() if name in wanted))


def _prompts_of_others(config: RunConfig, reader: LakeReader) -> list[Row]:
    names = ", ".join(f'"{name}"' for name in [*PROMPT_COLUMNS, "question"])
    return reader.rows(
        f"SELECT {names} FROM prompts WHERE iteration = 0 AND run_id <> {sql_literal(config.name)}"
    )


def _is_asked(config: RunConfig, row: Row, frame: Frame) -> bool:
    """Whether the run's first iteration has a stored prompt too, with the same seed."""
    ways = draws(config, 0)
    suites = {suite.name: suite for suite in suites_of(config)}
    suite = suites.get(row["purpose"])
    max_tokens = config.sampling.max_tokens if suite is None else suite.max_tokens
    stop = config.sampling.stop if suite is None else suite.stop
    key = row["decoding"] if suite is None else f"{suite.name}/{row['decoding']}"
    seed = prompt_seed(config.seed, 0, row["problem_id"], key, row["num_samples"])
    return (
        any(_is_way(way, row) for way in ways.get(row["purpose"], ways[""]))
        and (row["max_tokens"], tuple(row["stop"]), row["seed"]) == (max_tokens, stop, seed)
        and row["text"] == frame.around(row["question"])
    )


def _is_way(way: NamedDecoding, row: Row) -> bool:
    asked = way.decoding
    return (way.name, asked.num_samples, asked.temperature, asked.top_k, asked.top_p) == (
        row["decoding"],
        row["num_samples"],
        row["temperature"],
        row["top_k"],
        row["top_p"],
    )


def _prompt_table(rows: list[Row], max_model_len: int) -> pa.Table:
    import pyarrow as pa

    given = [{**row, "max_model_len": max_model_len} for row in rows]
    fields = [PROMPTS.arrow_schema().field(name) for name in PROMPT_COLUMNS]
    schema = pa.schema([*fields, pa.field("max_model_len", pa.int64())])
    return pa.Table.from_pylist(given, schema)
