"""The published sets: their own formats in, problems out."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import RewardConfig, SourceConfig
from pipelines.config.published import MATH_SUBJECTS, PUBLISHED
from pipelines.datasets.math_problems import last_box
from pipelines.datasets.problem import RawProblem
from pipelines.datasets.read import read
from pipelines.errors import InputError
from tests.failing_references import failing_references
from tests.real_data import REAL_DATA, needs_real_data


def problems(kind: str, location: Path | str, **settings: Any) -> list[RawProblem]:
    source = SourceConfig.model_validate({"kind": kind, "location": str(location), **settings})
    return list(read(source, 0))


def written(path: Path, *rows: dict[str, Any]) -> Path:
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return path


ALGEBRA = {
    "problem": "Solve $x + 1 = 2$.",
    "level": "Level 1",
    "type": "Algebra",
    "solution": r"So $x = \boxed{\frac{2}{2}}$ or \fbox{1}, which is $\boxed{1}$.",
}
COUNTING = {
    **ALGEBRA,
    "problem": "How many ways?",
    "level": "Level 5",
    "type": "Counting & Probability",
    "solution": r"There are $\boxed 2$ ways.",
}


def test_math_takes_its_answer_out_of_the_last_box(tmp_path: Path) -> None:
    first, second = problems("math", written(tmp_path / "train.jsonl.gz", ALGEBRA, COUNTING))
    assert (first.reference, second.reference) == ("1", "2")
    assert first.metadata == {"subject": "algebra", "level": 1}
    assert second.metadata["subject"] == "counting_and_probability"
    assert first.solution == ALGEBRA["solution"]


@pytest.mark.parametrize(
    ("options", "left"),
    [({"levels": [1, 2]}, ["algebra"]), ({"subjects": ["counting_and_probability"]}, ["counting"])],
)
def test_math_problems_are_chosen_by_level_and_subject(
    tmp_path: Path, options: dict[str, Any], left: list[str]
) -> None:
    found = problems("math", written(tmp_path / "a.jsonl", ALGEBRA, COUNTING), options=options)
    assert [p.metadata["subject"].partition("_")[0] for p in found] == left


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"\boxed{1} and \boxed{2}", "2"),
        (r"\boxed{\text{a } \{1\}}", r"\text{a } \{1\}"),
        (r"\boxed{3} and the broken \boxed{4", "3"),
        (r"\boxed{\left\{0\right\}}", r"\left\{0\right\}"),
        (r"$\boxed 7$.", "7"),
        (r"\boxed{}", None),
        ("7", None),
    ],
)
def test_the_last_box_whose_braces_balance_is_the_answer(solution: str, answer: str | None) -> None:
    assert last_box(solution) == answer


def test_a_math_row_without_a_box_is_refused_and_one_with_an_empty_box_is_left_out(
    tmp_path: Path,
) -> None:
    empty = {**COUNTING, "solution": r"$\boxed{}$"}
    assert len(problems("math", written(tmp_path / "a.jsonl", ALGEBRA, empty))) == 1
    bare = {**COUNTING, "solution": "It is 2."}
    with pytest.raises(InputError, match=r"row 2: 'solution' must state its answer"):
        problems("math", written(tmp_path / "b.jsonl", ALGEBRA, bare))


def test_gsm8k_keeps_the_solution_without_calculator_marks(tmp_path: Path) -> None:
    row = {"question": "How many?", "answer": "48/2 = <<48/2=24>>24 clips.\n#### 1,024"}
    (found,) = problems("gsm8k", written(tmp_path / "test.jsonl", row))
    assert (found.reference, found.solution) == ("1,024", "48/2 = 24 clips.\n#### 1,024")


def test_apps_keeps_introductory_problems_with_tests(tmp_path: Path) -> None:
    stdin: dict[str, Any] = {
        "question": "Add.",
        "difficulty": "introductory",
        "input_output": json.dumps({"inputs": ["1 2\n"], "outputs": ["3\n"]}),
        "solutions": json.dumps(["print(3)\r\n", "print(2 + 1)"]),
        "starter_code": "",
    }
    call = {
        **stdin,
        "question": "Double.",
        "input_output": {"fn_name": "double", "inputs": [[1]], "outputs": [2]},
        "solutions": "",
        "starter_code": "def double(n):",
    }
    rows = [stdin, call, {**stdin, "input_output": ""}, {**stdin, "difficulty": "interview"}]
    first, second = problems("apps", written(tmp_path / "train.jsonl", *rows))
    assert first.question == "Add.\nUse Standard Input format"
    assert second.question == "Double.\ndef double(n):\nUse Call-Based format"
    assert (first.solution, second.solution) == ("print(3)", None)
    assert (first.other_solutions, second.other_solutions) == (("print(2 + 1)",), ())
    assert "other_solutions" not in first.metadata
    assert first.reference == '{"input_output": {"inputs": ["1 2\\n"], "outputs": ["3\\n"]}}'
    assert json.loads(second.reference)["input_output"]["fn_name"] == "double"
    hard = problems("apps", tmp_path / "train.jsonl", options={"difficulties": ["interview"]})
    assert len(hard) == 1


def test_apps_reads_tests_about_numbers_longer_than_python_converts(tmp_path: Path) -> None:
    tests = '{"inputs": [[1]], "outputs": [' + "7" * 5000 + '], "fn_name": "f"}'
    row = {"question": "Big.", "difficulty": "introductory", "input_output": tests}
    (found,) = problems("apps", written(tmp_path / "a.jsonl", row))
    assert "7" * 5000 in found.reference


def test_codecontests_gives_all_tests_and_a_python_solution(tmp_path: Path) -> None:
    row = {
        "name": "1_A",
        "description": "Echo.\n",
        "public_tests": {"input": ["a"], "output": ["a"]},
        "private_tests": {"input": ["b"], "output": ["b"]},
        "generated_tests": {"input": [], "output": []},
        "solutions": {"language": [2, 3], "solution": ["int main(){}", "print(input())"]},
    }
    (found,) = problems("codecontests", written(tmp_path / "test.jsonl", row))
    assert json.loads(found.reference) == {"inputs": ["a", "b"], "outputs": ["a", "b"]}
    assert found.solution == "print(input())"


def test_mbpp_is_asked_with_its_assertions_and_split_by_task_id(tmp_path: Path) -> None:
    row = {
        "task_id": 601,
        "text": "Write f. ",
        "code": "def f():\r\n  return 1 ",
        "test_list": ["assert f() == 1 "],
        "test_setup_code": "import math",
    }
    path = written(tmp_path / "mbpp.jsonl", row, {**row, "task_id": 11}, {**row, "task_id": 3})
    (found,) = problems("mbpp", path)
    assert found.question == "Write f. Your code should pass these tests:\n\nassert f() == 1"
    assert found.reference == (
        '{"test_list": ["assert f() == 1 "], "test_setup_code": "import math"}'
    )
    assert found.solution == "def f():\n  return 1"
    (held_out,) = problems("mbpp", path, split="test")
    assert (held_out.metadata["task_id"], held_out.split) == (11, "test")


def test_humaneval_is_asked_with_its_code(tmp_path: Path) -> None:
    row = {
        "task_id": "HumanEval/0",
        "prompt": "def f():\n",
        "canonical_solution": "    return 1\n",
        "test": "def check(c): assert c() == 1",
        "entry_point": "f",
    }
    (found,) = problems("humaneval", written(tmp_path / "HumanEval.jsonl.gz", row))
    assert found.question == row["prompt"]
    assert list(json.loads(found.reference)) == ["entry_point", "prompt", "test"]


def test_bbh_keeps_each_file_and_its_task(tmp_path: Path) -> None:
    for name in ("snarks", "logical_deduction_five_objects", "logical_deduction_three_objects"):
        examples = [{"input": f"{name}?", "target": "(A)"}]
        (tmp_path / f"{name}.json").write_text(json.dumps({"canary": "c", "examples": examples}))
    files = ["snarks", "logical_deduction_five_objects", "logical_deduction_three_objects"]
    found = problems("bbh", tmp_path, options={"files": files})
    assert {p.metadata["file"] for p in found} == set(files)
    assert Counter(p.metadata["task"] for p in found) == {"logical_deduction": 2, "snarks": 1}
    with pytest.raises(InputError, match="must name files of BIG-Bench Hard, got snark;"):
        problems("bbh", tmp_path, options={"files": ["snark"]})


def test_exam_questions_are_numbered_and_have_no_reference(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"problem": "List the set.", "solution": ""}, {"problem": "b?"}]
    found = problems("hungarian_exam", written(tmp_path / "exam.jsonl", *rows))
    assert [(p.reference, p.solution, p.metadata["number"]) for p in found] == [
        ("", None, 1),
        ("", None, 2),
    ]


def test_a_folder_in_the_hubs_layout_is_read_with_the_datasets_library(tmp_path: Path) -> None:
    """As the hub has MATH: a configuration a subject, each with Parquet files a split."""
    import pyarrow as pa
    from pyarrow import parquet

    configs = []
    for level, name in enumerate(MATH_SUBJECTS, 1):
        row = {**ALGEBRA, "problem": f"{name}?", "type": name, "level": f"Level {level}"}
        (tmp_path / name).mkdir()
        for split in ("train", "test"):
            file = tmp_path / name / f"{split}-00000-of-00001.parquet"
            parquet.write_table(
                pa.Table.from_pylist([row, row] if split == "test" else [row]), file
            )
        files = f"[{{split: train, path: {name}/train-*}}, {{split: test, path: {name}/test-*}}]"
        configs.append(f"- config_name: {name}\n  data_files: {files}\n")
    card = "---\nconfigs:\n" + "".join(configs) + "---\n"
    (tmp_path / "README.md").write_text(card)

    whole = problems("math", tmp_path)
    assert [p.metadata["subject"] for p in whole] == list(MATH_SUBJECTS)
    assert [p.source_row for p in whole] == [1, 2, 3, 4, 5, 6, 7]
    held_out = problems("math", tmp_path, split="test", options={"name": "algebra"})
    assert [(p.question, p.split) for p in held_out] == [("algebra?", "test")] * 2
    chosen = problems("math", tmp_path, options={"levels": [2, 3]})
    assert [p.metadata["level"] for p in chosen] == [2, 3]


def test_the_hubs_parquet_branch_of_apps_is_read_once(tmp_path: Path) -> None:
    """It holds every problem twice: below `all/`, and below its difficulty."""
    import pyarrow as pa
    from pyarrow import parquet

    row = {
        "question": "Add.",
        "difficulty": "introductory",
        "input_output": json.dumps({"inputs": ["1 2\n"], "outputs": ["3\n"]}),
        "solutions": "",
        "starter_code": "",
    }
    for folder in ("all/train", "all/test", "introductory/train", "introductory/test"):
        (tmp_path / folder).mkdir(parents=True)
        parquet.write_table(pa.Table.from_pylist([row]), tmp_path / folder / "0000.parquet")
    files = PUBLISHED["apps"].options["data_files"]
    for split in ("train", "test"):
        (found,) = problems("apps", tmp_path, split=split, options={"data_files": files})
        assert (found.split, found.solution) == (split, None)


def test_a_set_is_read_from_its_hub_id_unless_a_location_is_given() -> None:
    source = SourceConfig.model_validate({"kind": "gsm8k"})
    assert (source.location, source.name) == ("openai/gsm8k", "gsm8k")
    moved = SourceConfig.model_validate({"kind": "gsm8k", "location": "test.jsonl"})
    assert moved.name == "gsm8k"  # A problem's id does not depend on where it was read.


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"question": "q"}, "must have text in 'answer' (it has 'question')"),
        ({"question": "q", "answer": "no mark"}, "'answer' must end in '#### '"),
    ],
)
def test_a_row_of_another_shape_is_refused_with_its_number(
    tmp_path: Path, row: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError) as caught:
        problems("gsm8k", written(tmp_path / "a.jsonl", row))
    assert str(caught.value).startswith(f"{tmp_path / 'a.jsonl'}: row 1: ")
    assert says in str(caught.value)


@pytest.mark.parametrize("option", [{"levels": "1"}, {"levels": ["1"]}])
def test_an_option_of_the_wrong_kind_is_refused(tmp_path: Path, option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"options\.levels must be a list of int values"):
        problems("math", written(tmp_path / "a.jsonl", ALGEBRA), options=option)


def test_compressed_rows_are_read_by_the_plain_kinds_too(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl.gz", {"question": "1 + 1?", "answer": "2"})
    (found,) = problems("jsonl", path)
    assert found.reference == "2"
    (tmp_path / "b.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(InputError, match=r"cannot read .*b\.jsonl\.gz"):
        problems("jsonl", tmp_path / "b.jsonl.gz")


@needs_real_data
@pytest.mark.parametrize(
    ("kind", "path", "settings", "count"),
    [
        ("math", "math/train.jsonl.gz", {}, 7498),
        ("math", "math/test.jsonl.gz", {}, 5000),
        ("gsm8k", "gsm8k/train.jsonl", {}, 7473),
        ("gsm8k", "gsm8k/test.jsonl", {}, 1319),
        ("apps", "apps/introductory_49.jsonl", {}, 49),
        ("apps", "apps/coderl_train5.jsonl", {}, 2),
        ("codecontests", "codecontests/rllm_test.json.gz", {}, 165),
        ("humaneval", "humaneval/HumanEval.jsonl.gz", {}, 164),
        ("mbpp", "mbpp/mbpp.jsonl", {}, 374),
        ("mbpp", "mbpp/mbpp.jsonl", {"split": "test"}, 500),
        ("mbpp", "mbpp/sanitized-mbpp.json", {"split": "test"}, 257),
        ("bbh", "bbh", {}, 6511),
        ("hungarian_exam", "hungarian_2023/exam.jsonl", {}, 33),
    ],
)
def test_every_problem_of_the_public_files_is_read(
    kind: str, path: str, settings: dict[str, Any], count: int
) -> None:
    found = problems(kind, REAL_DATA / path, **settings)
    assert len(found) == count
    assert all(p.reference or kind == "hungarian_exam" for p in found)


@needs_real_data
def test_the_answers_of_math_500_are_the_contents_of_the_last_box() -> None:
    found = problems("math500", REAL_DATA / "math/math500_prm800k_test.jsonl")
    assert [last_box(p.solution or "") for p in found] == [p.reference for p in found]
    assert len(found) == 500


@needs_real_data
def test_the_references_of_bbh_pass_their_reward_in_23_tasks() -> None:
    found = problems("bbh", REAL_DATA / "bbh")
    assert len({p.metadata["task"] for p in found}) == 23
    rows = [{"reference": p.reference, "solution": None} for p in found]
    for form in ("answer_is", "first_line"):
        reward = RewardConfig(function="exact_match", options={"extract": [form]})
        assert failing_references(reward, rows, num_workers=1) == []
