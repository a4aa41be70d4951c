from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jobs.show.explain import show_lineage
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.results.lineage import trace_lineage
from tests.lake_fixture import write_lake


def test_a_sample_of_a_policy_that_was_lost_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lineage = trace_lineage(LakeReader(Location(str(write_lake(tmp_path)))), "first-1-sample-2-0")
    show_lineage(lineage)
    assert "was lost" not in capsys.readouterr().out
    show_lineage(replace(lineage, sample={**lineage.sample, "policy_id": "another"}))
    printed = capsys.readouterr().out
    assert "Policy another" in printed
    assert "its checkpoint was lost; trained again, it has other weights" in printed
    assert "policy 1, first-policy-1: fine-tuned from" in printed
