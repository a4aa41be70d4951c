"""The training function under Ray Train, for clusters; the job's folder must be shared."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from pipelines.errors import StageFailed
from pipelines.placement.cluster import ray_cluster
from pipelines.placement.training import place_training, training_environment
from pipelines.tuning.job import PROGRESS_FILE, FineTuneJob
from pipelines.tuning.progress_file import ProgressReader, ProgressWriter
from pipelines.tuning.worker import run_worker

POLL_SECONDS = 1.0


def run_on_ray(
    job: FineTuneJob, reader: ProgressReader, fetch_start: Callable[[], Path] | None
) -> None:
    """Run the job's workers as a Ray Train worker group, on the cluster's GPUs if it has any.

    Args:
        job: the job.
        reader: shows its progress.
        fetch_start: finds the start policy's folder, in each worker; see `fine_tune`.

    Raises:
        ConfigError: the workers do not fit the cluster.
        StageFailed: Ray Train failed.
    """
    placement = place_training(ray_cluster(), job.training)
    on_gpus = placement.num_gpus > 0
    trainer = TorchTrainer(
        # Not as settings, which Ray may record: what fetches from a store has its keys.
        partial(_train_loop, job, fetch_start),
        torch_config=TorchConfig(backend=placement.backend),
        scaling_config=ScalingConfig(
            num_workers=placement.num_workers,
            use_gpu=on_gpus,
            resources_per_worker={
                "CPU": placement.num_cpus,
                **({"GPU": placement.num_gpus} if on_gpus else {}),
            },
        ),
        run_config=RunConfig(
            name="ray",
            storage_path=str(job.folder.absolute()),
            worker_runtime_env={"env_vars": training_environment()},
        ),
    )
    ended = threading.Event()
    thread = threading.Thread(target=_read_until, args=(ended, reader), daemon=True)
    thread.start()
    try:
        trainer.fit()
    except Exception as error:  # Ray wraps what a worker raised in several kinds of its own
        last = str(error).strip().splitlines()[-1]
        raise reader.failure or StageFailed(f"fine-tuning on Ray failed: {last}") from error
    finally:
        ended.set()
        thread.join()


def _train_loop(job: FineTuneJob, fetch_start: Callable[[], Path] | None) -> None:
    try:
        if fetch_start is not None:
            job = job.model_copy(update={"start": str(fetch_start())})
        run_worker(job, str(get_device()))
    except Exception as error:
        ProgressWriter(job.folder / PROGRESS_FILE).failed(error)
        raise


def _read_until(ended: threading.Event, reader: ProgressReader) -> None:
    while not ended.wait(POLL_SECONDS):
        reader.update()
    reader.update()
