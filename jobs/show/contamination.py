"""Print which test problems are among the training problems, without a run."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.machine.sessions import spark_session
from jobs.show.console import console, heading, table
from pipelines.config import ContaminationConfig, RunConfig
from pipelines.stages.contamination import NGRAMS, counts, shared_text
from pipelines.stages.ingest import read_sources, split_problems
from schemas.problems import TRAIN

if TYPE_CHECKING:
    from rich.console import Console


def show_contamination(config: RunConfig, num_examples: int) -> None:
    """Read the configuration's problems, look for shared text, and print counts and examples.

    Raises:
        InputError: a source cannot be read.
        MachineError: Spark cannot start.
    """
    rows = read_sources(config)
    with tempfile.TemporaryDirectory() as log_folder:
        spark = spark_session(config.spark, Path(log_folder))
        try:
            problems = split_problems(spark.createDataFrame(rows), config.problems, config.seed)
            problems = problems.select("problem_id", "split", "question").persist()
            splits = problems.select("split").toArrow().column("split").to_pylist()
            hits: list[dict[str, Any]] = shared_text(problems).toArrow().to_pylist()
        finally:
            spark.stop()
    limits = config.problems.contamination or ContaminationConfig()
    show_hits(console(), hits, Counter(splits), limits.words, num_examples)


def show_hits(
    out: Console, hits: list[dict[str, Any]], sizes: dict[str, int], words: int, num_examples: int
) -> None:
    """Print counts a suite, and the longest hits.

    Args:
        out: where to.
        hits: rows of `contamination`.
        sizes: split -> its number of problems.
        words: hits that share fewer words are no examples, unless they are exact.
        num_examples: most examples a suite.
    """
    suites = {suite: size for suite, size in sizes.items() if suite != TRAIN}
    heading(out, f"Problems that share text with one of {sizes.get(TRAIN, 0):,} training problems")
    table(out, counts(hits, suites))
    out.print(
        f"  exact: the same text, case, white space and $ aside; n words: at least n of "
        f"{NGRAMS[0]} to {NGRAMS[-1]} words in a row",
        style="dim",
    )
    for suite in sorted(suites):
        of_suite = [h for h in hits if h["suite"] == suite]
        strict = [h for h in of_suite if h["exact"] or h["shared_words"] >= words]
        strict.sort(key=lambda h: (not h["exact"], -h["shared_words"], h["problem_id"]))
        for hit in _one_a_problem(strict)[:num_examples]:
            _show(out, hit)


def _one_a_problem(hits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    first: dict[str, dict[str, Any]] = {}
    for hit in hits:
        first.setdefault(hit["problem_id"], hit)
    return list(first.values())


def _show(out: Console, hit: dict[str, Any]) -> None:
    what = "the same text" if hit["exact"] else f"{hit['shared_words']} words in a row"
    heading(out, f"{hit['suite']} {hit['problem_id']}: {what} of {hit['num_words']}")
    out.print(f"  test      {' '.join(hit['question'].split())}")
    out.print(f"  training  {' '.join(hit['train_question'].split())}")
