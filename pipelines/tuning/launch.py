"""Starts the workers of a fine-tuning job and shows their progress until they end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.errors import StageFailed
from pipelines.placement.cluster import this_machine
from pipelines.placement.training import place_training, training_environment
from pipelines.runtime.hardware import usable_cores
from pipelines.runtime.parent_death import environment_for_child
from pipelines.runtime.progress import Progress
from pipelines.tuning.job import (
    LOG_FILE,
    PROGRESS_FILE,
    FineTuneJob,
    FineTuneResult,
    finished_result,
)
from pipelines.tuning.progress_file import ProgressReader

JOB_FILE = "job.json"
POLL_SECONDS = 0.2


def fine_tune(
    job: FineTuneJob,
    num_examples: int,
    progress: Progress,
    fetch_start: Callable[[], Path] | None = None,
) -> FineTuneResult:
    """Run the job, or return its result if it has finished; resumes after its last saved step.

    Args:
        job: the job.
        num_examples: number of rows of the training set, for the progress.
        progress: where the progress is shown.
        fetch_start: finds the folder of the start policy on the machine where it is called, which is
            each worker's; picklable. None: `job.start` is a folder that all of them see.

    Raises:
        LakeError: the start policy's checkpoint is lost.
        StageFailed: a worker ended without a result.
        ConfigError: the workers do not fit the machine or the cluster.
        MachineError: other processes hold the GPUs' memory.
        InputError: the model or a row cannot be used.
    """
    finished = finished_result(job)
    if finished is not None:
        return finished
    job.folder.mkdir(parents=True, exist_ok=True)
    for checkpoint in job.folder.glob("epoch-*"):
        if checkpoint.is_symlink():  # to a policy that was stored, and is lost
            checkpoint.unlink()
    on_ray = job.training.launcher == "ray"
    if fetch_start is not None and not on_ray:
        job = job.model_copy(update={"start": str(fetch_start())})
    (job.folder / PROGRESS_FILE).unlink(missing_ok=True)
    (job.folder / JOB_FILE).write_text(job.model_dump_json(indent=1), encoding="utf-8")
    total = num_examples * job.improve.max_epochs
    with progress.task("improve", total, "examples") as task:
        reader = ProgressReader(job.folder / PROGRESS_FILE, task)
        if on_ray:
            from pipelines.tuning.ray_train import run_on_ray

            run_on_ray(job, reader, fetch_start)
        else:
            _run_here(job, reader)
    result = finished_result(job)
    if result is None:
        raise reader.failure or StageFailed(
            f"fine-tuning ended without a result; see {job.folder / LOG_FILE}"
        )
    return result


def worker_command(job: FineTuneJob) -> list[str]:
    """The command that starts the job's workers on this machine.

    A single worker is started directly: torchrun's agent would take seconds to start.
    """
    worker = ["pipelines.tuning.worker", str(job.folder / JOB_FILE)]
    if job.training.num_workers == 1:
        return [sys.executable, "-m", *worker]
    agent = [sys.executable, "-m", "pipelines.tuning.torchrun", "--standalone"]
    options = [
        f"--nproc-per-node={job.training.num_workers}",
        f"--log-dir={job.folder / 'torchrun'}",
    ]
    return [*agent, *options, "-m", *worker]


def _run_here(job: FineTuneJob, reader: ProgressReader) -> None:
    """Run the workers as processes of this machine."""
    # The cluster was asked before the run began; here it is this machine that must have the GPUs.
    place_training(this_machine(), job.training)
    threads = max(1, usable_cores() // job.training.num_workers)
    folders = [str(Path(folder).absolute()) for folder in sys.path]
    environment = {
        **os.environ,
        **environment_for_child(),
        **training_environment(),
        "OMP_NUM_THREADS": str(threads),
        # A waiting thread spins for milliseconds by default. On a busy processor that is most of a
        # step's time.
        "GOMP_SPINCOUNT": "10000",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(folders)),
    }
    command, log_file = worker_command(job), job.folder / LOG_FILE
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            while process.poll() is None:
                reader.update()
                time.sleep(POLL_SECONDS)
        finally:
            process.kill()
            code = process.wait()
    reader.update()
    if code != 0:
        raise reader.failure or StageFailed(explain_failure(code, log_file))


def explain_failure(code: int, log: Path) -> str:
    """Why the workers ended without a result.

    Args:
        code: the exit code of the only worker, or of torchrun's agent.
        log: what it printed.
    """
    lines = log.read_text(errors="replace").splitlines()
    # torchrun's agent ends with a frame around the worker's exit code.
    said = [line for line in lines if line.strip(" =-")]
    last = said[-1].strip() if said else "no output"
    if code == -9 or last.startswith("traceback : Signal 9 (SIGKILL)"):
        last = "a worker was killed, most likely for memory; lower training.max_tokens_per_pass"
    return f"fine-tuning failed (exit code {code}): {last}; see {log}"
