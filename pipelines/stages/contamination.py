r"""Contamination: evaluation problems that share text with training problems.

Two questions are the same if their texts agree apart from case, white space and `$`. They share an
n-gram if n consecutive words of one are consecutive words of the other. A word is a run of letters or
digits: punctuation, that of LaTeX included, does not count (`\frac{1}{2}` is the words frac, 1, 2).

One join serves every n: all runs of `NGRAMS[0]` words are hashed and joined, and matches at successive
places of both texts form one longer run. A pair shares n consecutive words if its longest run has n
or more. No problem is compared with every other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.config import RunConfig
from pipelines.config.suites import covered_problems
from pipelines.stage import SparkStage
from schemas import CONTAMINATION, PROBLEMS
from schemas.problems import REFUSED, TRAIN

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

NGRAMS = (8, 9, 10, 11, 12, 13)
"""Lengths of the runs of words that are counted; the last is the limit of GPT-3's report."""


def contamination(config: RunConfig) -> SparkStage:
    """The stage that finds evaluation problems among the training problems."""
    return SparkStage(
        name="contamination",
        table=CONTAMINATION,
        reads=(PROBLEMS,),
        function=lambda _, problems: shared_text(problems),
        covers=covered_problems(config),
    )


def shared_text(problems: DataFrame) -> DataFrame:
    """The pairs of an evaluation problem and a training problem that share text.

    Args:
        problems: problem_id, split and question; all splits other than `train` are for evaluation,
            except the problems that are left out.

    Returns:
        The columns of `contamination`.
    """
    from pyspark.sql import functions as f

    texts = problems.where(f.col("split") != REFUSED).select(
        "problem_id", "split", "question", _words().alias("words")
    )
    pairs = (
        _same(texts)
        .unionByName(_longest_runs(texts))
        .groupBy("problem_id", "train_problem_id")
        .agg(f.max("exact").alias("exact"), f.max("shared_words").alias("shared_words"))
    )
    tested = texts.select(
        "problem_id", f.col("split").alias("suite"), "question", f.size("words").alias("num_words")
    )
    trained = texts.select(
        f.col("problem_id").alias("train_problem_id"), f.col("question").alias("train_question")
    )
    return (
        pairs.join(tested, on="problem_id", how="inner")
        .join(trained, on="train_problem_id", how="inner")
        .select(
            "suite",
            "problem_id",
            "train_problem_id",
            "exact",
            "shared_words",
            "num_words",
            "question",
            "train_question",
        )
    )


def _words() -> Column:
    from pyspark.sql import functions as f

    return f.regexp_extract_all(f.lower("question"), f.lit(r"[\p{L}\p{N}]+"), f.lit(0))


def _is_train() -> Column:
    from pyspark.sql import functions as f

    return f.col("split") == TRAIN


def _same(texts: DataFrame) -> DataFrame:
    """Pairs with the same text."""
    from pyspark.sql import functions as f

    text = f.regexp_replace(f.lower("question"), r"(?U)[\s$]+", "")
    keyed = texts.select(
        "problem_id", "split", f.size("words").alias("words"), f.md5(text).alias("text")
    )
    trained = keyed.where(_is_train()).select("text", f.col("problem_id").alias("train_problem_id"))
    return (
        keyed.where(~_is_train())
        .join(trained, on="text", how="inner")
        .select(
            "problem_id",
            "train_problem_id",
            f.lit(True).alias("exact"),
            f.col("words").alias("shared_words"),
        )
    )


def _longest_runs(texts: DataFrame) -> DataFrame:
    """Pairs that share `NGRAMS[0]` or more consecutive words, and the length of the longest run."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    n = NGRAMS[0]
    grams = texts.where(f.size("words") >= n).select(
        "problem_id", "split", f.posexplode(_hashes(n)).alias("place", "gram")
    )
    trained = grams.where(_is_train()).select(
        "gram",
        f.col("problem_id").alias("train_problem_id"),
        f.col("place").alias("train_place"),
    )
    pair = ["problem_id", "train_problem_id"]
    matches = (
        grams.where(~_is_train())
        .join(trained, on="gram", how="inner")
        .select(*pair, "place", (f.col("place") - f.col("train_place")).alias("shift"))
    )
    # Successive places of the same shift have the same difference from their row number.
    along = Window.partitionBy(*pair, "shift").orderBy("place")
    return (
        matches.repartition(*pair)
        .withColumn("run", f.col("place") - f.row_number().over(along))
        .groupBy(*pair, "shift", "run")
        .agg((f.count(f.lit(1)) + n - 1).cast("int").alias("length"))
        .groupBy(*pair)
        .agg(f.max("length").alias("shared_words"))
        .select(*pair, f.lit(False).alias("exact"), "shared_words")
    )


def _hashes(n: int) -> Column:
    """64-bit hashes of all runs of n words."""
    from pyspark.sql import functions as f

    starts = f.sequence(f.lit(1), f.size("words") - n + 1)
    return f.transform(starts, lambda start: f.xxhash64(f.slice("words", start, f.lit(n))))


def counts(hits: list[dict[str, Any]], sizes: dict[str, int]) -> list[dict[str, Any]]:
    """Number of problems per suite that share text with training problems, by length of the text.

    Args:
        hits: rows of `contamination`.
        sizes: suite -> its number of problems.

    Returns:
        One row per suite: `suite`, `problems`, `exact`, and `n words` for each n of NGRAMS.
    """
    rows = []
    for suite, size in sorted(sizes.items()):
        longest: dict[str, int] = {}
        same = set()
        for hit in hits:
            if hit["suite"] == suite:
                name = hit["problem_id"]
                longest[name] = max(longest.get(name, 0), hit["shared_words"])
                same |= {name} if hit["exact"] else set()
        row: dict[str, Any] = {"suite": suite, "problems": size, "exact": len(same)}
        for n in NGRAMS:
            row[f"{n} words"] = sum(run >= n for run in longest.values())
        rows.append(row)
    return rows
