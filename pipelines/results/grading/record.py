"""Commit marks to the lake: the marks to `grades`, their totals to `evaluations`.

The `grades` of one suite, iteration and grader are a slice that is replaced as a whole. The totals
are computed from the marks of all graders and committed beside the rows of the `evaluate` stage, in
files of their own; the version that `evaluate` sealed stays as it was. If a partition of
`evaluations` were made again, the same import would restore them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.config import BY_HAND
from pipelines.errors import InputError, LakeError
from pipelines.lake.sql_text import sql_list, sql_literal
from pipelines.results.grading.marks import Mark
from pipelines.results.grading.totals import METRICS, totals
from pipelines.stage import ArrowStage
from schemas import EVALUATIONS, GRADES, SAMPLES
from schemas.table import Table

if TYPE_CHECKING:
    from pipelines.lake.lake import Lake
    from pipelines.lake.query_results import Row
    from pipelines.metrics.bootstrap import Estimate

_MARK_COLUMNS = ("sample_id", "points", "max_points", "comment", "text_hash")
"""Columns that are equal in two imports of the same marks."""


@dataclass(frozen=True)
class Recorded:
    """The result of an import, for one suite and iteration."""

    suite: str
    iteration: int
    graders: tuple[str, ...]
    is_repeat: bool
    """The same marks were imported before."""
    totals: Mapping[str, Estimate]
    """Metric -> its value over all graders."""


def record(
    lake: Lake,
    marks: Mapping[tuple[str, int], Sequence[Mark]],
    grader: str,
    *,
    replace: bool = False,
) -> list[Recorded]:
    """Commit a grader's marks, and the totals over all graders.

    Args:
        lake: the run's lake.
        marks: the grader's marks by (suite, iteration), one per sample.
        grader: who gave them.
        replace: earlier marks by this grader that differ are replaced.

    Raises:
        LakeError: the iteration is not evaluated yet.
        InputError: earlier marks by the grader differ, or another grader's maximum does. Nothing
            is written then.
    """
    slices = [_Slice(lake, *key, grader, of_slice) for key, of_slice in marks.items()]
    for each in slices:
        each.check(replace=replace)
    return [each.record() for each in slices]


@dataclass(frozen=True)
class _Slice:
    """The marks of one grader for one suite of an iteration."""

    lake: Lake
    suite: str
    iteration: int
    grader: str
    marks: Sequence[Mark]

    def check(self, *, replace: bool) -> None:
        """Refuse the marks if they cannot be recorded, see `record`."""
        if not self.lake.is_sealed(self.iteration, "evaluate"):
            raise LakeError(
                f"iteration {self.iteration} must be evaluated before it is graded; go on with "
                "'restem run', then import again"
            )
        earlier = self._earlier()
        own = [row for row in earlier if row["grader"] == self.grader]
        if own and not replace and not self._equals(own):
            raise InputError(self._difference(own))
        maxima = {mark.sample_id: mark.max_points for mark in self.marks}
        for row in earlier:
            maximum = maxima.get(row["sample_id"], row["max_points"])
            if row["grader"] != self.grader and row["max_points"] != maximum:
                raise InputError(
                    f"sample {row['sample_id']!r}: max_points must be the same for all graders, got "
                    f"{maximum:g}, {row['grader']} had {row['max_points']:g}; export with the same "
                    "--max-points"
                )

    def record(self) -> Recorded:
        """Commit the marks and the totals."""
        rows = [row for row in self._earlier() if row["grader"] == self.grader]
        if not rows or not self._equals(rows):  # equal marks keep their time, so their rows stay
            shared = {"suite": self.suite, "grader": self.grader, "graded_at": datetime.now(UTC)}
            rows = [{**shared, **vars(mark)} for mark in self.marks]
        samples = self.lake.sealed(SAMPLES, self.iteration, "generate")
        inputs = [] if samples is None else [samples]
        stage = _stage_of(f"grade/{self.suite}/{self.grader}", GRADES, rows)
        where = f"suite = {sql_literal(self.suite)} AND grader = {sql_literal(self.grader)}"
        changed = self.lake.amend(stage, self.iteration, where, *inputs)
        grades = self._earlier()
        graders = tuple(sorted({row["grader"] for row in grades}))
        return Recorded(self.suite, self.iteration, graders, not changed, self._totals(grades))

    def _totals(self, grades: list[Row]) -> dict[str, Estimate]:
        """Commit the totals of these grades to `evaluations`."""
        config = self.lake.config
        seed = (config.seed, zlib.crc32(self.suite.encode()))
        found = totals(grades, config.evaluation.num_bootstrap, seed)
        shared = {
            "policy_id": grades[0]["policy_id"],
            "suite": self.suite,
            "verifier": BY_HAND,
        }
        rows = [
            {
                **shared,
                "metric": name,
                "value": total.value,
                "ci_low": total.low,
                "ci_high": total.high,
                "n": total.n,
            }
            for name, total in found.items()
        ]
        stage = _stage_of(f"grade/{self.suite}", EVALUATIONS, rows)
        where = f"suite = {sql_literal(self.suite)} AND metric IN {sql_list(METRICS)}"
        self.lake.amend(
            stage, self.iteration, where, self.lake.latest_snapshot(GRADES, self.iteration)
        )
        return found

    def _earlier(self) -> list[Row]:
        """The suite's grades in the lake, by all graders."""
        if not self.lake.has(GRADES):
            return []
        snapshot = self.lake.latest_snapshot(GRADES, self.iteration)
        rows: list[Row] = snapshot.arrow(where=f"suite = {sql_literal(self.suite)}").to_pylist()
        return rows

    def _equals(self, own: list[Row]) -> bool:
        return {tuple(row[name] for name in _MARK_COLUMNS) for row in own} == {
            tuple(vars(mark)[name] for name in _MARK_COLUMNS) for mark in self.marks
        }

    def _difference(self, own: list[Row]) -> str:
        before = {row["sample_id"]: row["points"] for row in own}
        changed = [mark for mark in self.marks if before.get(mark.sample_id) != mark.points]
        example = [
            f" (sample {mark.sample_id!r} had {before[mark.sample_id]:g}, now {mark.points:g})"
            for mark in changed[:1]
            if mark.sample_id in before
        ]
        return (
            f"--grader: {self.grader} has marked suite {self.suite!r} of iteration "
            f"{self.iteration} already, {len(changed)} marks differ{''.join(example)}; use "
            "--replace to replace them all, or another name"
        )


def _stage_of(name: str, table: Table, rows: list[Row]) -> ArrowStage:
    """A stage that makes these rows."""
    made = pa.Table.from_pylist(rows, table.arrow_schema(partition_columns=False))
    return ArrowStage(name=name, table=table, function=lambda *_: made)
