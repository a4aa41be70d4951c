"""Prompts in chunks, and the solutions of a chunk as rows of `samples`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.sampling.sampler import DecodingSettings, DrawnSolution, Request, sample_id
from schemas import SAMPLES
from schemas.samples import LENGTH, STOP

if TYPE_CHECKING:
    import pyarrow as pa

PROMPT_COLUMNS = [
    "prompt_id",
    "problem_id",
    "purpose",
    "decoding",
    "num_samples",
    "temperature",
    "top_k",
    "top_p",
    "max_tokens",
    "stop",
    "seed",
    "text",
]
"""The columns of `prompts` that generating needs."""


def pending_chunks(
    prompts: pa.Table, committed: pa.Table, chunk_prompts: int, max_model_len: int
) -> list[pa.Table]:
    """The prompts without committed samples, in chunks of `chunk_prompts`.

    They are ordered by problem_id, a hash: every chunk gets its share of greedy and of sampled
    prompts, and prompts of the same problem are together, so that the engine computes their common
    text once.

    Args:
        prompts: rows of `prompts`, PROMPT_COLUMNS at least.
        committed: rows of `samples`, prompt_id at least.
        chunk_prompts: number of prompts per chunk; the last one may have fewer.
        max_model_len: maximum number of tokens of prompt plus solution; a column of the chunks.
    """
    return in_chunks(pending_prompts(prompts, committed, max_model_len), chunk_prompts)


def pending_prompts(prompts: pa.Table, committed: pa.Table, max_model_len: int) -> pa.Table:
    """The prompts without committed samples, in the order of their chunks; see `pending_chunks`."""
    pending = without(_with_limit(prompts, max_model_len), committed)
    return pending.sort_by([("problem_id", "ascending"), ("prompt_id", "ascending")])


def without(prompts: pa.Table, samples: pa.Table) -> pa.Table:
    """The prompts that have none of the samples."""
    import pyarrow.compute as pc

    done = pc.is_in(prompts["prompt_id"], value_set=pc.unique(samples["prompt_id"]))
    return prompts.filter(pc.invert(done))


def num_samples_of(prompts: pa.Table) -> int:
    """The number of samples that prompts ask for."""
    return sum(int(row["num_samples"]) for row in prompts.select(["num_samples"]).to_pylist())


def in_chunks(prompts: pa.Table, chunk_prompts: int) -> list[pa.Table]:
    """Prompts in chunks of `chunk_prompts`; the last one may have fewer."""
    starts = range(0, prompts.num_rows, chunk_prompts)
    return [prompts.slice(start, chunk_prompts).combine_chunks() for start in starts]


def answered_request(prompts: pa.Table, committed: pa.Table, max_model_len: int) -> Request | None:
    """The request of the shortest prompt that an engine has drawn a solution for; None without one.

    Args:
        prompts: as for `pending_chunks`.
        committed: rows of `samples`, prompt_id and finish_reason at least.
        max_model_len: as for `pending_chunks`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    drawn = pc.is_in(committed["finish_reason"], value_set=pa.array([STOP, LENGTH]))
    ids = pc.unique(committed["prompt_id"].filter(drawn))
    answered = prompts.filter(pc.is_in(prompts["prompt_id"], value_set=ids))
    if not answered.num_rows:
        return None
    first = prompt_ids(answered)[:1]
    (request,) = requests_of(part_of(_with_limit(answered, max_model_len), first))
    return request


def _with_limit(prompts: pa.Table, max_model_len: int) -> pa.Table:
    import pyarrow as pa

    limits = pa.array([max_model_len] * prompts.num_rows, pa.int64())
    return prompts.select(PROMPT_COLUMNS).append_column("max_model_len", limits)


def prompt_ids(chunk: pa.Table) -> tuple[str, ...]:
    """The ids of a chunk's prompts, the shortest text first."""
    rows = chunk.select(["prompt_id", "text"]).to_pylist()
    return tuple(
        row["prompt_id"] for row in sorted(rows, key=lambda r: (len(r["text"]), r["prompt_id"]))
    )


def part_of(chunk: pa.Table, prompts: tuple[str, ...]) -> pa.Table:
    """The rows of some of a chunk's prompts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return chunk.filter(pc.is_in(chunk["prompt_id"], value_set=pa.array(prompts, pa.string())))


def requests_of(chunk: pa.Table) -> list[Request]:
    """The requests for a chunk of `pending_chunks`."""
    return [
        Request(
            prompt_id=row["prompt_id"],
            text=row["text"],
            num_samples=row["num_samples"],
            decoding=_decoding(row),
            seed=row["seed"],
        )
        for row in chunk.to_pylist()
    ]


def expected_ids(prompts: pa.Table, policy_id: str) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Each prompt with the ids of the samples that it will have.

    Args:
        prompts: as `pending_chunks` gives them.
        policy_id: the policy that is asked.
    """
    for row in prompts.to_pylist():
        text, decoding = row["text"], _decoding(row)
        yield (
            row,
            [
                sample_id(policy_id, text, decoding, row["seed"] + index, index)
                for index in range(row["num_samples"])
            ],
        )


def sample_rows(policy_id: str, chunk: pa.Table, solutions: list[list[DrawnSolution]]) -> pa.Table:
    """A chunk's rows of `samples`, without the partition columns.

    Args:
        policy_id: the policy that drew the solutions.
        chunk: prompts, see `pending_chunks`.
        solutions: those of each prompt.
    """
    import pyarrow as pa

    now = datetime.now(UTC)
    rows = [
        {
            "sample_id": sample_id(
                policy_id, prompt["text"], _decoding(prompt), drawn.seed, drawn.index
            ),
            "prompt_id": prompt["prompt_id"],
            "problem_id": prompt["problem_id"],
            "policy_id": policy_id,
            "purpose": prompt["purpose"],
            "decoding": prompt["decoding"],
            "index": drawn.index,
            "finish_reason": drawn.finish_reason,
            "stop_string": drawn.stop_string,
            "num_tokens": drawn.num_tokens,
            "num_prompt_tokens": drawn.num_prompt_tokens,
            "log_probability": drawn.log_probability,
            "seed": drawn.seed,
            "temperature": prompt["temperature"],
            "top_k": prompt["top_k"],
            "top_p": prompt["top_p"],
            "max_tokens": prompt["max_tokens"],
            "created_at": now,
            "taken_from": None,
            "solution": drawn.solution,
        }
        for prompt, drawn_for_prompt in zip(chunk.to_pylist(), solutions, strict=True)
        for drawn in drawn_for_prompt
    ]
    return pa.Table.from_pylist(rows, SAMPLES.arrow_schema(partition_columns=False))


def _decoding(prompt: dict[str, Any]) -> DecodingSettings:
    return DecodingSettings(
        temperature=prompt["temperature"],
        top_k=prompt["top_k"],
        top_p=prompt["top_p"],
        max_tokens=prompt["max_tokens"],
        stop=tuple(prompt["stop"]),
        max_model_len=prompt["max_model_len"],
    )
