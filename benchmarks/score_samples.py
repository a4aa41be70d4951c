"""Speed of the score stage for one MATH iteration at the paper's scale: 7,500 problems x 32 samples.

    python -m benchmarks.score_samples MATH_TRAIN.jsonl[.gz] [--way pool|ray]

The samples (see benchmarks/math_samples.py) are committed to a lake in a temporary folder; the stage
reads and scores them there, and its files are committed as in a run, but without the expectations.
`pool` scores in this process, as a run does with few samples; `ray` through Ray Data.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from benchmarks.math_problems import Problem
from benchmarks.math_samples import draw, read_math
from benchmarks.memory import PeakMemory
from jobs.machine.sessions import ray_session
from pipelines.config import LakeConfig, ProblemsConfig, RayConfig, RunConfig, SourceConfig
from pipelines.lake.books import current
from pipelines.lake.commit import commit
from pipelines.lake.fence import Fence
from pipelines.lake.files import PartitionWriter
from pipelines.lake.location import Location
from pipelines.lake.snapshot import TableSnapshot
from pipelines.lake.tables import create_tables
from pipelines.runtime.hardware import memory_gib, processor
from pipelines.runtime.progress import LineProgress
from pipelines.runtime.version import code_version
from pipelines.scoring import score_chunks
from pipelines.stage import StageContext
from pipelines.stages.score import score
from schemas import PROMPTS, REWARDS, SAMPLES
from schemas.table import Column, ColumnType, Table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_RUN = "benchmark"
_FENCE = Fence(_RUN, 1)
_ANY = {
    ColumnType.STRING: "sample",
    ColumnType.BOOLEAN: True,
    ColumnType.INT: 1,
    ColumnType.LONG: 1,
    ColumnType.DOUBLE: 0.0,
    ColumnType.STRINGS: [],
    ColumnType.TIMESTAMP: datetime(2026, 1, 1, tzinfo=UTC),
}
"""Fillers for the columns that the stage does not read."""


def main() -> None:
    """Make the samples, score them and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("math", type=Path, help="the training split, JSONL or JSONL.gz")
    parser.add_argument("--way", choices=("pool", "ray"), default="pool")
    parser.add_argument("--problems", type=int, default=7_500)
    parser.add_argument("--samples", type=int, default=32, help="samples per problem")
    parsed = parser.parse_args()
    machine = processor()
    print(f"{machine.name}, {machine.cores} cores, {memory_gib():.0f} GiB")
    print(f"restem {code_version()}, {parsed.way}")
    with tempfile.TemporaryDirectory(prefix="restem-score-") as folder:
        config = _config(folder)
        create_tables(Location.of(config.lake), config.lake)
        samples, prompts = _write(config, read_math(parsed.math, parsed.problems), parsed.samples)
        score_chunks.LOCAL_SAMPLES = samples.count() if parsed.way == "pool" else 0
        _measure(config, samples, prompts)


def _measure(config: RunConfig, samples: TableSnapshot, prompts: TableSnapshot) -> None:
    writer = _writer(REWARDS, config)
    with ExitStack() as stack:
        ray = _Ray(stack, processor().cores)
        context = StageContext(ray, LineProgress(every=30), config.folder)
        committed = current(writer.location, REWARDS, _RUN, 0)
        peak = stack.enter_context(PeakMemory())
        began = time.monotonic()
        groups = score(config, 0).function(
            context, samples, prompts, committed=committed, writer=writer
        )
        for number, files in enumerate(groups, 1):
            commit(writer, files, "append", ("restem/benchmark", number), {}, _FENCE)
        seconds = time.monotonic() - began
    _show(context.measures, seconds, ray.seconds, peak.gib)


class _Ray:
    """Starts Ray for the stage, and measures how long that takes."""

    def __init__(self, stack: ExitStack, num_cpus: int) -> None:
        self.seconds: float | None = None
        self._stack = stack
        self._num_cpus = num_cpus

    def start_ray(self) -> None:
        began = time.monotonic()
        self._stack.enter_context(ray_session(RayConfig(num_cpus=self._num_cpus)))
        self.seconds = time.monotonic() - began

    def spark(self) -> SparkSession:
        raise AssertionError("scoring needs no Spark")


def _show(
    measures: dict[str, float], seconds: float, ray_seconds: float | None, peak: float
) -> None:
    started = "" if ray_seconds is None else f" (of which {ray_seconds:.0f} s for Ray's start)"
    rate = measures["samples"] / seconds
    print(
        f"\n{measures['samples']:,.0f} samples in {seconds:.0f} s{started}: {rate:,.0f} per second"
    )
    print(f"  distinct (solution, reference): {measures['distinct_pairs']:,.0f}")
    print(f"  distinct (answer, reference) scored by a worker: {measures['examined']:,.0f}")
    print(f"  peak memory of all processes: {peak:.2f} GiB")
    for name, count in sorted(measures.items(), key=lambda item: -item[1]):
        if name.startswith("verdict_"):
            share = count / measures["samples"]
            print(f"  {name.removeprefix('verdict_'):<14}{count:>10,.0f}  {share:6.2%}")


def _write(
    config: RunConfig, problems: list[Problem], num_samples: int
) -> tuple[TableSnapshot, TableSnapshot]:
    """The prompts and samples as committed tables."""
    numbers = range(len(problems))
    prompts = {
        "prompt_id": [f"prompt-{n}" for n in numbers],
        "problem_id": [f"problem-{n}" for n in numbers],
        "reference": [problem.answer for problem in problems],
    }
    drawn = list(draw(problems, num_samples, seed=0))
    samples: dict[str, Sequence[Any]] = {
        "sample_id": [f"{n:08d}" for n in range(len(drawn))],
        "prompt_id": [f"prompt-{sample.problem}" for sample in drawn],
        "problem_id": [f"problem-{sample.problem}" for sample in drawn],
        "index": [sample.index for sample in drawn],
        "solution": [sample.solution for sample in drawn],
        "finish_reason": [sample.finish_reason for sample in drawn],
    }
    return _commit(config, SAMPLES, samples), _commit(config, PROMPTS, prompts)


def _commit(config: RunConfig, table: Table, columns: Mapping[str, Sequence[Any]]) -> TableSnapshot:
    number = len(next(iter(columns.values())))
    fields = [field for field in table.columns if field.name not in table.partition_by]
    rows = pa.table({f.name: columns.get(f.name) or _filler(f, number) for f in fields})
    writer = _writer(table, config)
    transaction = (f"restem/benchmark/{table.name}", 1)
    commit(writer, [writer.write(rows)], "append", transaction, {}, _FENCE)
    return current(writer.location, table, _RUN, 0)


def _filler(column: Column, number: int) -> pa.Array[Any]:
    return pa.array([_ANY[column.type]] * number, column.type.arrow())


def _writer(table: Table, config: RunConfig) -> PartitionWriter:
    return PartitionWriter(table, Location.of(config.lake), _RUN, 0)


def _config(folder: str) -> RunConfig:
    source = SourceConfig(kind="jsonl", location="-")
    return RunConfig(
        name=_RUN,
        problems=ProblemsConfig(sources=(source,)),
        lake=LakeConfig(uri=f"{folder}/lake"),
    )


if __name__ == "__main__":
    main()
