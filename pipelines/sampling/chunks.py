"""Prompts in chunks, and the chunks' solutions as rows of `samples`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.sampling.sampler import Decoding, Draw, Request, sample_id
from schemas import SAMPLES
from schemas.table import ITERATION, RUN_ID

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
"""What generating needs of a prompt."""


def pending_chunks(prompts: pa.Table, committed: pa.Table, chunk_prompts: int) -> list[pa.Table]:
    """The prompts without committed samples, in chunks of `chunk_prompts`.

    Ordered by problem_id, a hash: every chunk gets its share of greedy and of sampled prompts, and
    the prompts that ask one problem several times lie together, so that the engine computes their
    common text once.

    Args:
        prompts: rows of `prompts`, PROMPT_COLUMNS at least.
        committed: rows of `samples`, prompt_id at least.
        chunk_prompts: prompts a chunk; the last one may have fewer.
    """
    import pyarrow.compute as pc

    done = pc.is_in(prompts["prompt_id"], value_set=pc.unique(committed["prompt_id"]))
    pending = prompts.select(PROMPT_COLUMNS).filter(pc.invert(done))
    pending = pending.sort_by([("problem_id", "ascending"), ("prompt_id", "ascending")])
    starts = range(0, pending.num_rows, chunk_prompts)
    return [pending.slice(start, chunk_prompts).combine_chunks() for start in starts]


def requests_of(chunk: pa.Table) -> list[Request]:
    """What the sampler is asked for a chunk."""
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


def sample_rows(policy_id: str, chunk: pa.Table, draws: list[list[Draw]]) -> pa.Table:
    """The chunk's rows of `samples`, the partition's columns apart."""
    import pyarrow as pa

    now = datetime.now(UTC)
    rows = [
        _sample_row(policy_id, prompt, draw, now)
        for prompt, solutions in zip(chunk.to_pylist(), draws, strict=True)
        for draw in solutions
    ]
    partition = {RUN_ID.name, ITERATION.name}
    fields = [field for field in SAMPLES.arrow_schema() if field.name not in partition]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def _sample_row(
    policy_id: str, prompt: dict[str, Any], draw: Draw, now: datetime
) -> dict[str, Any]:
    return {
        "sample_id": sample_id(policy_id, prompt["text"], _decoding(prompt), draw.seed, draw.index),
        "prompt_id": prompt["prompt_id"],
        "problem_id": prompt["problem_id"],
        "policy_id": policy_id,
        "purpose": prompt["purpose"],
        "decoding": prompt["decoding"],
        "index": draw.index,
        "finish_reason": draw.finish_reason,
        "num_tokens": draw.num_tokens,
        "num_prompt_tokens": draw.num_prompt_tokens,
        "log_probability": draw.log_probability,
        "seed": draw.seed,
        "temperature": prompt["temperature"],
        "top_k": prompt["top_k"],
        "top_p": prompt["top_p"],
        "max_tokens": prompt["max_tokens"],
        "created_at": now,
        "solution": draw.solution,
    }


def _decoding(prompt: dict[str, Any]) -> Decoding:
    return Decoding(
        temperature=prompt["temperature"],
        top_k=prompt["top_k"],
        top_p=prompt["top_p"],
        max_tokens=prompt["max_tokens"],
        stop=tuple(prompt["stop"]),
    )
