"""Test problems among the training problems: literal texts in, the pairs that share them out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from expectations.context import Context
from pipelines.config import RunConfig
from pipelines.errors import ExpectationsFailed
from pipelines.lake.lake import open_lake
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.runs.check_context import ExpectationGate
from pipelines.runs.stages_by_name import named_steps, run_steps
from pipelines.runtime.progress import SilentProgress
from pipelines.stages.contamination import contamination, counts, shared_text
from schemas import CONTAMINATION, PROBLEMS
from tests import factories
from tests.doubles import FakeEngines, QuietListener
from tests.real_data import REAL_DATA, needs_real_data

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WORDS = [f"w{n}" for n in range(100)]
"""Words that no other text has."""


ANY = RunConfig.model_validate(
    {"name": "any", "problems": {"sources": [{"kind": "jsonl", "location": "x.jsonl"}]}}
)


def run_of(start: int, length: int) -> str:
    return " ".join(WORDS[start : start + length])


def problems(spark: SparkSession, **texts: tuple[str, str]) -> Any:
    rows = [{"problem_id": k, "split": split, "question": q} for k, (split, q) in texts.items()]
    return spark.createDataFrame(factories.arrow(PROBLEMS, *rows))


def found(spark: SparkSession, **texts: tuple[str, str]) -> dict[tuple[str, str], tuple[bool, int]]:
    rows = shared_text(problems(spark, **texts)).collect()
    pairs = {
        (row["problem_id"], row["train_problem_id"]): (row["exact"], row["shared_words"])
        for row in rows
    }
    assert len(pairs) == len(rows)
    return pairs


@pytest.mark.slow
def test_the_longest_run_of_shared_words_is_found_wherever_it_is(spark: SparkSession) -> None:
    pairs = found(
        spark,
        train=("train", f"{run_of(0, 30)} x {run_of(40, 9)}"),
        seven=("test", f"a {run_of(3, 7)} b"),
        eight=("test", f"a {run_of(3, 8)} b"),
        moved=("test", f"{run_of(20, 10)} b {run_of(0, 13)} c {run_of(40, 9)}"),
        broken=("exam", f"{run_of(0, 7)} b {run_of(8, 7)}"),
        # The same words again, at two places: a run is counted once, and never over a gap.
        twice=("exam", f"{run_of(0, 8)} {run_of(0, 9)}"),
        other=("train", "something else"),
        short=("test", "w0 w1"),
    )
    assert pairs == {
        ("eight", "train"): (False, 8),
        ("moved", "train"): (False, 13),
        ("twice", "train"): (False, 9),
    }


@pytest.mark.slow
def test_the_same_text_is_found_whatever_its_case_spaces_and_length(spark: SparkSession) -> None:
    pairs = found(
        spark,
        train=("train", "Compute $1 + x$."),
        spaced=("test", " compute\u00a0$1+X$.\n"),
        other_sign=("test", "Compute $1 - x$."),
        long_train=("train", run_of(0, 20)),
        long=("test", run_of(0, 20).upper()),
        between_tests=("exam", "Compute  $2$"),
        another_test=("test", "compute $2$"),
    )
    assert pairs == {("spaced", "train"): (True, 3), ("long", "long_train"): (True, 20)}


@pytest.mark.slow
def test_punctuation_and_case_do_not_part_words_and_letters_of_any_script_count(
    spark: SparkSession,
) -> None:
    pairs = found(
        spark,
        train=("train", "Let \\(\\frac{1}{2}\\) be the Höhe, déjà vu, of 3 числа"),
        test=("test", "let $\\FRAC 1 2$ BE THE HÖHE déjà-vu of 3 ЧИСЛА!"),
    )
    ((exact, words),) = pairs.values()
    assert not exact
    assert words == 12


@pytest.mark.slow
def test_the_stage_has_the_tables_columns_and_costs_few_jobs(spark: SparkSession) -> None:
    rows = problems(spark, a=("train", run_of(0, 10)), b=("test", run_of(0, 10) + " more"))
    spark.sparkContext.setJobGroup("contamination", "contamination")
    table = contamination(ANY).function(None, rows).toArrow()
    jobs = len(spark.sparkContext.statusTracker().getJobIdsForGroup("contamination"))
    assert jobs <= 10
    assert set(table.column_names) == set(CONTAMINATION.column_names) - {"run_id", "iteration"}
    (row,) = table.to_pylist()
    assert (row["suite"], row["shared_words"], row["num_words"]) == ("test", 10, 11)
    assert (row["question"], row["train_question"]) == (run_of(0, 10) + " more", run_of(0, 10))


@pytest.mark.slow
@needs_real_data
def test_problems_that_are_in_both_parts_of_math_are_found(spark: SparkSession) -> None:
    texts: dict[str, tuple[str, str]] = {}
    for split in ("train", "test"):
        with gzip.open(REAL_DATA / "math" / f"{split}.jsonl.gz", "rt", encoding="utf-8") as file:
            for row in map(json.loads, file):
                texts[row["unique_id"]] = (split, row["problem"])
    wanted = {  # Twice word for word; once with other words around the same equation.
        "test/algebra/636.json": ("train/algebra/517.json", True),
        "test/intermediate_algebra/965.json": ("train/algebra/2197.json", True),
        "test/algebra/77.json": ("train/intermediate_algebra/1138.json", False),
    }
    chosen = {*wanted, *(train for train, _ in wanted.values()), "test/algebra/0.json"}
    pairs = found(spark, **{name: texts[name] for name in texts if name in chosen})
    exact = {(test, train): same for (test, train), (same, words) in pairs.items() if words >= 13}
    assert exact == {(test, train): same for test, (train, same) in wanted.items()}


def hit(problem: str, words: int, *, exact: bool = False, suite: str = "test") -> dict[str, Any]:
    return {"suite": suite, "problem_id": problem, "shared_words": words, "exact": exact}


def test_a_problem_counts_once_with_its_longest_run() -> None:
    hits = [hit("a", 8), hit("a", 13), hit("b", 9), hit("c", 3, exact=True)]
    assert counts(hits, {"test": 10, "exam": 4}) == [
        {"suite": "exam", "problems": 4, "exact": 0} | {f"{n} words": 0 for n in range(8, 14)},
        {"suite": "test", "problems": 10, "exact": 1, "8 words": 2, "9 words": 2}
        | {"10 words": 1, "11 words": 1, "12 words": 1, "13 words": 1},
    ]


@pytest.mark.slow
def test_a_run_keeps_its_hits_and_stops_on_a_training_problem_in_a_suite(
    spark: SparkSession, tmp_path: Path
) -> None:
    questions = [("train", "Compute $1 + x$."), ("train", run_of(0, 20)), ("train", "What is $3$?")]
    questions += [("test", "Compute 1 + x."), ("test", run_of(2, 15)), ("test", "What is $4$?")]
    lines = [json.dumps({"split": s, "question": q, "answer": "0"}) for s, q in questions]
    (tmp_path / "problems.jsonl").write_text("\n".join(lines), encoding="utf-8")

    refused = looked_for(spark, tmp_path, "strict", exact="critical")
    assert "Compute" not in refused  # Hits are named by their ids.
    assert "evaluation problem with the text of a training problem" in refused
    assert "problems.contamination.exact: warning" in refused

    assert looked_for(spark, tmp_path, "lenient", exact="warning") == ""
    reader = LakeReader(Location(str(tmp_path / "lake")))
    hits = reader.rows("SELECT * FROM contamination ORDER BY shared_words", "lenient")
    assert [(hit["question"], hit["exact"]) for hit in hits] == [
        ("Compute 1 + x.", True),
        (run_of(2, 15), False),
    ]
    failed = reader.rows("SELECT severity FROM checks WHERE NOT passed", "lenient")
    assert [row["severity"] for row in failed] == ["warning", "warning"]
    assert reader.rows("SELECT * FROM contamination", "strict") == []


def looked_for(spark: SparkSession, folder: Path, name: str, **limits: Any) -> str:
    """Ingest and look for contamination in a run; what the gate refused, if anything."""
    source = {"kind": "jsonl", "location": str(folder / "problems.jsonl"), "split_field": "split"}
    config = RunConfig.model_validate(
        {
            "name": name,
            "output": str(folder / "data"),
            "problems": {"sources": [source], "contamination": limits},
            "lake": {"uri": str(folder / "lake")},
        }
    )
    engines, gate = FakeEngines(lambda: spark), ExpectationGate(config)
    with open_lake(config, engines, gate, QuietListener(), SilentProgress()) as lake:
        run_steps(lake, named_steps("ingest", 0, config))
        try:
            run_steps(lake, named_steps("contamination", 0, config))
        except ExpectationsFailed as error:
            return str(error)
    return ""


class AsInput:
    """The snapshot of `problems` that the gate asks for splits."""

    table = PROBLEMS

    def arrow(self, columns: list[str]) -> Any:
        rows = [{"split": "test"}] * 100 + [{"split": "train"}] * 100
        return factories.arrow(PROBLEMS, *rows).select(columns)


def context(hits: list[dict[str, Any]], **limits: Any) -> Context:
    source = {"kind": "jsonl", "location": "x.jsonl"}
    config = RunConfig.model_validate(
        {"name": "r", "problems": {"sources": [source], "contamination": limits}}
    )
    rows = factories.arrow(CONTAMINATION, *hits)
    return ExpectationGate(config)._context(CONTAMINATION, 0, rows, [AsInput()])  # type: ignore[list-item]


def test_the_limits_of_the_configuration_decide_what_is_too_much() -> None:
    hits = [hit("a", 13), hit("b", 12), hit("c", 14), hit("c", 13)]
    told = context(hits, max_share=0.01).contaminated_suites
    assert told is not None
    assert told.examples == ({"suite": "test", "problems": 100, "words": 13, "shared": 2},)
    for limits in ({"max_share": 0.02}, {"words": 14, "max_share": 0.01}):
        allowed = context(hits, **limits).contaminated_suites
        assert allowed is not None
        assert allowed.count == 0


def test_one_training_problem_in_a_suite_is_critical_unless_it_is_allowed() -> None:
    hits = [hit("a", 13), hit("b", 3, exact=True)]
    strict, lenient = context(hits), context(hits, exact="warning")
    assert strict.problems_in_training is not None
    assert [row["problem_id"] for row in strict.problems_in_training.examples] == ["b"]
    assert (strict.refuses_problems_in_training, lenient.refuses_problems_in_training) == (
        True,
        False,
    )
