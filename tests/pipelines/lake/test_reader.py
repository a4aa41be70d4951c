"""Queries of a lake: rows by name, restricted, at a version; one clear line for a wrong query."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC
from pathlib import Path

import pytest

from pipelines.errors import LakeError
from pipelines.lake.location import Location
from pipelines.lake.query_results import python_rows
from pipelines.lake.reader import LakeReader
from pipelines.lake.sql_text import only_reads, sql_equals, sql_identifier, sql_list, words
from pipelines.lake.views import READABLE, VIEWS
from schemas import TABLES
from tests.lake_fixture import NUM_PROBLEMS, NUM_SAMPLES, write_lake

SAMPLES_PER_ITERATION = NUM_PROBLEMS // 2 * (NUM_SAMPLES + 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lake(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def reader(folder: Path) -> LakeReader:
    return LakeReader(Location(str(folder)))


def count(reader: LakeReader, table: str, **restricted: str | int) -> int:
    answer = reader.sql(f"SELECT count(*) AS n FROM {table}", **restricted)  # type: ignore[arg-type]
    return int(python_rows(answer)[0]["n"])


def test_every_table_and_view_is_readable_by_name(reader: LakeReader) -> None:
    assert reader.tables() == [table.name for table in TABLES]
    assert all(count(reader, name) > 0 for name in READABLE)


def test_rows_have_the_declared_columns_and_types(reader: LakeReader) -> None:
    for table in TABLES:
        read = reader.arrow(table.name)
        assert set(read.column_names) == set(table.column_names)
        for field in table.arrow_schema():
            assert read.schema.field(field.name).type == field.type


def test_a_column_named_like_a_keyword_is_read(reader: LakeReader) -> None:
    rows = python_rows(reader.arrow("samples", run="first", iteration=0, columns=["index"]))
    assert {row["index"] for row in rows} == set(range(NUM_SAMPLES))


def test_timestamps_are_utc_in_python(reader: LakeReader) -> None:
    row = reader.rows("SELECT created_at FROM samples LIMIT 1")[0]
    assert row["created_at"].tzinfo == UTC
    assert row["created_at"].hour == 12


def test_run_and_iteration_restrict_every_keyed_table(reader: LakeReader) -> None:
    assert count(reader, "samples") == 2 * 3 * SAMPLES_PER_ITERATION
    assert count(reader, "samples", run="first") == 3 * SAMPLES_PER_ITERATION
    assert count(reader, "samples", run="first", iteration=1) == SAMPLES_PER_ITERATION
    assert count(reader, "sample_verdicts", iteration=2) == 2 * SAMPLES_PER_ITERATION


def test_restricting_to_an_iteration_keeps_the_problems_of_its_samples(reader: LakeReader) -> None:
    assert count(reader, "problems", run="first", iteration=2) == NUM_PROBLEMS
    rows = python_rows(reader.arrow("sample_verdicts", run="first", iteration=2))
    assert all(row["question"] and row["reference"] for row in rows)


def test_a_table_is_read_at_a_version(reader: LakeReader) -> None:
    at_first = reader.sql("SELECT DISTINCT run_id FROM samples", versions={"samples": 0})
    assert at_first.column("run_id").to_pylist() == ["first"]
    assert reader.arrow("runs", version=0).num_rows == 1
    assert reader.version("samples") == 1


def test_one_query_reads_two_versions_of_a_table(reader: LakeReader) -> None:
    query = "SELECT (SELECT count(*) FROM samples_v0) AS old, (SELECT count(*) FROM samples) AS new"
    assert reader.rows(query) == [{"old": 60, "new": 120}]


def test_a_training_row_holds_its_full_lineage(reader: LakeReader) -> None:
    rows = reader.rows("SELECT * FROM training_rows WHERE problem_id = 'problem-1'", "first")
    row = next(row for row in rows if row["iteration"] == 2)
    assert row["sample_id"] == "first-1-sample-1-0"
    assert row["checkpoint_uri"] == "runs/first/policy-1"
    assert row["trained_policy_id"] == "first-policy-2"
    assert row["verdict"] == "correct"
    assert row["selection_rule"] == "kept"
    assert (row["temperature"], row["top_k"], row["max_tokens"]) == (0.7, 40, 32)
    assert row["question"] in row["prompt"]


def test_views_have_one_row_per_row_of_their_table(reader: LakeReader) -> None:
    assert count(reader, "training_rows") == count(reader, "training_set")
    assert count(reader, "sample_verdicts") == count(reader, "samples")


def test_problem_rates_count_correct_samples_per_problem(reader: LakeReader) -> None:
    query = "SELECT * FROM problem_rates WHERE problem_id = 'problem-1' AND iteration = 2"
    row = reader.rows(query, "first")[0]
    assert (row["num_samples"], row["num_correct"], row["success_rate"]) == (4, 3, 0.75)


def test_latest_evaluations_are_those_of_the_last_policy(reader: LakeReader) -> None:
    assert {r["iteration"] for r in reader.rows("SELECT * FROM latest_evaluations")} == {2}


def test_tables_and_columns_can_be_listed(reader: LakeReader) -> None:
    listed = python_rows(reader.sql("SHOW TABLES"))
    assert [row["name"] for row in listed] == list(READABLE)
    assert {row["version"] for row in listed if row["kind"] == "table"} == {1}
    columns = {row["column"]: row for row in python_rows(reader.sql("DESCRIBE samples"))}
    assert columns["finish_reason"]["meaning"] == "why it ended"


def test_a_table_that_the_lake_lacks_is_empty(tmp_path: Path) -> None:
    write_lake(tmp_path)
    (tmp_path / "evaluations").rename(tmp_path / "elsewhere")
    reader = LakeReader(Location(str(tmp_path)))
    read = reader.arrow("evaluations")
    declared = next(table for table in TABLES if table.name == "evaluations")
    assert read.num_rows == 0
    assert read.schema.types == declared.arrow_schema().types
    assert count(reader, "latest_evaluations") == 0


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT * FROM sampels", "did you mean 'samples'?"),
        ("SELECT * FROM nothing_like_it", "tables: runs, problems"),
        ("SELECT solutoin FROM samples", "did you mean 'solution'?"),
        ("SELECT s.solutoin FROM samples s", "did you mean 'solution'?"),
        ("SELECT * FROM samples WHERE", "Expected: an expression"),
        ("SELECT 1; SELECT 2", "single SQL statement"),
        ("SELECT 1 / 0 FROM samples", "Divide by zero"),
        ("SELECT nofunction(1) FROM samples", "Invalid function"),
        ("SELECT * FROM samples_v7", "samples has no version 7; its versions are 0 to 1"),
        ("", "must be one SELECT"),
        ("selct 1", "must be one SELECT"),
    ],
)
def test_a_wrong_query_gets_one_clear_line(reader: LakeReader, query: str, message: str) -> None:
    with pytest.raises(LakeError) as raised:
        reader.sql(query)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE samples",
        "DELETE FROM samples",
        "UPDATE samples SET reward = 1",
        "INSERT INTO samples SELECT * FROM samples",
        "-- SELECT\nINSERT INTO samples SELECT * FROM samples",
        "WITH a AS (SELECT 1) INSERT INTO stored_samples SELECT * FROM samples",
        "EXPLAIN ANALYZE INSERT INTO stored_samples SELECT * FROM samples",
        "COPY samples TO 'out.csv'",
        "CREATE EXTERNAL TABLE t STORED AS csv LOCATION 'out.csv'",
    ],
)
def test_statements_that_write_are_refused(reader: LakeReader, query: str) -> None:
    with pytest.raises(LakeError, match="read-only"):
        reader.sql(query)
    assert reader.version("samples") == 1


def test_words_in_strings_and_comments_are_ignored() -> None:
    assert words("SELECT 'drop it' -- insert\nFROM t /* delete */") == ["select", "from", "t"]
    assert only_reads("SELECT * FROM samples WHERE solution = 'insert into x'")


def test_quotes_in_values_and_names_are_doubled() -> None:
    assert sql_equals(run_id="o'er", iteration=1) == "run_id = 'o''er' AND iteration = 1"
    assert sql_list(["a", "it's", 2]) == "('a', 'it''s', 2)"
    assert sql_identifier('in"dex') == '"in""dex"'


def test_unknown_runs_and_versions_list_what_the_lake_has(reader: LakeReader) -> None:
    with pytest.raises(LakeError, match="did you mean 'first'\\? runs: first, second"):
        reader.sql("SELECT 1 FROM samples", run="frist")
    with pytest.raises(LakeError, match="samples has no version 9; its versions are 0 to 1"):
        reader.sql("SELECT 1 FROM samples", versions={"samples": 9})
    with pytest.raises(LakeError, match="--version smaples: no such table"):
        reader.sql("SELECT 1 FROM samples", versions={"smaples": 0})


def test_a_run_named_with_a_quote_cannot_change_the_query(reader: LakeReader) -> None:
    with pytest.raises(LakeError, match="no run"):
        reader.sql("SELECT * FROM samples", run="x' OR '1' = '1")


def test_a_missing_lake_is_an_error_and_none_is_created(tmp_path: Path) -> None:
    reader = LakeReader(Location(str(tmp_path / "nowhere")))
    for query in ("SELECT * FROM samples", "SELECT 1", "SHOW TABLES"):
        with pytest.raises(LakeError, match="no lake at"):
            reader.sql(query)
    assert not (tmp_path / "nowhere").exists()


def test_views_read_only_declared_tables() -> None:
    names = {table.name for table in TABLES}
    for view in VIEWS:
        assert set(view.reads) <= names
        as_read = {"rewards"} if view.rewards_read_by is not None else set()
        assert all(f"all_{name}" in view.sql for name in set(view.reads) - as_read)
        assert f"rewards_read_by_{view.rewards_read_by}" in view.sql or not as_read


def test_reading_needs_no_pandas_and_no_jvm(folder: Path) -> None:
    code = (
        "import sys\n"
        "from pipelines.lake.location import Location\n"
        "from pipelines.lake.reader import LakeReader\n"
        f"rows = LakeReader(Location({str(folder)!r})).rows('SELECT * FROM training_rows')\n"
        "assert rows\n"
        "print([m for m in ('pandas', 'pyspark', 'pydantic', 'ray') if m in sys.modules])\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "[]"


@pytest.mark.parametrize("name", READABLE)
def test_every_column_that_can_be_described_has_a_meaning(reader: LakeReader, name: str) -> None:
    described = reader.rows(f"DESCRIBE {name}")
    assert [row["column"] for row in described if not row["meaning"]] == []
