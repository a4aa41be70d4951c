"""A sealed table of a Spark stage gets rows for what was added, and keeps those that it has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.errors import LakeError
from pipelines.lake.lake import Lake, open_lake
from pipelines.lake.snapshot import TableSnapshot
from pipelines.runtime.progress import SilentProgress
from pipelines.stage import SparkStage
from schemas import EVALUATIONS, PROBLEMS, Table
from tests.doubles import FakeEngines, OneRuleGate, QuietListener
from tests.factories import arrow
from tests.pipelines.lake.test_materialize import _killed, config

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow


class Runs:
    """Starts of one run."""

    def __init__(self, folder: Path, spark: SparkSession, max_pandas_rows: int) -> None:
        self._folder, self._spark = folder, spark
        self._gate = {"max_pandas_rows": max_pandas_rows}

    def make(
        self, table: Table, covers: tuple[str, ...], *rows: dict[str, Any], killed: bool = False
    ) -> tuple[TableSnapshot, int]:
        """A stage's table in a start of its own, and the attempt that it was sealed by."""
        made = arrow(table, *rows).drop_columns(["run_id", "iteration"])
        stage = SparkStage(
            name="ingest",
            table=table,
            function=lambda _: self._spark.createDataFrame(made),
            covers=covers,
        )
        settings = config(self._folder, gate=self._gate)
        engines = FakeEngines(lambda: self._spark)
        gate = OneRuleGate({}, "bad")
        with open_lake(settings, engines, gate, QuietListener(), SilentProgress()) as lake:
            if killed:
                self._kill_before_the_seal(lake, stage)
            snapshot = lake.materialize(stage, 0)
            return snapshot, lake._seals[0, "ingest"].attempt

    def _kill_before_the_seal(self, lake: Lake, stage: SparkStage) -> None:
        seal, lake._books.seal = lake._books.seal, _killed  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            lake.materialize(stage, 0)
        lake._books.seal = seal  # type: ignore[method-assign]


@pytest.fixture(params=[200_000, 0], ids=["delta-rs", "spark"])
def runs(request: pytest.FixtureRequest, spark: SparkSession, tmp_path: Path) -> Runs:
    return Runs(tmp_path, spark, request.param)


def questions(snapshot: TableSnapshot) -> list[str]:
    return sorted(str(row["question"]) for row in snapshot.arrow(["question"]).to_pylist())


def test_rows_are_added_once_also_after_a_kill(runs: Runs) -> None:
    old, _ = runs.make(PROBLEMS, (), {"question": "a"}, {"question": "b"})
    rows = ({"question": "a"}, {"question": "b"}, {"question": "c"})
    new, attempt = runs.make(PROBLEMS, ("suite s",), *rows, killed=True)
    assert (questions(old), questions(new), attempt) == (["a", "b"], ["a", "b", "c"], 2)
    again, attempt = runs.make(PROBLEMS, ("suite s",), *rows)
    assert (again, attempt) == (new, 2)


@pytest.mark.parametrize("rows", [({"question": "other"},), ({"question": "a", "split": "test"},)])
def test_nothing_is_added_where_a_row_that_is_there_would_change(
    runs: Runs, rows: tuple[dict[str, Any], ...]
) -> None:
    old, _ = runs.make(PROBLEMS, (), {"question": "a"})
    with pytest.raises(LakeError, match="1 rows that are there would change or be missing"):
        runs.make(PROBLEMS, ("suite s",), *rows, {"question": "c"})
    assert questions(old) == ["a"]


def test_figures_that_are_there_stay_as_they_were(runs: Runs) -> None:
    """They may be computed anew from verdicts that are newer, or added up in another order."""
    runs.make(EVALUATIONS, (), {"value": 0.25})
    more = ({"value": 0.2500001}, {"value": 0.5})
    new, _ = runs.make(EVALUATIONS, ("suite s",), *more)
    assert {float(row["value"]) for row in new.arrow(["value"]).to_pylist()} == {0.25, 0.5}
