"""Print which test problems are among the training problems, without a run."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console

from jobs.machine.sessions import spark_session
from jobs.show.console import console, heading, table
from pipelines.config import ContaminationConfig, RunConfig
from pipelines.lake.query_results import Row
from pipelines.stages.contamination import counts, shared_text
from pipelines.stages.ingest import read_sources, split_problems
from schemas.problems import TRAIN


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
            splits = [row.split for row in problems.select("split").collect()]
            hits: list[Row] = shared_text(problems).toArrow().to_pylist()
        finally:
            spark.stop()
    limits = config.problems.contamination or ContaminationConfig()
    show_hits(console(), hits, Counter(splits), limits.words, num_examples)


def show_hits(
    out: Console, hits: list[Row], sizes: dict[str, int], words: int, num_examples: int
) -> None:
    """Print the counts of each suite, and its longest hits.

    Args:
        out: where to.
        hits: rows of `contamination`.
        sizes: split -> its number of problems.
        words: hits that share fewer words are not shown as examples, unless they are exact.
        num_examples: maximum number of examples per suite.
    """
    suites = {suite: size for suite, size in sizes.items() if suite != TRAIN}
    heading(out, f"Problems that share text with one of {sizes.get(TRAIN, 0):,} training problems")
    table(out, counts(hits, suites))
    out.print(
        "  exact: the same text, apart from case, white space and $; n words: n or more words in a "
        "row are the same",
        style="dim",
    )
    for suite in sorted(suites):
        strict = [
            hit
            for hit in hits
            if hit["suite"] == suite and (hit["exact"] or hit["shared_words"] >= words)
        ]
        strict.sort(key=lambda hit: (not hit["exact"], -hit["shared_words"], hit["problem_id"]))
        longest: dict[str, Row] = {}
        for hit in strict:
            longest.setdefault(hit["problem_id"], hit)
        for hit in list(longest.values())[:num_examples]:
            shared = "the same text" if hit["exact"] else f"{hit['shared_words']} words in a row"
            heading(out, f"{suite} {hit['problem_id']}: {shared} (of {hit['num_words']} words)")
            out.print(f"  test      {' '.join(hit['question'].split())}")
            out.print(f"  training  {' '.join(hit['train_question'].split())}")
