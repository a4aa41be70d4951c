"""A sample's whole story, from its problem to the policy that was trained on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import LakeError

if TYPE_CHECKING:
    from pipelines.lake.reader import LakeReader

Row = dict[str, Any]


@dataclass(frozen=True)
class Story:
    """What the tables say of one sample; a part that is not there (yet) is None or empty."""

    sample: Row
    problem: Row | None
    prompt: Row | None
    policies: list[Row]
    """The policy that drew it, then what that started from, back to the base model."""
    rewards: list[Row]
    """The newest verdicts."""
    selected_on: list[Row]
    """The verdicts that the selection read, if the sample was judged again since; else empty."""
    selection: Row | None
    training_row: Row | None
    trained: Row | None
    """The policy that was fine-tuned on it."""
    stages: list[Row]
    """The seals of the stages that made these rows, with the tables' versions."""


def explain(reader: LakeReader, sample_id: str, run: str | None = None) -> Story:
    """Collect a sample's story.

    Args:
        reader: the lake.
        sample_id: the id, or a start of it that no other sample has.
        run: the run, where several hold the sample; the newest if None.

    Raises:
        LakeError: no sample, or several, have an id that starts so.
    """
    sample = _find(reader, sample_id, run)
    run_id, iteration = sample["run_id"], sample["iteration"]

    def of_sample(table: str, at: int) -> list[Row]:
        same = f"sample_id = {_text(sample['sample_id'])} AND iteration = {at}"
        return reader.rows(f"SELECT * FROM {table} WHERE {same}", run_id)

    problem = f"SELECT * FROM problems WHERE problem_id = {_text(sample['problem_id'])}"
    prompt = (
        f"SELECT * FROM prompts WHERE prompt_id = {_text(sample['prompt_id'])} "
        f"AND iteration = {iteration}"
    )
    policies = reader.rows("SELECT * FROM policies ORDER BY iteration", run_id)
    training_row = _first(of_sample("training_set", iteration + 1))
    rewards, selected_on = of_sample("rewards", iteration), of_sample("selected_rewards", iteration)
    return Story(
        sample=sample,
        problem=_first(reader.rows(problem, run_id)),
        prompt=_first(reader.rows(prompt, run_id)),
        policies=_ancestry(policies, iteration),
        rewards=rewards,
        selected_on=[] if _versions(selected_on) == _versions(rewards) else selected_on,
        selection=_first(of_sample("selections", iteration + 1)),
        training_row=training_row,
        trained=_at(policies, iteration + 1) if training_row else None,
        stages=_stages(reader, run_id, iteration, in_training=training_row is not None),
    )


def _find(reader: LakeReader, sample_id: str, run: str | None) -> Row:
    if not sample_id:
        raise LakeError("explain: SAMPLE_ID must be a sample's id or the start of one, got ''")
    found = reader.rows(
        f"SELECT * FROM samples WHERE starts_with(sample_id, {_text(sample_id)}) "
        "ORDER BY created_at DESC LIMIT 1000",
        run,
    )
    exact = [row for row in found if row["sample_id"] == sample_id] or found
    names = sorted({row["sample_id"] for row in exact})
    if not names:
        raise LakeError(
            f"no sample's id starts with {sample_id!r} in {reader.uri}; "
            "list some with: restem sql 'SELECT sample_id, verdict FROM sample_verdicts'"
        )
    if len(names) > 1:
        some = ", ".join(names[:4])
        raise LakeError(
            f"{len(names)}{'+' * (len(found) == 1000)} samples start with {sample_id!r}: {some}"
            f"{', ...' * (len(names) > 4)}; give more of the id"
        )
    return exact[0]


def _ancestry(policies: list[Row], iteration: int) -> list[Row]:
    """Policy `iteration` and the chain of policies it was fine-tuned from."""
    chain: list[Row] = []
    policy = _at(policies, iteration)
    while policy is not None:
        chain.append(policy)
        before = [p for p in policies if p["iteration"] < policy["iteration"]]
        started = [p for p in before if p["policy_id"] == policy["started_from"]]
        policy = _first(started)
    return chain


def _stages(reader: LakeReader, run_id: str, iteration: int, *, in_training: bool) -> list[Row]:
    own = "('render', 'generate', 'score')"
    after = "('select', 'curate', 'improve')" if in_training else "('select')"
    return reader.rows(
        "SELECT iteration, stage, table_name, version, attempt, code_version, committed_at "
        f"FROM stages WHERE iteration = 0 AND stage = 'ingest' "
        f"OR iteration = {iteration} AND stage IN {own} "
        f"OR iteration = {iteration + 1} AND stage IN {after} ORDER BY committed_at, iteration",
        run_id,
    )


def _versions(rewards: list[Row]) -> set[str]:
    return {reward["verifier_version"] for reward in rewards}


def _at(policies: list[Row], iteration: int) -> Row | None:
    return _first([policy for policy in policies if policy["iteration"] == iteration])


def _first(rows: list[Row]) -> Row | None:
    return rows[0] if rows else None


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
