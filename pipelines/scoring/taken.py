"""Verdicts that other runs of the lake have, taken for the samples that were taken from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipelines.lake.sql_text import sql_equals, sql_list
from pipelines.rewards.resolve import checker_failures
from pipelines.scoring.score_chunks import Verifier
from schemas import REWARDS

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.stage import StageContext

_COLUMNS = [column.name for column in REWARDS.columns if column.name not in ("run_id", "iteration")]


def taken_verdicts(rows: pa.Table, verifier: Verifier, context: StageContext) -> Iterator[pa.Table]:
    """Rows of `rewards` for samples that other runs have scored with the same verifier.

    The same: its version, and the problem's reference. Verdicts on which it failed are not taken.

    Args:
        rows: samples without a verdict, see `to_score`.
        verifier: what would score them.
        context: knows the other runs.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    others = context.sealed_elsewhere("score")
    if not others:
        return
    same = sql_equals(verifier=verifier.name, verifier_version=verifier.version, role=verifier.role)
    where = f"{same} AND verdict NOT IN {sql_list(checker_failures(verifier.config))}"
    wanted = {row["sample_id"]: row["reference"] for row in _keys(rows)}
    references = {other.run: other for other in context.sealed_elsewhere("ingest")}
    for other in others:
        if not wanted:
            return
        there = other.snapshot.arrow(["sample_id", "problem_id"], where).to_pylist()
        shared = [row for row in there if row["sample_id"] in wanted]
        if not shared or other.run not in references:
            continue
        problems = references[other.run].snapshot.arrow(["problem_id", "reference"]).to_pylist()
        reference = {row["problem_id"]: row["reference"] for row in problems}
        found = [
            row["sample_id"]
            for row in shared
            if reference.get(row["problem_id"]) == wanted[row["sample_id"]]
        ]
        for name in found:
            del wanted[name]
        if found:
            verdicts = other.snapshot.arrow(_COLUMNS, where)
            names = pa.array(found, pa.string())
            yield verdicts.filter(pc.is_in(verdicts["sample_id"], value_set=names))


def _keys(rows: pa.Table) -> list[dict[str, str]]:
    return [
        {name: str(value) for name, value in row.items()}
        for row in rows.select(["sample_id", "reference"]).to_pylist()
    ]
