"""A finished run is given another iteration and another suite: rows are added, none changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from tests.test_kill import everything
from tests.tiny_loop import restem, write_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SUITE = {
    "name": "later",
    "source": {
        "kind": "generator",
        "location": "tests.tiny_loop:other_sums",
        "options": {"count": 5},
    },
}


def test_iterations_and_suites_are_added_to_a_finished_run(tmp_path: Path) -> None:
    config = write_project(tmp_path, num_iterations=1)
    code, printed = restem("run", str(config))
    assert code == 0, printed
    lake = tmp_path / "lake"
    before, reader = everything(lake), LakeReader(Location(str(lake)))
    figures = reader.rows("SELECT * FROM evaluations ORDER BY iteration, suite, metric")
    tree: dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))
    tree["num_iterations"] = 2
    tree["evaluation"]["suites"] = [SUITE]
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")

    # Some of the tables are extended by Spark's writer, the others by delta-rs.
    code, printed = restem("run", str(config), "--set", "gate.max_pandas_rows=48")
    assert code == 0, printed
    after = everything(lake)
    for table, rows in before.items():
        assert rows.items() <= after[table].items(), f"a committed row of {table} changed"
    now = reader.rows("SELECT * FROM evaluations ORDER BY iteration, suite, metric")
    assert [row for row in now if row in figures] == figures
    suites = {(row["iteration"], row["suite"]) for row in now}
    assert {(0, "later"), (1, "later"), (2, "later"), (2, "test"), (1, "train")} <= suites
    counts = reader.rows("SELECT count(*) AS n, count(DISTINCT sample_id) AS ids FROM samples")[0]
    asked = reader.rows("SELECT sum(num_samples) AS n FROM prompts")[0]
    assert counts["n"] == counts["ids"] == asked["n"]
    attempts = {
        (row["iteration"], row["stage"]): row["attempt"]
        for row in reader.rows("SELECT iteration, stage, attempt FROM stages ORDER BY attempt")
    }
    assert attempts[0, "ingest"] == attempts[1, "generate"] == attempts[0, "evaluate"] == 2
    assert attempts[1, "improve"] == attempts[2, "improve"] == attempts[1, "select"] == 1
    _, printed = restem("status", "tiny", "--lake", str(lake))
    assert "nothing: the run is complete" in printed
