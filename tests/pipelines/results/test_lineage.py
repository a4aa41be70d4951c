"""A sample's lineage holds every step from its problem to the policy trained on it."""

from __future__ import annotations

import pytest

from pipelines.errors import LakeError
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.results.lineage import trace_lineage
from tests.lake_fixture import write_lake


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> LakeReader:
    return LakeReader(Location(str(write_lake(tmp_path_factory.mktemp("lake")))))


def test_a_kept_sample_leads_to_the_policy_trained_on_it(reader: LakeReader) -> None:
    lineage = trace_lineage(reader, "first-1-sample-2-0")
    assert lineage.problem is not None
    assert lineage.prompt is not None
    assert lineage.selection is not None
    assert lineage.trained is not None
    assert lineage.problem["problem_id"] == "problem-2"
    assert lineage.prompt["prompt_id"] == "first-1-prompt-2"
    assert [reward["verdict"] for reward in lineage.rewards] == ["correct"]
    assert (lineage.selection["iteration"], lineage.selection["kept"]) == (2, True)
    assert lineage.trained["policy_id"] == "first-policy-2"


def test_the_policys_ancestry_ends_at_the_base_model(reader: LakeReader) -> None:
    chain = trace_lineage(reader, "first-2-sample-1-0").policies
    assert [policy["policy_id"] for policy in chain] == ["first-policy-2", "base"]
    assert chain[-1]["started_from"] is None


def test_a_dropped_sample_has_its_reason_and_no_training_row(reader: LakeReader) -> None:
    lineage = trace_lineage(reader, "first-1-sample-1-1")
    assert lineage.selection is not None
    assert lineage.selection["reason"] == "duplicate_solution"
    assert lineage.training_row is None
    assert lineage.trained is None
    assert "curate" not in {stage["stage"] for stage in lineage.stages}


def test_the_stages_that_made_its_rows_are_named_with_versions(reader: LakeReader) -> None:
    stages = trace_lineage(reader, "second-0-sample-1-0").stages
    names = ["ingest", "render", "generate", "score", "select", "curate", "improve"]
    assert [stage["stage"] for stage in stages] == names
    assert {stage["version"] for stage in stages} == {1}


def test_the_start_of_an_id_is_enough_if_it_is_unique(reader: LakeReader) -> None:
    assert trace_lineage(reader, "first-1-sample-3-2").sample["index"] == 2
    assert trace_lineage(reader, "first-2-sample-5").sample["sample_id"] == "first-2-sample-5-0"
    with pytest.raises(LakeError, match="4 samples start with 'first-2-sample-1'"):
        trace_lineage(reader, "first-2-sample-1")


def test_a_run_restricts_where_the_sample_is_looked_for(reader: LakeReader) -> None:
    with pytest.raises(LakeError, match="no sample's id starts with"):
        trace_lineage(reader, "first-1-sample-1-0", run="second")
