"""The training function under Ray Train, for clusters; the job's folder must be shared."""

from __future__ import annotations

import threading

from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from pipelines.errors import StageFailed
from pipelines.placement.cluster import ray_cluster
from pipelines.placement.training import place_training, training_environment
from pipelines.tuning.job import PROGRESS_FILE, FineTuneJob
from pipelines.tuning.progress_file import ProgressReader, ProgressWriter
from pipelines.tuning.worker import run_worker

POLL_SECONDS = 1.0


def run_on_ray(job: FineTuneJob, reader: ProgressReader) -> None:
    """Run the job's workers as a Ray Train worker group, on the cluster's GPUs if it has any.

    Raises:
        ConfigError: the workers do not fit the cluster.
        StageFailed: Ray Train failed.
    """
    placement = place_training(ray_cluster(), job.training)
    on_gpus = placement.num_gpus > 0
    trainer = TorchTrainer(
        _train_loop,
        train_loop_config={"job": job.model_dump_json()},
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


def _train_loop(settings: dict[str, str]) -> None:
    job = FineTuneJob.model_validate_json(settings["job"])
    try:
        run_worker(job, str(get_device()))
    except Exception as error:
        ProgressWriter(job.folder / PROGRESS_FILE).failed(error)
        raise


def _read_until(ended: threading.Event, reader: ProgressReader) -> None:
    while not ended.wait(POLL_SECONDS):
        reader.update()
    reader.update()
