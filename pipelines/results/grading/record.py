"""Marks into the lake: `grades` holds them, `evaluations` what they come to.

`grades` of one suite, iteration and grader are a slice that is replaced as a whole. The totals are
made from all graders' marks and put beside the rows that `evaluate` has made, in files of their own;
the version that `evaluate` has sealed stays as it was. Were a partition of `evaluations` ever made
anew, the same import again would put them back.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError, LakeError
from pipelines.lake.answers import quoted
from pipelines.results.grading.marks import Mark
from pipelines.results.grading.totals import METRICS, totals
from pipelines.stage import ArrowStage
from schemas import EVALUATIONS, GRADES, SAMPLES
from schemas.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.lake.lake import Lake
    from pipelines.metrics.estimates import Estimate

_SAID = ("sample_id", "points", "max_points", "comment", "text_hash")
"""Columns in which two imports of the same marks agree."""


@dataclass(frozen=True)
class Recorded:
    """What an import came to, for one suite and iteration."""

    suite: str
    iteration: int
    graders: tuple[str, ...]
    is_repeat: bool
    """The marks were there already."""
    totals: Mapping[str, Estimate]


def record(
    lake: Lake,
    marks: Mapping[tuple[str, int], Sequence[Mark]],
    grader: str,
    *,
    replace: bool = False,
) -> list[Recorded]:
    """Commit a grader's marks, and the totals of everybody's.

    Args:
        lake: the run's lake.
        marks: the grader's marks by (suite, iteration), one a sample.
        grader: who gave them.
        replace: marks by this grader that differ are replaced.

    Raises:
        LakeError: the iteration is not evaluated yet.
        InputError: the grader's marks are there and differ, or another grader's maximum does.
            Nothing is written then.
    """
    slices = [_Slice(lake, suite, iteration, grader) for suite, iteration in marks]
    for part, given in zip(slices, marks.values(), strict=True):
        part.refuse(given, replace=replace)
    return [part.record(given) for part, given in zip(slices, marks.values(), strict=True)]


@dataclass(frozen=True)
class _Slice:
    """The marks of one grader for one suite of an iteration."""

    lake: Lake
    suite: str
    iteration: int
    grader: str

    def refuse(self, marks: Sequence[Mark], *, replace: bool) -> None:
        """See `record`."""
        if not self.lake.is_complete([(self.iteration, "evaluate")]):
            raise LakeError(
                f"iteration {self.iteration} must be evaluated before it is graded; go on with "
                "'restem run', then import again"
            )
        there = self._there()
        own = [row for row in there if row["grader"] == self.grader]
        if own and not replace and not _is_same(own, marks):
            raise InputError(_differs(own, marks, self))
        worth = {m.sample_id: m.max_points for m in marks}
        for row in there:
            most = worth.get(row["sample_id"], row["max_points"])
            if row["grader"] != self.grader and row["max_points"] != most:
                raise InputError(
                    f"sample {row['sample_id']!r}: max_points must be the same for all graders, got "
                    f"{most:g}, {row['grader']} had {row['max_points']:g}; export with the same "
                    "--max-points"
                )

    def record(self, marks: Sequence[Mark]) -> Recorded:
        """Commit the marks and the totals."""
        own = [row for row in self._there() if row["grader"] == self.grader]
        # The same marks again keep their time, so that they are the same rows.
        rows = own if own and _is_same(own, marks) else self._rows(marks)
        samples = self.lake.sealed(SAMPLES, self.iteration, "generate")
        inputs = [] if samples is None else [samples]
        stage = ArrowStage(f"grade/{self.suite}/{self.grader}", lambda *_: _table(GRADES, rows))
        where = f"suite = {quoted(self.suite)} AND grader = {quoted(self.grader)}"
        changed = self.lake.amend(GRADES, self.iteration, stage, where, *inputs)
        there = self._there()
        graders = tuple(sorted({row["grader"] for row in there}))
        return Recorded(self.suite, self.iteration, graders, not changed, self._totals(there))

    def _totals(self, grades: list[dict[str, Any]]) -> Mapping[str, Estimate]:
        config = self.lake.config
        seed = (config.seed, zlib.crc32(self.suite.encode()))
        found = totals(grades, config.evaluation.num_bootstrap, seed)
        shared = {"policy_id": grades[0]["policy_id"], "suite": self.suite}
        rows = [
            {
                **shared,
                "metric": name,
                "value": e.value,
                "ci_low": e.low,
                "ci_high": e.high,
                "n": e.n,
            }
            for name, e in found.items()
        ]
        stage = ArrowStage(f"grade/{self.suite}", lambda *_: _table(EVALUATIONS, rows))
        names = ", ".join(quoted(name) for name in METRICS)
        where = f"suite = {quoted(self.suite)} AND metric IN ({names})"
        inputs = self.lake.unmade(GRADES, self.iteration)
        self.lake.amend(EVALUATIONS, self.iteration, stage, where, inputs)
        return found

    def _there(self) -> list[dict[str, Any]]:
        if not self.lake.has(GRADES):
            return []
        snapshot = self.lake.unmade(GRADES, self.iteration)
        rows: list[dict[str, Any]] = snapshot.arrow(
            where=f"suite = {quoted(self.suite)}"
        ).to_pylist()
        return rows

    def _rows(self, marks: Sequence[Mark]) -> list[dict[str, Any]]:
        shared = {"suite": self.suite, "grader": self.grader, "graded_at": datetime.now(UTC)}
        return [{**shared, **vars(mark)} for mark in marks]


def _is_same(rows: list[dict[str, Any]], marks: Sequence[Mark]) -> bool:
    return {tuple(row[name] for name in _SAID) for row in rows} == {
        tuple(vars(mark)[name] for name in _SAID) for mark in marks
    }


def _differs(own: list[dict[str, Any]], marks: Sequence[Mark], part: _Slice) -> str:
    before = {row["sample_id"]: row["points"] for row in own}
    changed = [m for m in marks if before.get(m.sample_id) != m.points]
    such = [
        f" (sample {m.sample_id!r} had {before[m.sample_id]:g}, now {m.points:g})"
        for m in changed[:1]
        if m.sample_id in before
    ]
    return (
        f"--grader: {part.grader} has marked suite {part.suite!r} of iteration {part.iteration} "
        f"already, {len(changed)} marks differ{''.join(such)}; use --replace to replace them all, "
        "or another name"
    )


def _table(table: Table, rows: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    own = [f for f in table.arrow_schema() if f.name not in table.partition_by]
    return pa.Table.from_pylist(rows, pa.schema(own))
