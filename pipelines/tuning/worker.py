"""A fine-tuning worker: `python -m pipelines.tuning.worker JOB.json`, alone or under torchrun."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from pipelines.tuning.job import PROGRESS_FILE, FineTuneJob
from pipelines.tuning.parent import end_with_parent
from pipelines.tuning.progress_file import Reporter

FAILED = 4


def run_worker(job: FineTuneJob) -> None:
    """One worker's part of the job, its place taken from the environment."""
    from pipelines.tuning.fine_tune import train
    from pipelines.tuning.workers import workers_of_environment

    workers = workers_of_environment()
    report = Reporter(job.folder / PROGRESS_FILE if workers.first else None)
    with _Scoring(job) as score:
        train(job, workers, report, score)


class _Scoring:
    """Rewards under the configured deadline; workers start when D_val is there to score."""

    def __init__(self, job: FineTuneJob) -> None:
        from pipelines.rewards.workers.pool import ScoringPool

        self._pool = ScoringPool(job.reward, 1) if job.validation_file else None

    def __enter__(self) -> _Scoring:
        if self._pool is not None:
            self._pool.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._pool is not None:
            self._pool.close()

    def __call__(self, pairs: Sequence[tuple[str, str]], asked: Sequence[str]) -> list[float]:
        assert self._pool is not None
        return [scored.verdict.reward for scored in self._pool.score(pairs, asked)]


def main() -> int:
    """Run the job named on the command line; failures are reported where the parent listens."""
    end_with_parent()
    _import_less()
    job = FineTuneJob.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        run_worker(job)
    except Exception as error:  # noqa: BLE001 - reported, and ended with
        traceback.print_exc()
        Reporter(job.folder / PROGRESS_FILE).failed(error)
        return FAILED
    return 0


def _import_less() -> None:
    """Keep transformers from importing scikit-learn, SciPy and pandas: seconds of every start.

    It takes them, where they are installed, for a way of decoding that is not used here. Only this
    process is affected; a user's reward runs in its own.
    """
    sys.modules["sklearn"] = None  # type: ignore[assignment]


if __name__ == "__main__":
    sys.exit(main())
