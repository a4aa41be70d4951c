"""A fine-tuning worker: `python -m pipelines.tuning.worker JOB.json`, alone or under torchrun."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.placement.nvidia import nvidia_report, report_on, wait_for_free_memory
from pipelines.runtime.parent_death import end_with_parent
from pipelines.tuning.job import PROGRESS_FILE, FineTuneJob
from pipelines.tuning.progress_file import ProgressWriter

if TYPE_CHECKING:
    from pipelines.tuning.fine_tune import Score

FAILED = 4


def run_worker(job: FineTuneJob, device: str) -> None:
    """Do one worker's part of the job; the environment names the worker's rank.

    Args:
        job: the job.
        device: what this process computes on, such as `cpu` or `cuda:0`.

    Raises:
        MachineError: other processes hold the GPU's memory.
        InputError: the model or a row cannot be used.
    """
    if device != "cpu":
        # Before torch, whose context would count as memory that is held.
        share = job.training.gpu_memory_utilization
        read = partial(report_on, device)
        wait_for_free_memory("training.gpu_memory_utilization", share, read)
    from pipelines.tuning.fine_tune import train
    from pipelines.tuning.workers import workers_of_environment

    workers = workers_of_environment(device)
    progress = ProgressWriter(job.folder / PROGRESS_FILE if workers.first else None)
    with _reward(job) as score:
        train(job, workers, progress, score)


@contextmanager
def _reward(job: FineTuneJob) -> Iterator[Score]:
    """The job's reward, under the configured deadline; processes are started only for a D_val."""
    from pipelines.rewards.workers.pool import ScoringPool

    if job.validation_file is None:
        yield lambda pairs, questions: []  # there is nothing to score
        return
    with ScoringPool(job.reward, 1) as pool:

        def score(pairs: Sequence[tuple[str, str]], questions: Sequence[str]) -> list[float]:
            return [scored.verdict.reward for scored in pool.score(pairs, questions)]

        yield score


def _device() -> str:
    """What this worker of torchrun computes on: the GPU of its local rank, if there are GPUs."""
    rank = os.environ.get("LOCAL_RANK", "0")
    return f"cuda:{rank}" if nvidia_report().gpus else "cpu"


def main() -> int:
    """Run the job named on the command line; a failure is reported in its progress file."""
    end_with_parent()
    # Keeps transformers from importing scikit-learn, SciPy and pandas for a way of decoding that is
    # not used here, which takes seconds. Only this process is affected; a user's reward has its own.
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    job = FineTuneJob.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        run_worker(job, _device())
    except Exception as error:  # noqa: BLE001 - reported, and the process ends
        traceback.print_exc()
        ProgressWriter(job.folder / PROGRESS_FILE).failed(error)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
