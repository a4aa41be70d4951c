"""MATH's training problems in its test set and in MATH-500: how many, which, and how long it takes.

    python -m benchmarks.contamination_math FOLDER [NUM_SHOWN]

FOLDER holds `train.jsonl.gz`, `test.jsonl.gz` and `math500_prm800k_test.jsonl`, a `problem` and a
`unique_id` a line. NUM_SHOWN problems that share 13 words in a row are shown, the same each time.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from jobs.machine.sessions import spark_session
from jobs.show.console import console
from jobs.show.contamination import show_hits
from pipelines.config import SparkConfig
from pipelines.stages.contamination import NGRAMS, shared_text

_FILES = {
    "train": "train.jsonl.gz",
    "test": "test.jsonl.gz",
    "math500": "math500_prm800k_test.jsonl",
}


def main(folder: Path, num_shown: int) -> None:
    """Measure and print."""
    problems = [row for split in _FILES for row in _problems(folder, split)]
    hits = _measured(problems)
    words = NGRAMS[-1]
    show_hits(console(), hits, Counter(row["split"] for row in problems), words, 0)
    pairs = {n: sum(hit["shared_words"] >= n for hit in hits) for n in NGRAMS}
    print(f"pairs that share n words in a row: {pairs}")
    _show(hits, words, num_shown)


def _measured(problems: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The hits, found twice: the first call also compiles."""
    import pyarrow as pa

    hits: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as log_folder:
        spark = spark_session(SparkConfig(), Path(log_folder))
        frame = spark.createDataFrame(pa.Table.from_pylist(problems))
        for what in ("first call", "again"):
            spark.sparkContext.setJobGroup(what, what)
            started = time.monotonic()
            hits = shared_text(frame).toArrow().to_pylist()
            jobs = len(spark.sparkContext.statusTracker().getJobIdsForGroup(what))
            print(f"{what}: {time.monotonic() - started:.1f} s, {jobs} Spark jobs")
        spark.stop()
    return hits


def _problems(folder: Path, split: str) -> list[dict[str, str]]:
    path = folder / _FILES[split]
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    # MATH-500's problems are MATH's, under the same ids.
    prefix = "math500:" if split == "math500" else ""
    return [
        {"problem_id": prefix + row["unique_id"], "split": split, "question": row["problem"]}
        for row in rows
    ]


def _show(hits: list[dict[str, Any]], words: int, num_shown: int) -> None:
    """The exact hits, and a sample of the others: each test problem with its longest run."""
    longest: dict[str, dict[str, Any]] = {}
    for hit in sorted(hits, key=lambda h: (h["shared_words"], h["train_problem_id"])):
        if hit["suite"] == "test":
            longest[hit["problem_id"]] = hit
    exact = [hit for hit in longest.values() if hit["exact"]]
    strict = [h for h in longest.values() if h["shared_words"] >= words and not h["exact"]]
    drawn = sum("[asy]" in hit["question"] and "[asy]" in hit["train_question"] for hit in strict)
    print(f"of {len(strict)} test problems with {words} words, not exact, {drawn} have drawings")
    strict.sort(key=lambda hit: str(hit["problem_id"]))
    shown = random.Random(0).sample(strict, min(num_shown, len(strict)))
    for hit in exact + shown:
        print(f"\n{hit['shared_words']} of {hit['num_words']} words{', exact' * hit['exact']}")
        for name in ("problem_id", "question", "train_problem_id", "train_question"):
            print(f"  {' '.join(str(hit[name]).split())[:400]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
