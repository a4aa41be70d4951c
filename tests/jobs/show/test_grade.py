"""An exam is exported and its marks are imported, through the command line and a real lake."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from typer.testing import CliRunner, Result

from jobs.cli import app
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from tests.graded_lake import RUN, graded_rows, write_graded_lake

Cells = dict[str, str]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake, and the exam of its last iteration (20 points) exported from it."""
    folder = tmp_path_factory.mktemp("exam")
    write_graded_lake(folder)
    result = call(folder, "export", "--suite", "test", "--output", folder, "--max-points", 5)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of it to write into."""
    return Path(shutil.copytree(written, tmp_path / "copy"))


def call(folder: Path, command: str, *arguments: object) -> Result:
    words = ["grade", command, RUN, *map(str, arguments), "--lake", str(folder / "lake")]
    return CliRunner().invoke(app, words, env={"NO_COLOR": "1"})


def sheet(folder: Path) -> list[Cells]:
    with (folder / "test-2.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def fill(folder: Path, name: str, marks: list[str], **options: Any) -> Path:
    """The exported sheet with these marks, saved as a spreadsheet would."""
    rows = sheet(folder)
    for row, mark in zip(rows, marks, strict=True):
        row["mark"] = mark
    return save(folder / name, rows, **options)


def save(path: Path, rows: list[Cells], **options: Any) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), **options)
        writer.writeheader()
        writer.writerows(rows)
    return path


def graded(folder: Path, *arguments: object, grader: str = "ada") -> Result:
    return call(folder, "import", *arguments, "--grader", grader)


def rows(folder: Path, query: str) -> list[dict[str, Any]]:
    return LakeReader(Location(str(folder / "lake"))).rows(query)


def points(folder: Path, grader: str = "ada") -> list[float]:
    found = rows(folder, f"SELECT points FROM grades WHERE grader = '{grader}' ORDER BY sample_id")
    return [row["points"] for row in found]


def totals(folder: Path) -> dict[str, tuple[float, int]]:
    found = rows(
        folder,
        "SELECT metric, value, n FROM evaluations WHERE suite = 'test' AND iteration = 2 "
        "AND metric LIKE 'grade%' AND ci_low <= value AND value <= ci_high",
    )
    return {row["metric"]: (row["value"], row["n"]) for row in found}


def test_the_sheet_has_every_problem_with_its_solution_and_an_empty_mark(written: Path) -> None:
    exported = sheet(written)
    assert [row["number"] for row in exported] == ["1", "2", "3", "4"]
    assert [row["problem"] for row in exported] == [f"What is {n} + {n}?" for n in range(5, 9)]
    assert exported[0]["solution"] == " 5 + 5 = 10. The answer is 10."
    assert {(row["mark"], row["comment"], row["max_points"]) for row in exported} == {("", "", "5")}


def test_marks_and_their_totals_are_in_the_lake(folder: Path) -> None:
    result = graded(folder, fill(folder, "ada.csv", ["5", "2,5", "0", "4.5"]))
    assert result.exit_code == 0, result.output
    assert points(folder) == [5.0, 2.5, 0.0, 4.5]
    assert totals(folder) == {"graded_points": (12.0, 4), "graded_share": (0.6, 4)}
    assert "12 [" in result.output
    (policy,) = rows(folder, "SELECT DISTINCT policy_id FROM grades")
    assert policy == {"policy_id": "first-policy-2"}


def test_what_evaluate_has_sealed_stays_as_it_was(folder: Path) -> None:
    query = "SELECT * FROM evaluations WHERE metric NOT LIKE 'grade%' ORDER BY 1, 2, 4, 5"
    before = rows(folder, query)
    files = set(DeltaTable(folder / "lake" / "evaluations").file_uris())
    graded(folder, fill(folder, "ada.csv", ["1"] * 4))
    graded(folder, fill(folder, "ada2.csv", ["2"] * 4), "--replace")
    assert totals(folder)["graded_points"] == (8.0, 4)
    assert rows(folder, query) == before
    assert files < set(DeltaTable(folder / "lake" / "evaluations").file_uris())
    sealed = DeltaTable(folder / "lake" / "evaluations", version=0).to_pyarrow_table()
    assert "graded_share" not in sealed.column("metric").to_pylist()


def test_the_same_marks_again_commit_nothing(folder: Path) -> None:
    path = fill(folder, "ada.csv", ["1", "2", "3", "4"])
    graded(folder, path)
    state = [DeltaTable(folder / "lake" / name).version() for name in ("grades", "evaluations")]
    again = graded(folder, path)
    assert again.exit_code == 0
    assert "were there already" in again.output
    now = [DeltaTable(folder / "lake" / name).version() for name in ("grades", "evaluations")]
    assert now == state


def test_other_marks_by_the_same_grader_need_replace(folder: Path) -> None:
    graded(folder, fill(folder, "ada.csv", ["1", "2", "3", "4"]))
    other = fill(folder, "other.csv", ["1", "2", "3", "5"])
    refused = graded(folder, other)
    assert refused.exit_code == 2
    assert "1 marks differ" in refused.output
    assert "had 4, now 5" in refused.output
    assert "--replace" in refused.output
    assert points(folder) == [1.0, 2.0, 3.0, 4.0]
    assert graded(folder, other, "--replace").exit_code == 0
    assert points(folder) == [1.0, 2.0, 3.0, 5.0]
    attempts = rows(folder, "SELECT attempt FROM stages WHERE stage = 'grade/test/ada' ORDER BY 1")
    assert [row["attempt"] for row in attempts] == [1, 2]


def test_several_graders_are_averaged_and_their_disagreement_is_printed(folder: Path) -> None:
    graded(folder, fill(folder, "ada.csv", ["5", "5", "5", "5"]))
    result = graded(folder, fill(folder, "bob.csv", ["5", "5", "5", "0"]), grader="bob")
    assert totals(folder) == {
        "graded_points": (17.5, 4),
        "graded_share": (0.875, 4),
        "grader_disagreement": (0.25, 4),
    }
    assert "graders ada, bob" in result.output
    assert "differ by 0.25" in result.output


def test_totals_that_a_new_evaluation_removed_are_restored_by_the_same_import(folder: Path) -> None:
    path = fill(folder, "ada.csv", ["1", "2", "3", "4"])
    graded(folder, path)
    DeltaTable(folder / "lake" / "evaluations").delete("metric LIKE 'graded%'")
    assert totals(folder) == {}
    graded(folder, path)
    assert totals(folder)["graded_points"] == (10.0, 4)


def test_a_sheet_may_be_in_parts_and_saved_by_a_spreadsheet(folder: Path) -> None:
    whole = fill(folder, "whole.csv", ["1", "2", "3", "4"])
    first = save(folder / "first.csv", sheet(folder)[:1], delimiter=";", lineterminator="\r\n")
    with whole.open(encoding="utf-8", newline="") as file:
        marked = list(csv.DictReader(file))
    save(first, marked[:1], delimiter=";")
    second = save(folder / "second.csv", [*reversed(marked[1:])], quoting=csv.QUOTE_ALL)
    assert graded(folder, first, second).exit_code == 0
    assert points(folder) == [1.0, 2.0, 3.0, 4.0]


Change = Callable[[list[Cells]], object]
REFUSED: list[tuple[str, Change, tuple[str, ...]]] = [
    ("too high", lambda r: r[1].update(mark="6"), ("row 3 (number 2)", "0 to 5", "'6'", "correct")),
    ("below 0", lambda r: r[0].update(mark="-1"), ("row 2", "0 to 5", "'-1'")),
    ("no number", lambda r: r[0].update(mark="good"), ("row 2", "number from 0 to 5", "'good'")),
    ("not finite", lambda r: r[0].update(mark="nan"), ("row 2", "'nan'")),
    ("no mark", lambda r: r[3].update(mark=" "), ("row 5", "is missing", "mark the solution")),
    ("unknown id", lambda r: r[0].update(sample_id="x"), ("row 2", "sample_id", "'x'", "restore")),
    ("other iteration", lambda r: r[0].update(iteration="1"), ("row 2", "iteration '1'")),
    ("no iteration", lambda r: r[0].update(iteration=""), ("row 2", "iteration ''")),
    ("a row twice", lambda r: r.append(dict(r[0])), ("row 6", "there once", "row 2", "keep one")),
    ("a row gone", lambda r: r.pop(2), ("must have a row", "'first-2-sample-7-0'", "add its row")),
    (
        "solution",
        lambda r: r[0].update(solution="5 + 5 = 11"),
        ("row 2", "changed", "fresh export"),
    ),
    ("problem", lambda r: r[0].update(problem="What?"), ("row 2", "text was changed")),
    ("maximum", lambda r: r[0].update(max_points="9"), ("row 2", "text was changed")),
    ("no maximum", lambda r: r[0].update(max_points="0"), ("row 2", "max_points", "'0'")),
    ("no column", lambda r: [c.pop("text_hash") for c in r], ("row 1", "'text_hash'", "header")),
]


@pytest.mark.parametrize(("change", "words"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_a_wrong_sheet_is_refused_by_row_and_nothing_is_written(
    written: Path, tmp_path: Path, change: Change, words: tuple[str, ...]
) -> None:
    cells = sheet(written)
    for row in cells:
        row["mark"] = "3"
    change(cells)
    result = graded(written, save(tmp_path / "ada.csv", cells))
    assert result.exit_code == 2, result.output
    assert all(word in result.output for word in ("ada.csv", *words)), result.output
    assert "Traceback" not in result.output
    assert rows(written, "SELECT * FROM grades") == []


def test_all_faults_of_a_sheet_are_reported_together(folder: Path) -> None:
    result = graded(folder, fill(folder, "ada.csv", ["6", "", "x", "1"]))
    assert [line.count("row") for line in result.output.splitlines()] == [1, 1, 1]


def test_a_text_that_has_changed_in_the_lake_is_refused(written: Path, tmp_path: Path) -> None:
    changed = graded_rows(tmp_path)
    for sample in changed["samples"]:
        if sample["sample_id"] == "first-2-sample-6-0":
            sample["solution"] = "another solution"
    write_graded_lake(tmp_path, changed)
    path = save(tmp_path / "ada.csv", [{**row, "mark": "1"} for row in sheet(written)])
    result = graded(tmp_path, path)
    assert result.exit_code == 2
    assert "row 3 (number 2)" in result.output
    assert "export again" in result.output


def test_graders_with_other_maxima_are_refused(folder: Path, tmp_path: Path) -> None:
    graded(folder, fill(folder, "ada.csv", ["1"] * 4))
    call(folder, "export", "--suite", "test", "--output", tmp_path, "--max-points", 2)
    result = graded(folder, fill(tmp_path, "bob.csv", ["1"] * 4), grader="bob")
    assert result.exit_code == 2
    assert "got 2, ada had 5" in result.output
    assert points(folder, "bob") == []


def test_points_and_rubric_come_from_the_problem_set(tmp_path: Path) -> None:
    stated = graded_rows(tmp_path)
    for problem in stated["problems"]:
        problem["metadata"] = json.dumps({"points": 3, "rubric": "1 for the sum, 2 for why"})
    write_graded_lake(tmp_path, stated)
    call(tmp_path, "export", "--suite", "test", "--iteration", 0, "--output", tmp_path)
    text = (tmp_path / "test-0.csv").read_text(encoding="utf-8-sig")
    (tmp_path / "test-2.csv").write_text(text, encoding="utf-8-sig")
    assert {(r["max_points"], r["rubric"]) for r in sheet(tmp_path)} == {
        ("3", "1 for the sum, 2 for why")
    }
    assert graded(tmp_path, fill(tmp_path, "ada.csv", ["3"] * 4)).exit_code == 0
    (share,) = rows(
        tmp_path, "SELECT iteration, value FROM evaluations WHERE metric = 'graded_share'"
    )
    assert share == {"iteration": 0, "value": 1.0}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--suite", "exam"], "no samples of 'exam'; its suites are: test, train"),
        (["--suite", "test", "--iteration", "7"], "no samples of 7; its iterations are: 0, 1, 2"),
        (["--suite", "test", "--decoding", "x"], "no samples of 'x'; its decodings are: greedy"),
        (["--suite", "test", "--max-points", "0"], "--max-points must be a number > 0, got 0"),
    ],
)
def test_an_exam_without_samples_is_refused_with_the_available_ones(
    written: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    result = call(written, "export", *arguments, "--output", tmp_path / "new")
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "new").exists()


def test_a_sheet_that_may_hold_marks_is_not_overwritten(folder: Path) -> None:
    filled = fill(folder, "test-2.csv", ["1"] * 4)
    before = filled.read_bytes()
    result = call(folder, "export", "--suite", "test", "--output", folder)
    assert result.exit_code == 2
    assert "may hold marks" in result.output
    assert filled.read_bytes() == before


def test_an_iteration_that_is_not_evaluated_yet_is_not_graded(tmp_path: Path) -> None:
    unfinished = graded_rows(tmp_path)
    unfinished["stages"] = [
        row for row in unfinished["stages"] if (row["iteration"], row["stage"]) != (2, "evaluate")
    ]
    write_graded_lake(tmp_path, unfinished)
    call(tmp_path, "export", "--suite", "test", "--output", tmp_path)
    result = graded(tmp_path, fill(tmp_path, "ada.csv", ["1"] * 4))
    assert result.exit_code == 2
    assert "iteration 2 must be evaluated" in result.output


def test_a_grader_is_named_by_a_plain_name(folder: Path) -> None:
    result = graded(folder, fill(folder, "ada.csv", ["1"] * 4), grader="a/b")
    assert result.exit_code == 2
    assert "'a/b'" in result.output


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ("cannot be read", "check the path")),
        (b"", ("row 1", "has no column", "'number'")),
        (b"number;mark\n1;2", ("has no column", "'sample_id'")),
        ("number,mark\n\u00e9".encode("latin-1"), ("UTF-8", "byte 12")),
    ],
)
def test_a_file_that_is_not_a_sheet_is_refused(
    written: Path, tmp_path: Path, content: bytes | None, words: tuple[str, ...]
) -> None:
    path = tmp_path / "ada.csv"
    if content is not None:
        path.write_bytes(content)
    result = graded(written, path)
    assert result.exit_code == 2
    assert all(word in result.output for word in ("ada.csv", *words)), result.output


def test_a_header_without_marks_is_refused(written: Path, tmp_path: Path) -> None:
    text = (written / "test-2.csv").read_text(encoding="utf-8-sig").splitlines()[0]
    (tmp_path / "ada.csv").write_text(text, encoding="utf-8")
    result = graded(written, tmp_path / "ada.csv")
    assert result.exit_code == 2
    assert "has no rows" in result.output


def test_an_unknown_run_is_named(written: Path) -> None:
    words = [
        "grade",
        "import",
        "frist",
        "x.csv",
        "--grader",
        "ada",
        "--lake",
        str(written / "lake"),
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "no run 'frist'" in result.output


def test_other_engines_can_still_read_and_write_the_tables(folder: Path) -> None:
    graded(folder, fill(folder, "ada.csv", ["1"] * 4))
    for name in ("grades", "evaluations"):
        protocol = DeltaTable(folder / "lake" / name).protocol()
        assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
        message = json.loads(DeltaTable(folder / "lake" / name).history(1)[0]["userMetadata"])
        assert message["stage"].startswith("grade/test")
    checked = rows(folder, "SELECT table_name, attempt, rule FROM checks WHERE iteration = 2")
    assert {"grades", "evaluations"} <= {row["table_name"] for row in checked}
    keys = [tuple(row.values()) for row in checked]
    assert len(set(keys)) == len(keys)
