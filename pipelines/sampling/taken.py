"""Samples that other runs of the lake have drawn, taken instead of being drawn again.

A sample's id is a hash of policy, prompt text, decoding, seed and index: a sample of the same id is the
one that would be drawn. So methods and studies that start from one base model draw its samples once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.lake.sql_text import sql_list, sql_literal
from pipelines.runtime.slices import whole_groups
from pipelines.sampling.chunks import expected_ids
from schemas import SAMPLES
from schemas.samples import LENGTH, PROMPT_TOO_LONG, STOP

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.stage import SealedElsewhere

ROWS_PER_FILE = 20_000


@dataclass(frozen=True)
class Taken:
    """Rows of `samples` from another run, without the partition columns: whole prompts."""

    source: SealedElsewhere
    rows: pa.Table


def taken(prompts: pa.Table, policy_id: str, others: Iterable[SealedElsewhere]) -> Iterator[Taken]:
    """The samples of prompts that other runs have drawn; all of a prompt's, or none.

    Args:
        prompts: as `pending_chunks` gives them.
        policy_id: the policy that is asked.
        others: sealed samples of other runs, drawn with the same settings of the engine; the next is
            asked for when those of the last have been handed out.
    """
    # Hashed when another run turns out to have samples of the policy: there may be a million of them.
    wanted: dict[str, tuple[str, ...]] | None = None
    num_samples = dict(
        zip(prompts["prompt_id"].to_pylist(), prompts["num_samples"].to_pylist(), strict=True)
    )
    where = (
        f"policy_id = {sql_literal(policy_id)} AND "
        f"finish_reason IN {sql_list((STOP, LENGTH, PROMPT_TOO_LONG))}"
    )
    for other in others:
        there = other.snapshot.arrow(["sample_id"], where)["sample_id"].to_pylist()
        if not there:
            continue
        if wanted is None:
            wanted = {
                name: (row["prompt_id"], row["problem_id"], row["purpose"], row["decoding"])
                for row, names in expected_ids(prompts, policy_id)
                for name in names
            }
        by_prompt: dict[str, list[str]] = {}
        for name in there:
            if name in wanted:
                by_prompt.setdefault(wanted[name][0], []).append(name)
        whole = [ids for prompt, ids in by_prompt.items() if len(ids) == num_samples[prompt]]
        found = {name: wanted.pop(name) for ids in whole for name in ids}
        if found:
            rows = other.snapshot.arrow(_COLUMNS, where)
            yield from (Taken(other, part) for part in _parts(rows, found, other.run))


_COLUMNS = [column.name for column in SAMPLES.columns if column.name not in ("run_id", "iteration")]
_OF_THE_PROMPT = ("prompt_id", "problem_id", "purpose", "decoding")


def _parts(rows: pa.Table, found: Mapping[str, tuple[str, ...]], run: str) -> Iterator[pa.Table]:
    """The found rows as those of this run's prompts, in parts that end with a prompt."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = rows.filter(pc.is_in(rows["sample_id"], value_set=pa.array(list(found), pa.string())))
    own = zip(*(found[str(name)] for name in rows["sample_id"].to_pylist()), strict=True)
    for column, values in zip(_OF_THE_PROMPT, own, strict=True):
        place = rows.column_names.index(column)
        rows = rows.set_column(place, column, pa.array(values, pa.string()))
    # Of whom the other run took it, if it did not draw it itself.
    origin = [name or run for name in rows["taken_from"].to_pylist()]
    place = rows.column_names.index("taken_from")
    rows = rows.set_column(place, "taken_from", pa.array(origin, pa.string()))
    rows = rows.sort_by([("problem_id", "ascending"), ("prompt_id", "ascending")])
    for start, stop in whole_groups(rows["prompt_id"].to_pylist(), ROWS_PER_FILE):
        yield rows.slice(start, stop - start)
