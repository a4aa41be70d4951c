"""Starts the workers of a fine-tuning job and waits for them, showing how far they are."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.errors import StageFailed
from pipelines.runtime.hardware import usable_cores
from pipelines.runtime.progress import Progress
from pipelines.tuning.job import (
    LOG_FILE,
    PROGRESS_FILE,
    FineTuneJob,
    FineTuneResult,
    finished_result,
)
from pipelines.tuning.parent import environment_for_child
from pipelines.tuning.progress_file import Listener

JOB_FILE = "job.json"
POLL_SECONDS = 0.2


def fine_tune(job: FineTuneJob, num_examples: int, progress: Progress) -> FineTuneResult:
    """Run the job, or return what it left if it is finished; resumes after its last epoch.

    Args:
        job: what to do.
        num_examples: rows of the training set, for the progress shown.
        progress: where it is shown.

    Raises:
        StageFailed: a worker ended without a result.
        InputError: the model or a row cannot be used.
    """
    finished = finished_result(job)
    if finished is not None:
        return finished
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / PROGRESS_FILE).unlink(missing_ok=True)
    (job.folder / JOB_FILE).write_text(job.model_dump_json(indent=1), encoding="utf-8")
    total = num_examples * job.improve.max_epochs
    with progress.task("improve", total, "examples") as task:
        listener = Listener(job.folder / PROGRESS_FILE, task)
        _LAUNCHERS[job.training.launcher](job, listener)
    result = finished_result(job)
    if result is None:
        raise listener.failure or StageFailed(
            f"fine-tuning ended without a result; see {job.folder / LOG_FILE}"
        )
    return result


def _torchrun(job: FineTuneJob, listener: Listener) -> None:
    command = worker_command(job)
    environment = {**os.environ, **environment_for_child(), **_settings(job)}
    with (job.folder / LOG_FILE).open("ab") as log:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            while process.poll() is None:
                listener.listen()
                time.sleep(POLL_SECONDS)
        finally:
            process.kill()
            code = process.wait()
    listener.listen()
    if code != 0:
        raise listener.failure or StageFailed(_explain(code, job.folder / LOG_FILE))


def worker_command(job: FineTuneJob) -> list[str]:
    """One worker is started as it is: torchrun's agent costs seconds and has nothing to watch."""
    worker = ["pipelines.tuning.worker", str(job.folder / JOB_FILE)]
    if job.training.num_workers == 1:
        return [sys.executable, "-m", *worker]
    agent = [sys.executable, "-m", "pipelines.tuning.torchrun", "--standalone"]
    return [*agent, f"--nproc-per-node={job.training.num_workers}", "-m", *worker]


def _settings(job: FineTuneJob) -> dict[str, str]:
    threads = max(1, usable_cores() // job.training.num_workers)
    folders = [str(Path(folder).absolute()) for folder in sys.path]
    return {
        "OMP_NUM_THREADS": str(threads),
        # A thread that waits for another one spins for milliseconds by default: on a processor
        # that something else uses too, that is most of a step's time.
        "GOMP_SPINCOUNT": "10000",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(folders)),
        "TOKENIZERS_PARALLELISM": "false",
    }


def _explain(code: int, log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    last = lines[-1] if lines else "no output"
    if code == -9:
        last = "a worker was killed, most likely for memory; lower training.rows_per_pass"
    return f"fine-tuning failed (exit code {code}): {last}; see {log}"


def _ray(job: FineTuneJob, listener: Listener) -> None:
    from pipelines.tuning.ray_train import run_on_ray

    run_on_ray(job, listener)


_LAUNCHERS: dict[str, Callable[[FineTuneJob, Listener], None]] = {
    "torchrun": _torchrun,
    "ray": _ray,
}
