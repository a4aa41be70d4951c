"""Public mathematics problems for the benchmarks of `math_answer`."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import dataclass
from pathlib import Path

from pipelines.rewards.answers.extraction import boxed, hash_mark

DATA = Path(os.environ.get("RESTEM_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@dataclass(frozen=True)
class Problem:
    """A problem with its human solution and the answer stated there, which may be empty."""

    name: str
    subject: str
    question: str
    solution: str
    answer: str


def math(folder: Path = DATA) -> list[Problem]:
    """MATH: 7,500 training problems and 5,000 test problems."""
    return [p for part in ("train", "test") for p in math_split(folder / f"math/{part}.jsonl.gz")]


def math_split(path: Path) -> list[Problem]:
    """A split of MATH: a JSONL file (or .gz) with `problem`, `type` and `solution`."""
    return [
        Problem(
            row.get("unique_id", ""), row["type"], row["problem"], row["solution"],
            (boxed(row["solution"]) or "").strip(),
        )
        for row in _rows(path)
    ]  # fmt: skip


def math_500(folder: Path = DATA) -> list[Problem]:
    """MATH-500, with the answers that its authors corrected by hand."""
    rows = _rows(folder / "math/math500_prm800k_test.jsonl")
    return [
        Problem(
            row["unique_id"], row["subject"], row["problem"], row["solution"], row["answer"]
        )
        for row in rows
    ]  # fmt: skip


def gsm8k(folder: Path = DATA) -> list[Problem]:
    """GSM8K: 7,473 training problems and 1,319 test problems."""
    return [
        Problem(f"{part}/{number}", "gsm8k", row["question"], row["answer"],
                (hash_mark(row["answer"]) or "").strip())
        for part in ("train", "test")
        for number, row in enumerate(_rows(folder / f"gsm8k/{part}.jsonl"))
    ]  # fmt: skip


def _rows(path: Path) -> list[dict[str, str]]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return [json.loads(line) for line in text.splitlines()]
