"""The full lineage of a sample, from its problem to the policy that was trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import LakeError
from pipelines.lake.sql_text import sql_literal
from pipelines.results.commands import lake_arguments, restem_command
from schemas.rewards import REWARD

if TYPE_CHECKING:
    from pipelines.lake.query_results import Row
    from pipelines.lake.reader import LakeReader

_MAX_FOUND = 1000


@dataclass(frozen=True)
class Lineage:
    """The rows of all tables that concern one sample; None or empty where there are none (yet)."""

    sample: Row
    other_runs: list[str]
    """Runs that have a sample of the same id: another run of the same policy and settings."""
    problem: Row | None
    prompt: Row | None
    policies: list[Row]
    """The policy that drew it, then the one that this was fine-tuned from, back to the base model."""
    rewards: list[Row]
    """The newest verdicts, those of further verifiers included."""
    selected_on: list[Row]
    """The verdicts that the selection read, if the sample was rescored since; else empty."""
    selection: Row | None
    training_row: Row | None
    trained: Row | None
    """The policy that was fine-tuned on it."""
    stages: list[Row]
    """The seals of the stages that made these rows, with the tables' versions."""


def trace_lineage(reader: LakeReader, sample_id: str, run: str | None = None) -> Lineage:
    """Collect a sample's lineage.

    Args:
        reader: the lake.
        sample_id: the id, or a prefix of it that no other sample has.
        run: the run, where several hold the sample; the newest if None.

    Raises:
        LakeError: no sample's id starts with it, or those of several do.
    """
    sample, other_runs = _find_sample(reader, sample_id, run)
    run_id, iteration = sample["run_id"], sample["iteration"]

    def rows(table: str, key: str, at: int) -> list[Row]:
        where = f"{key} = {sql_literal(sample[key])} AND iteration = {at}"
        return reader.rows(f"SELECT * FROM {table} WHERE {where}", run_id)

    policies = reader.rows("SELECT * FROM policies ORDER BY iteration", run_id)

    def read_by_m_step(table: str) -> Row | None:
        """The sample's row of the first M-step that considered it."""
        where = f"sample_id = {sql_literal(sample['sample_id'])} AND drawn_in = {iteration}"
        found = reader.rows(f"SELECT * FROM {table} WHERE {where} ORDER BY iteration", run_id)
        return _first(found)

    selection, training_row = read_by_m_step("selections"), read_by_m_step("training_set")
    trained_in = training_row["iteration"] if training_row else None
    rewards = rows("rewards", "sample_id", iteration)
    selected_on = rows("selected_rewards", "sample_id", iteration)
    own = [reward for reward in rewards if reward["role"] == REWARD]
    is_rescored = _versions(selected_on) != _versions(own)
    return Lineage(
        sample=sample,
        other_runs=other_runs,
        problem=_first(rows("problems", "problem_id", 0)),
        prompt=_first(rows("prompts", "prompt_id", iteration)),
        policies=_ancestry(policies, iteration),
        rewards=rewards,
        selected_on=selected_on if is_rescored else [],
        selection=selection,
        training_row=training_row,
        trained=_first([p for p in policies if p["iteration"] == trained_in]),
        stages=_stages(reader, run_id, iteration, selection, training_row),
    )


def _find_sample(reader: LakeReader, sample_id: str, run: str | None) -> tuple[Row, list[str]]:
    """The sample, and the other runs that have it."""
    if not sample_id:
        raise LakeError("explain: SAMPLE_ID must be a sample's id or the start of one, got ''")
    found = reader.rows(
        f"SELECT * FROM samples WHERE starts_with(sample_id, {sql_literal(sample_id)}) "
        f"ORDER BY created_at DESC LIMIT {_MAX_FOUND}",
        run,
    )
    exact = [row for row in found if row["sample_id"] == sample_id] or found
    names = sorted({row["sample_id"] for row in exact})
    if not names:
        raise LakeError(
            f"no sample's id starts with {sample_id!r} in {reader.uri}; "
            f"list some with: {restem_command()} sql 'SELECT sample_id, verdict FROM "
            f"sample_verdicts'{lake_arguments(reader.location)}"
        )
    if len(names) > 1:
        some = ", ".join(names[:4])
        raise LakeError(
            f"{len(names)}{'+' * (len(found) == _MAX_FOUND)} samples start with {sample_id!r}: {some}"
            f"{', ...' * (len(names) > 4)}; give more of the id"
        )
    sample = exact[0]
    holders = reader.rows(
        f"SELECT DISTINCT run_id FROM samples WHERE sample_id = {sql_literal(sample['sample_id'])} "
        f"AND run_id <> {sql_literal(sample['run_id'])} ORDER BY run_id"
    )
    return sample, [row["run_id"] for row in holders]


def _ancestry(policies: Sequence[Row], iteration: int) -> list[Row]:
    """Policy `iteration` and the chain of policies it was fine-tuned from."""
    chain: list[Row] = []
    policy = _first([p for p in policies if p["iteration"] == iteration])
    while policy is not None:
        chain.append(policy)
        before = [p for p in policies if p["iteration"] < policy["iteration"]]
        policy = _first([p for p in before if p["policy_id"] == policy["started_from"]])
    return chain


def _stages(
    reader: LakeReader,
    run_id: str,
    iteration: int,
    selection: Row | None,
    training_row: Row | None,
) -> list[Row]:
    """The seals of the stages that made a sample's rows, of iteration `iteration` and after."""
    after = "'selections', 'training_set', 'policies'" if training_row else "'selections'"
    row = training_row or selection
    m_step = row["iteration"] if row else iteration + 1
    return reader.rows(
        "SELECT iteration, stage, table_name, version, attempt, code_version, committed_at "
        "FROM stages WHERE iteration = 0 AND table_name = 'problems' "
        f"OR iteration = {iteration} AND table_name IN ('prompts', 'samples', 'rewards') "
        f"OR iteration = {m_step} AND table_name IN ({after}) "
        "ORDER BY committed_at, iteration",
        run_id,
    )


def _versions(rewards: Sequence[Row]) -> set[str]:
    return {reward["verifier_version"] for reward in rewards}


def _first(rows: Sequence[Row]) -> Row | None:
    return rows[0] if rows else None
